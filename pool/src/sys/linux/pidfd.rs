//! Process descriptors. A pidfd stands for one process for good, whereas a process ID may be reused.
#![allow(unsafe_code, reason = "pidfd calls have no safe wrapper in nix")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::fd::Fd;
use super::{named, retry};

/// The process ID in the kernel's information about a pidfd; none if the process is not visible to the reader.
pub(super) fn number_in(info: &str) -> Option<i32> {
    let number = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    number.trim().parse().ok().filter(|number| *number > 0)
}

/// A pidfd for a child that waits at its tie. If there is none, the child is killed.
pub(crate) fn pidfd_of(child: Pid) -> io::Result<Fd> {
    open_pidfd(child).inspect_err(|_| {
        // It waits, so the process ID is still its own.
        let _ = kill(child, Signal::SIGKILL);
        let _ = retry(|| waitpid(child, None));
    })
}

fn open_pidfd(child: Pid) -> io::Result<Fd> {
    // SAFETY: pidfd_open only takes integers, and touches no memory of this process.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.as_raw(), 0) };
    if fd < 0 {
        return Err(named("pidfd_open")(io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else knows it.
    Fd::new(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// The flag of pidfd_send_signal(2) that addresses the process's group; missing in the libc crate.
pub(super) const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// Sends a signal to the process, or as the flags say.
pub(super) fn signal(pidfd: &Fd, signal: libc::c_int, flags: libc::c_uint) -> nix::Result<()> {
    if !pidfd.is_intact() {
        return Err(Errno::EBADF);
    }
    let (fd, no_info) = (pidfd.as_fd().as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: with a null siginfo the call only takes integers, and touches no memory of this process.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, flags) };
    Errno::result(sent).map(drop)
}
