//! The program's descriptors without close-on-exec, which a process that it starts would inherit: those of C libraries,
//! and those that the program itself inherited. A reader that waits for the last writer of such a pipe would wait for
//! the workers too.
//!
//! The new process closes them once it reaches this crate's code. It can't tell them from files that were opened since
//! its start, say by a library's constructor, so its parent sends it their numbers, devices and inodes. (Closing them
//! between fork and exec would need a fork, whereas the C library can start the process without copying the parent's
//! page tables.)
#![allow(unsafe_code, reason = "closes by number what was inherited")]

use std::env;
use std::fs;
use std::os::fd::RawFd;

use nix::libc;
use serde::{Deserialize, Serialize};

/// A descriptor that a new process would inherit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inheritable {
    number: RawFd,
    device: u64,
    inode: u64,
}

impl Inheritable {
    fn at(number: RawFd) -> Option<Self> {
        // SAFETY: a stat is made of numbers, so all zeroes is a valid one.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the call writes one stat into a live variable; for a number that is not open it fails.
        let known = unsafe { libc::fstat(number, &raw mut stat) } == 0;
        known.then_some(Self { number, device: stat.st_dev, inode: stat.st_ino })
    }
}

/// All descriptors that a new process would inherit from this one and must not keep. It keeps the standard three, and
/// the pipe through which `make` and `cargo` share the CPUs, for compilers that a task may run. The crate's own are
/// close-on-exec.
pub(crate) fn list() -> Vec<Inheritable> {
    let kept: Vec<RawFd> =
        JOB_FLAGS.iter().filter_map(|name| env::var(name).ok()).flat_map(|flags| jobserver(&flags)).collect();
    let stays = |number: &RawFd| *number > 2 && !kept.contains(number) && stays_open(*number);
    open_numbers().into_iter().filter(stays).filter_map(Inheritable::at).collect()
}

/// Numbers below this one are tried one by one. That takes no longer than listing the directory.
const TRIED: RawFd = 256;

/// The numbers of this process's open descriptors.
fn open_numbers() -> Vec<RawFd> {
    const DIRECTORY: &str = "/proc/self/fd";
    // Since Linux 6.2 the directory's length is the number of descriptors.
    let count = || fs::metadata(DIRECTORY).map_or(0, |directory| directory.len());
    let before = count();
    let found: Vec<RawFd> =
        (0..TRIED).filter(|number| flags_of(*number).is_some()).take(before as usize).collect();
    // Another thread may have opened one meanwhile, and a higher number been left out for it.
    if before > 0 && found.len() as u64 == before && count() == before {
        return found;
    }
    let listed = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Closes inherited descriptors.
///
/// # Safety
/// The process was started by one that had these descriptors, and nothing in this process owns one of them.
pub(crate) unsafe fn close(inherited: &[Inheritable]) {
    for known in
        inherited.iter().filter(|known| known.number > 2 && Inheritable::at(known.number) == Some(**known))
    {
        // SAFETY: the number stands for the very file that was inherited (just checked), and the caller promises that
        // nothing in this process owns it.
        unsafe { libc::close(known.number) };
    }
}

/// Whether exec leaves this descriptor open.
fn stays_open(number: RawFd) -> bool {
    flags_of(number).is_some_and(|flags| flags & libc::FD_CLOEXEC == 0)
}

/// The flags of a descriptor; none for a number that is not open.
fn flags_of(number: RawFd) -> Option<libc::c_int> {
    // SAFETY: the command takes no argument and touches no memory; the number need not be open.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    (flags >= 0).then_some(flags)
}

/// The environment variables in which `make` and `cargo` name their pipe.
const JOB_FLAGS: [&str; 3] = ["CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"];

/// The two descriptors of the pipe that the flags name last; none if there is no pipe, or it has a path.
fn jobserver(flags: &str) -> Vec<RawFd> {
    let value = |flag: &str| {
        let flag =
            flag.strip_prefix("--jobserver-auth=").or_else(|| flag.strip_prefix("--jobserver-fds="))?;
        let (read, write) = flag.split_once(',')?;
        Some(vec![read.parse().ok()?, write.parse().ok()?])
    };
    flags.split_ascii_whitespace().rev().find_map(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_exec_leaves_open_is_listed() {
        let (closed, open) = io::pipe().unwrap();
        // SAFETY: the call sets a flag of a descriptor that this test owns.
        assert_eq!(unsafe { libc::fcntl(open.as_raw_fd(), libc::F_SETFD, 0) }, 0);
        // SAFETY: this makes another number for the same file, which only this test knows, and closes below.
        let far = unsafe { libc::fcntl(open.as_raw_fd(), libc::F_DUPFD, 2 * TRIED) };
        assert!(far >= 2 * TRIED && list().iter().any(|known| known.number == far));
        // SAFETY: as above.
        assert_eq!(unsafe { libc::close(far) }, 0);
        let listed = list();
        let is_listed = |fd: RawFd| listed.iter().any(|known| known.number == fd);
        assert!(is_listed(open.as_raw_fd()) && !is_listed(closed.as_raw_fd()));
        assert!(!listed.iter().any(|known| known.number < 3));
    }

    #[test]
    fn another_file_at_the_number_stays() {
        let (one, other) = (io::pipe().unwrap().0, io::pipe().unwrap().0);
        let known = Inheritable::at(one.as_raw_fd()).unwrap();
        let moved = Inheritable { number: other.as_raw_fd(), ..known };
        // SAFETY: nothing has this inode at that number.
        unsafe { close(&[moved]) };
        assert!(Inheritable::at(other.as_raw_fd()).is_some());
    }

    #[test]
    fn the_pipe_of_make_is_known() {
        assert_eq!(jobserver(" -j --jobserver-auth=3,4 -- A=b"), [3, 4]);
        assert_eq!(jobserver("--jobserver-fds=5,6 --jobserver-auth=7,8"), [7, 8]);
        assert_eq!(jobserver("-j8 --jobserver-auth=fifo:/tmp/x"), [0; 0]);
        assert_eq!(jobserver(""), [0; 0]);
    }
}
