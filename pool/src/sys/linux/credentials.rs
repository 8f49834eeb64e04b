//! What a process may do: a program that gives up its privileges means those of its workers too.
#![allow(unsafe_code, reason = "asks for capabilities, which nix does not wrap")]

use std::io;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{ResGid, ResUid, getresgid, getresuid};

/// The users, groups and capabilities of a process, as far as the system tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    users: Option<ResUid>,
    groups: Option<ResGid>,
    more_groups: Option<Vec<libc::gid_t>>,
    capabilities: Option<[u32; 6]>,
}

impl Credentials {
    /// Those of this process.
    pub(crate) fn own() -> Self {
        Self {
            users: getresuid().ok(),
            groups: getresgid().ok(),
            more_groups: more_groups().ok(),
            capabilities: capabilities().ok(),
        }
    }
}

/// getgroups(2), by hand: nix asks for room for as many as there may be, which is a file and a quarter of a MiB.
fn more_groups() -> io::Result<Vec<libc::gid_t>> {
    // SAFETY: without room the call only says how many there are.
    let count = Errno::result(unsafe { libc::getgroups(0, std::ptr::null_mut()) })?;
    let mut groups = vec![0; count as usize];
    if count > 0 {
        // SAFETY: there is room for so many; where another thread has made them more, the call fails.
        let count = Errno::result(unsafe { libc::getgroups(count, groups.as_mut_ptr()) })?;
        groups.truncate(count as usize);
    }
    Ok(groups)
}

/// capget(2): the effective, permitted and inheritable ones, each in two words.
fn capabilities() -> io::Result<[u32; 6]> {
    /// `_LINUX_CAPABILITY_VERSION_3`, and this process.
    const HEAD: [u32; 2] = [0x2008_0522, 0];
    let (mut head, mut data) = (HEAD, [0u32; 6]);
    // SAFETY: by this version of the call, the head is two words, which the kernel may write to, and the answer is six.
    match unsafe { libc::syscall(libc::SYS_capget, head.as_mut_ptr(), data.as_mut_ptr()) } {
        0 => Ok(data),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_stay_the_same() {
        let own = Credentials::own();
        assert!(
            own.users.is_some()
                && own.groups.is_some()
                && own.more_groups.is_some()
                && own.capabilities.is_some()
        );
        assert_eq!(own, Credentials::own());
    }
}
