//! The kernel's names for a child: how to signal it and its group, and to learn of its end, also after the pool has
//! stopped waiting for it.
#![allow(unsafe_code, reason = "waitid by number, for the signals that nix has no name for")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid};

use super::fd::Fd;
use super::pidfd::{PIDFD_SIGNAL_PROCESS_GROUP, signal};
use super::traced::Trap;
use super::{ExitStatus, retry};

/// How long to wait for the end of a process that was sent SIGKILL, if nothing can go on before it. Only a process that
/// hangs inside the kernel, say on a disk that does not answer, needs longer.
pub(super) const KILL_LIMIT: Duration = Duration::from_secs(2);
/// How long to wait for the children of an ended process, if they have become this process's: they were killed with it,
/// and die as fast.
const GROUP_LIMIT: Duration = Duration::from_millis(100);

/// The resources that a process has used.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// The most memory that it has held, in bytes.
    pub(super) peak: u64,
}

/// The kernel's names for a child.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(super) pid: Pid,
    pub(super) pidfd: Fd,
    /// The process that started it. A fork by the user has a copy of this value, and must do nothing with it.
    pub(super) owner: Pid,
}

/// Children that did not end when they were killed, and groups with members left. They are reaped when this crate next
/// starts or ends a child.
static LEFT: Mutex<Vec<Arc<Handle>>> = Mutex::new(Vec::new());

impl Handle {
    pub(super) fn is_own(&self) -> bool {
        self.owner == getpid()
    }

    /// Whether it has ended and was reaped.
    pub(crate) fn is_gone(&self) -> bool {
        !self.is_unreaped()
    }

    /// Whether it is not reaped yet: until then no other process has its ID.
    pub(super) fn is_unreaped(&self) -> bool {
        self.wait(libc::WNOWAIT).is_ok()
    }

    pub(super) fn kill_alone(&self) -> nix::Result<()> {
        match signal(&self.pidfd, libc::SIGKILL, 0) {
            // A sandbox may deny pidfd_send_signal.
            Err(error) if error != Errno::ESRCH && self.is_unreaped() => kill(self.pid, Signal::SIGKILL),
            signalled => signalled,
        }
    }

    /// Kills the group. It is no error if the group is gone, or if the child never led it.
    pub(super) fn kill_group(&self) {
        // Kernels before 6.9 know a group only by its ID.
        if !self.signal_group(libc::SIGKILL).is_ok_or_gone() && self.is_unreaped() {
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }

    /// Signals the group that it leads or has led, even if it was reaped.
    pub(super) fn signal_group(&self, number: libc::c_int) -> Signalled {
        match signal(&self.pidfd, number, PIDFD_SIGNAL_PROCESS_GROUP) {
            Ok(()) => Signalled::Sent,
            Err(Errno::ESRCH) => Signalled::Gone,
            Err(_) => Signalled::Refused,
        }
    }

    /// Reaps a process in this state, which [`wait`](Self::wait) has found with `WNOWAIT`.
    pub(super) fn take_status(
        self: &Arc<Self>,
        state: &io::Result<Option<ExitStatus>>,
    ) -> Option<ExitStatus> {
        let Ok(ended) = state else {
            // Other code of this program reaped it, or SIGCHLD is ignored.
            self.kill_group();
            return Some(ExitStatus::Unknown);
        };
        (*ended)?;
        self.kill_group();
        let status = self.wait(0).ok().flatten().unwrap_or(ExitStatus::Unknown);
        if adopts_orphans() && !self.reap_group(Instant::now() + GROUP_LIMIT) {
            left().push(Arc::clone(self));
        }
        Some(status)
    }

    /// Reaps its children that have become this process's. False if there may be more.
    pub(super) fn reap_group(&self, deadline: Instant) -> bool {
        loop {
            // As long as the group has a member, the kernel gives its ID to no other group. A kernel that can't tell
            // whether the group has a member still does not reuse an ID this soon.
            let known = match self.signal_group(0) {
                Signalled::Gone => return true,
                Signalled::Sent => true,
                Signalled::Refused => false,
            };
            match retry(|| waitid(Id::PGid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) if !known => return true,
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => {
                    if Instant::now() >= deadline {
                        return false;
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
                // An error may be a signal for which nix has no name; the child was reaped nevertheless.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Its state. An error means that it is not, or no longer, a child of this process. Calls waitid directly, because
    /// nix has no name for real-time signals, and loses the status of a worker that dies of one.
    pub(super) fn wait(&self, flags: libc::c_int) -> io::Result<Option<ExitStatus>> {
        self.wait_and_see(flags, &mut Usage::default())
    }

    pub(super) fn wait_and_see(
        &self,
        flags: libc::c_int,
        usage: &mut Usage,
    ) -> io::Result<Option<ExitStatus>> {
        let flags = libc::WEXITED | libc::WNOHANG | flags;
        let (kind, number) = self.number();
        // SAFETY: a siginfo is made of numbers and pointers, so all zeroes is a valid one.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: a rusage is made of numbers, so all zeroes is a valid one.
        let mut used: libc::rusage = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: the call writes one siginfo and one rusage into live variables of these types. (A raw system
            // call, because the C library's waitid has no argument for the second.)
            let waited =
                unsafe { libc::syscall(libc::SYS_waitid, kind, number, &raw mut info, flags, &raw mut used) };
            match Errno::result(waited) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // SAFETY: waitid has filled these fields of the siginfo, or left their zeroes if the child still runs.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        if pid == 0 {
            return Ok(None);
        }
        usage.peak = u64::try_from(used.ru_maxrss).unwrap_or(0) << 10;
        Ok(match info.si_code {
            libc::CLD_EXITED => Some(ExitStatus::Exited(status)),
            code @ (libc::CLD_KILLED | libc::CLD_DUMPED) => {
                Some(ExitStatus::Signaled { signal: status, core_dumped: code == libc::CLD_DUMPED })
            }
            // The kernel also reports children that are stopped in a trap.
            _ => None,
        })
    }

    /// The ID by which waitid finds it.
    pub(super) fn number(&self) -> (libc::idtype_t, libc::c_int) {
        match self.pidfd.is_intact() {
            true => (libc::P_PIDFD, self.pidfd.as_fd().as_raw_fd()),
            false => (libc::P_PID, self.pid.as_raw()),
        }
    }

    /// A trap in which one of its threads is stopped. The first thread is found wherever it is, the others only in the
    /// group that it was given.
    pub(super) fn trap(&self) -> Option<Trap> {
        let (kind, number) = self.number();
        let of = |kind, number: libc::c_int| Trap::of(kind, number.cast_unsigned());
        of(kind, number).or_else(|| of(libc::P_PGID, self.pid.as_raw()).filter(|_| self.is_unreaped()))
    }

    /// Whether nothing of it is left, including its children if those become this process's.
    pub(super) fn is_all_gone(&self) -> bool {
        match self.wait(libc::WNOWAIT) {
            Ok(None) => return false,
            Ok(Some(_)) => {
                self.kill_group();
                let _ = self.wait(0);
            }
            Err(_) => {}
        }
        !adopts_orphans() || self.reap_group(Instant::now())
    }
}

/// The outcome of a signal to a group.
pub(super) enum Signalled {
    Sent,
    /// The group has no member.
    Gone,
    /// The kernel can't do this, or refuses.
    Refused,
}

impl Signalled {
    pub(super) fn is_ok_or_gone(&self) -> bool {
        matches!(self, Self::Sent | Self::Gone)
    }
}

/// Whether children of this process's dead descendants become its own.
fn adopts_orphans() -> bool {
    getpid().as_raw() == 1 || nix::sys::prctl::get_child_subreaper().unwrap_or(false)
}

pub(super) fn left() -> MutexGuard<'static, Vec<Arc<Handle>>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps those children that have ended since the pool stopped waiting for them.
pub(crate) fn reap_left() {
    let mut handles = std::mem::take(&mut *left());
    handles.retain(|handle| handle.is_own() && !handle.is_all_gone());
    left().append(&mut handles);
}

/// Like [`reap_left`], for the end of a pool: also waits for the children of processes that have ended.
pub(crate) fn reap_groups() {
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        reap_left();
        let awaits = left().iter().any(|handle| handle.is_gone());
        if !awaits || Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
