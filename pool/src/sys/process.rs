//! A child process, from the moment the parent knows it until its end is known.
#![allow(unsafe_code, reason = "pidfd calls have no safe wrapper in nix")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid, setpgid};

use super::fd::Fd;
use super::lifeline::{Lifeline, Tie};
use super::{named, read_text, retry};
use crate::error::{Death, DeathCause};

/// How long a process that was sent SIGKILL is waited for. Only one that hangs inside the kernel needs longer.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// A child process with a process group of its own. Dropping it kills the group and takes the child's status.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    pidfd: Fd,
    _lifeline: Lifeline,
    /// Who started it. After a fork of the user's own the child has a copy of this value, and no say.
    owner: Pid,
    death: Option<Death>,
}

impl Process {
    /// Takes over a child that waits at its tie: it gets its own group and its CPUs, and may go on.
    pub(crate) fn adopt(
        pid: Pid,
        pidfd: Fd,
        lifeline: Lifeline,
        tie: &Tie,
        cpus: &[usize],
    ) -> io::Result<Self> {
        let process = Self { pid, pidfd, _lifeline: lifeline, owner: getpid(), death: None };
        match setpgid(pid, pid) {
            // It was started as the leader of its group and has gone through exec since.
            Ok(()) | Err(Errno::EACCES) => {}
            Err(error) => return Err(error.into()),
        }
        if !cpus.is_empty() {
            crate::cpu::pin_process(pid.as_raw(), cpus)?;
        }
        process._lifeline.release(tie)?;
        Ok(process)
    }

    /// Its number; its own until its status is taken.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Readable when the process has ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether it sleeps in the kernel: it neither runs, nor would if it could, nor has anyone stopped it.
    pub(crate) fn sleeps(&self) -> bool {
        // proc_pid_stat(5): the state follows the name, which is in parentheses and may hold anything.
        let stat = read_text(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('S'))
    }

    /// Sends SIGKILL to the process and its group.
    pub(crate) fn kill(&self) {
        // Once the status is taken the number may be another's. That goes for a status that someone else has taken
        // too, and then the process can't be signalled any more.
        if self.death.is_none() && self.owner == getpid() && self.kill_alone().is_ok() {
            // No such group: the child has not yet left its parent's.
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }

    fn kill_alone(&self) -> io::Result<()> {
        match signal(&self.pidfd, libc::SIGKILL) {
            // A sandbox may deny the call. While the child still runs, its number is its own.
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) && self.wait(libc::WNOWAIT).is_none() => {
                Ok(kill(self.pid, Signal::SIGKILL)?)
            }
            signalled => signalled,
        }
    }

    /// How it ended, if it has ended. What is left of its group ends then too.
    pub(crate) fn try_reap(&mut self) -> Option<Death> {
        if self.death.is_none() && self.owner == getpid() && self.wait(libc::WNOWAIT).is_some() {
            // As long as the status is not taken, the number is no one else's.
            let _ = killpg(self.pid, Signal::SIGKILL);
            self.death = self.wait(0);
        }
        self.death
    }

    /// The same, waiting at most this long.
    pub(crate) fn reap_within(&mut self, limit: Duration) -> Option<Death> {
        if self.death.is_none() && self.owner == getpid() {
            let mut ended = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            poll_until(&mut ended, Instant::now() + limit).ok()?;
        }
        self.try_reap()
    }

    /// Takes the statuses of children that were born into this process's group and never became known. To be
    /// called after the group was killed.
    pub(crate) fn reap_unknown(&self) {
        let deadline = Instant::now() + KILL_LIMIT;
        let group = || waitid(Id::PGid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        while let Ok(status) = retry(group) {
            if status == WaitStatus::StillAlive {
                if Instant::now() > deadline {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// By hand: nix has no name for the real-time signals that a worker may die of, and loses such a status.
    fn wait(&self, flags: libc::c_int) -> Option<Death> {
        let flags = libc::WEXITED | libc::WNOHANG | flags;
        let pidfd = self.pidfd.as_fd().as_raw_fd().cast_unsigned();
        // SAFETY: all zeroes is a siginfo.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: the call writes one siginfo into the place given.
            match Errno::result(unsafe { libc::waitid(libc::P_PIDFD, pidfd, &raw mut info, flags) }) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                // Another waiter of this program took the status, or SIGCHLD is ignored.
                Err(_) => return Some(Death::new(DeathCause::Unknown)),
            }
        }
        // SAFETY: a siginfo of waitid has these fields; the call leaves zeroes when the child still runs.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return None;
        }
        let cause = match info.si_code {
            libc::CLD_EXITED => DeathCause::Exited(status),
            _ => DeathCause::Signaled(status),
        };
        Some(Death { core_dumped: info.si_code == libc::CLD_DUMPED, ..Death::new(cause) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.death.is_none() && self.owner == getpid() {
            self.kill();
            self.reap_within(KILL_LIMIT);
        }
    }
}

/// A descriptor for a child that waits at its tie. If there is none to be had, the child ends.
pub(crate) fn pidfd_of(child: Pid) -> io::Result<Fd> {
    open_pidfd(child).inspect_err(|_| {
        // It waits, so its number is its own.
        let _ = kill(child, Signal::SIGKILL);
        let _ = retry(|| waitpid(child, None));
    })
}

fn open_pidfd(child: Pid) -> io::Result<Fd> {
    // SAFETY: pidfd_open takes integers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.as_raw(), 0) };
    if fd < 0 {
        return Err(named("pidfd_open")(io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else knows it.
    Fd::new(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Ends this process and all of its group.
pub(super) fn kill_own_group() {
    let _ = kill(Pid::from_raw(0), Signal::SIGKILL);
}

/// Waits until one of the descriptors has something to say; false if the deadline comes first.
pub(super) fn poll_until(fds: &mut [PollFd<'_>], deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: a wait that ends early would only be made again.
        let left = left + Duration::from_micros(999);
        match poll(fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

fn signal(pidfd: &Fd, signal: libc::c_int) -> io::Result<()> {
    let (fd, no_info) = (pidfd.as_fd().as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: without a siginfo the call takes integers only.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
