//! The privileges of a process. A program that drops its privileges expects its workers to drop them too.
#![allow(
    unsafe_code,
    reason = "asks for capabilities, which nix does not wrap, and nix takes 2 for dumpable"
)]

use std::io;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{ResGid, ResUid, getresgid, getresuid};

/// The users, groups and capabilities of a process, as far as the system tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    users: Option<ResUid>,
    groups: Option<ResGid>,
    more_groups: Option<Vec<libc::gid_t>>,
    capabilities: Option<[u32; 6]>,
}

impl Credentials {
    /// The credentials of this process.
    pub(crate) fn own() -> Self {
        Self {
            users: getresuid().ok(),
            groups: getresgid().ok(),
            more_groups: more_groups().ok(),
            capabilities: capabilities().ok(),
        }
    }
}

/// Whether the system lets other processes of the same user open the files of this one. Not after it has given up
/// privileges, unless it allows that again.
pub(crate) fn is_dumpable() -> bool {
    // SAFETY: the command takes no argument and touches no memory of this process.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) == 1 }
}

/// getgroups(2), called directly: nix allocates room for the largest number of groups, a quarter of a MiB, and reads a
/// file to learn that number.
fn more_groups() -> io::Result<Vec<libc::gid_t>> {
    // SAFETY: with a length of 0 the call only returns the number of groups.
    let count = Errno::result(unsafe { libc::getgroups(0, std::ptr::null_mut()) })?;
    let mut groups = vec![0; count as usize];
    if count > 0 {
        // SAFETY: the buffer has room for `count` groups. If another thread has set more since, the call fails.
        let count = Errno::result(unsafe { libc::getgroups(count, groups.as_mut_ptr()) })?;
        groups.truncate(count as usize);
    }
    Ok(groups)
}

/// capget(2): the effective, permitted and inheritable capabilities, two words each.
fn capabilities() -> io::Result<[u32; 6]> {
    /// `_LINUX_CAPABILITY_VERSION_3`, and this process.
    const HEAD: [u32; 2] = [0x2008_0522, 0];
    let (mut head, mut data) = (HEAD, [0u32; 6]);
    // SAFETY: in this version of the call the header has two words, which the kernel may write to, and the data six;
    // both variables have that size.
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
