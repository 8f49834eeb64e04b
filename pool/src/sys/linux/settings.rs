//! What a process sets for itself: variables, its nice value, limits.
#![allow(unsafe_code, reason = "changes the environment, and calls of C that nix lacks")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource as SystemResource, getrlimit, setrlimit};
use nix::unistd::{AccessFlags, eaccess};

use super::{Resource, read_text, threads};

/// The text whose encoded bytes these are.
pub(crate) fn text(encoded: Vec<u8>) -> OsString {
    OsString::from_vec(encoded)
}

/// An error if this process may not enter the directory.
pub(crate) fn may_enter(dir: &Path) -> io::Result<()> {
    Ok(eaccess(dir, AccessFlags::X_OK)?)
}

/// Sets a variable of this process. Panics if the name is empty or contains `=` or NUL, or the value contains NUL.
///
/// # Safety
/// This process has one thread.
pub(crate) unsafe fn set_variable(name: &OsStr, value: &OsStr) {
    // SAFETY: a change of the environment is unsound while another thread reads or writes it, and the caller promises
    // that there is none.
    unsafe { std::env::set_var(name, value) };
}

/// The nice value of this thread.
pub(crate) fn nice() -> io::Result<i32> {
    Errno::clear();
    // SAFETY: the call takes numbers.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    // -1 is a nice value too.
    match Errno::last_raw() {
        error if nice == -1 && error != 0 => Err(io::Error::from_raw_os_error(error)),
        _ => Ok(nice),
    }
}

/// Sets the nice value of this thread, which threads and processes that it starts from now on inherit.
pub(crate) fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })?;
    Ok(())
}

/// Whether a process that this one starts may have this nice value. A value that is not lower than this thread's may
/// always be had; a lower one is tried on a thread of its own, which then ends.
pub(crate) fn try_nice(wanted: i32) -> io::Result<()> {
    if wanted >= nice()? {
        return Ok(());
    }
    threads::expect_own();
    // Without a thread it is found out when a worker starts.
    threads::on_own_thread(|| set_nice(wanted)).unwrap_or(Ok(()))
}

fn of_system(resource: Resource) -> SystemResource {
    match resource {
        Resource::As => SystemResource::RLIMIT_AS,
        Resource::Core => SystemResource::RLIMIT_CORE,
        Resource::Cpu => SystemResource::RLIMIT_CPU,
        Resource::Data => SystemResource::RLIMIT_DATA,
        Resource::Fsize => SystemResource::RLIMIT_FSIZE,
        Resource::Locks => SystemResource::RLIMIT_LOCKS,
        Resource::Memlock => SystemResource::RLIMIT_MEMLOCK,
        Resource::Msgqueue => SystemResource::RLIMIT_MSGQUEUE,
        Resource::Nice => SystemResource::RLIMIT_NICE,
        Resource::Nofile => SystemResource::RLIMIT_NOFILE,
        Resource::Nproc => SystemResource::RLIMIT_NPROC,
        Resource::Rss => SystemResource::RLIMIT_RSS,
        Resource::Rtprio => SystemResource::RLIMIT_RTPRIO,
        Resource::Rttime => SystemResource::RLIMIT_RTTIME,
        Resource::Sigpending => SystemResource::RLIMIT_SIGPENDING,
        Resource::Stack => SystemResource::RLIMIT_STACK,
    }
}

/// A soft and a hard limit.
pub(crate) fn limit(resource: Resource) -> io::Result<(u64, u64)> {
    Ok(getrlimit(of_system(resource))?)
}

/// Sets a soft and a hard limit of this process.
pub(crate) fn set_limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    Ok(setrlimit(of_system(resource), soft, hard)?)
}

/// Why this process certainly may not set this hard limit; none if it may, or if only a try can tell.
pub(crate) fn refuses_hard_limit(resource: Resource, hard: u64) -> Option<String> {
    let (_, own) = limit(resource).ok()?;
    if hard <= own {
        return None;
    }
    if resource == Resource::Nofile
        && let Some(most) = read_text(NR_OPEN).ok().and_then(|text| text.trim().parse::<u64>().ok())
        && hard > most
    {
        return Some(format!("`fs.nr_open` (sysctl), the most descriptors of any process, is {most}"));
    }
    may_raise().is_some_and(|may| !may).then(|| {
        format!(
            "this process's own hard limit is {own}, and only a process with CAP_SYS_RESOURCE may have a higher one"
        )
    })
}

const NR_OPEN: &str = "/proc/sys/fs/nr_open";

/// Whether this process has CAP_SYS_RESOURCE, as far as it is known.
fn may_raise() -> Option<bool> {
    /// Of <linux/capability.h>.
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = read_text("/proc/self/status").ok()?;
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let capabilities = u64::from_str_radix(capabilities.trim(), 16).ok()?;
    Some(capabilities >> CAP_SYS_RESOURCE & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nice_value_is_tried_without_effect() {
        let own = nice().unwrap();
        assert!(try_nice(own).is_ok() && try_nice(own + 1).is_ok());
        // Allowed or not, this thread stays as it is.
        let _ = try_nice(own - 1);
        assert_eq!(nice().unwrap(), own);
    }

    #[test]
    fn a_hard_limit_that_is_not_raised_is_not_refused() {
        let (_, hard) = limit(Resource::Nofile).unwrap();
        assert_eq!(refuses_hard_limit(Resource::Nofile, hard), None);
        let why = refuses_hard_limit(Resource::Nofile, u64::MAX).unwrap();
        assert!(why.contains("nr_open"), "{why}");
    }
}
