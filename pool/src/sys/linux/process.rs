//! A child process, from the moment the parent knows its ID until it knows its end.
#![allow(unsafe_code, reason = "waitid by number, for the signals that nix has no name for")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid, setpgid};

use super::fd::Fd;
use super::lifeline::{Lifeline, Tie};
use super::memory::Killed;
use super::pidfd::{PIDFD_SIGNAL_PROCESS_GROUP, number_in, signal};
use super::traced::Trap;
use super::{read_text, retry};

/// How long to wait for the end of a process that was sent SIGKILL, if nothing can go on before it. Only a process that
/// hangs inside the kernel, say on a disk that does not answer, needs longer.
const KILL_LIMIT: Duration = Duration::from_secs(2);
/// The same, if the pool can go on without it.
const GIVE_UP: Duration = Duration::from_secs(1);
/// How long to wait for the children of an ended process, if they have become this process's: they were killed with it,
/// and die as fast.
const GROUP_LIMIT: Duration = Duration::from_millis(100);

/// A child process with a process group of its own. Dropping it kills the group and reaps the child.
#[derive(Debug)]
pub(crate) struct Process {
    handle: Arc<Handle>,
    /// Cut to kill the child if a signal is refused.
    lifeline: Option<Lifeline>,
    /// A copy of the child's end, in case the child closes its own.
    tie: Tie,
    /// When SIGKILL was first sent to it.
    killed: Option<Instant>,
    /// Why that was refused.
    kill_refused: Option<Errno>,
    status: Option<ExitStatus>,
    /// The trap in which the last check has found it.
    trap: Option<Trap>,
    /// The signal that would have acted on it if it were not traced, and for which it was killed.
    trapped_by: Option<libc::c_int>,
    /// Its control groups and its memory, if SIGKILL has ended it.
    killed_as: Option<Killed>,
}

/// The resources that a process has used.
#[derive(Debug, Default)]
struct Usage {
    /// The most memory that it has held, in bytes.
    peak: u64,
}

/// The kernel's names for a child.
#[derive(Debug)]
pub(crate) struct Handle {
    pid: Pid,
    pidfd: Fd,
    /// The process that started it. A fork by the user has a copy of this value, and must do nothing with it.
    owner: Pid,
}

/// Children that did not end when they were killed, and groups with members left. They are reaped when this crate next
/// starts or ends a child.
static LEFT: Mutex<Vec<Arc<Handle>>> = Mutex::new(Vec::new());

impl Process {
    /// Takes over a child that waits at its tie: gives it its own group and its CPUs, and lets it go on.
    pub(crate) fn adopt(
        pid: Pid,
        pidfd: Fd,
        lifeline: Lifeline,
        tie: Tie,
        cpus: &[usize],
    ) -> io::Result<Self> {
        reap_left();
        let handle = Arc::new(Handle { pid, pidfd, owner: getpid() });
        let process = Self {
            handle,
            lifeline: Some(lifeline),
            tie,
            killed: None,
            kill_refused: None,
            status: None,
            trap: None,
            trapped_by: None,
            killed_as: None,
        };
        match setpgid(pid, pid) {
            // It was started as the leader of its group and has called exec since.
            Ok(()) | Err(Errno::EACCES) => {}
            Err(error) => return Err(error.into()),
        }
        if !cpus.is_empty() {
            super::cpu::pin_process(pid, cpus)?;
        }
        process.lifeline.as_ref().map_or(Ok(()), |lifeline| lifeline.release(&process.tie))?;
        Ok(process)
    }

    /// Its process ID, which no other process gets until it is reaped.
    pub(crate) fn pid(&self) -> i32 {
        self.handle.pid.as_raw()
    }

    /// Becomes readable when the process has ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.handle.pidfd.as_fd()
    }

    /// Whether the program has closed the pidfd, so that no poll set notices the end of the process.
    pub(crate) fn is_unwatched(&self) -> bool {
        !self.handle.pidfd.is_intact()
    }

    /// The child's end of its lifeline.
    pub(crate) fn tie(&self) -> &Tie {
        &self.tie
    }

    /// Whether it sleeps in the kernel: it is neither running, nor waiting for a core, nor stopped.
    pub(crate) fn sleeps(&self) -> bool {
        // proc_pid_stat(5): the state follows the name, which is in parentheses and may contain anything.
        let stat = self.directory().and_then(|dir| read_text(dir + "/stat").ok()).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('S'))
    }

    /// Its directory in /proc. The /proc that is mounted here may be that of another namespace, with other process IDs;
    /// the pidfd tells the ID that the process has there.
    pub(crate) fn directory(&self) -> Option<String> {
        let info = read_text(format!("/proc/self/fdinfo/{}", self.pidfd().as_raw_fd())).ok()?;
        number_in(&info).map(|number| format!("/proc/{number}"))
    }

    /// Sends SIGKILL to the process and its group. If that is refused, as happens to a process that has given up its
    /// privileges, cuts the lifeline, and the kernel sends the signal in the child's own name.
    pub(crate) fn kill(&mut self) {
        if self.status.is_some() || !self.handle.is_own() {
            return;
        }
        self.killed.get_or_insert_with(Instant::now);
        match self.handle.kill_alone() {
            Ok(()) => self.handle.kill_group(),
            // It has ended. Its group is killed when it is reaped.
            Err(Errno::ESRCH) => {}
            Err(refused) => {
                self.kill_refused = Some(refused);
                self.lifeline = None;
            }
        }
    }

    /// Why the signal was refused, so that the lifeline had to end the process.
    pub(crate) fn kill_refused(&self) -> Option<Errno> {
        self.kill_refused
    }

    /// Its exit status, if it has ended. Also kills what is left of its group.
    pub(crate) fn try_reap(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() && self.handle.is_own() {
            let mut usage = Usage::default();
            let ended = self.handle.wait_and_see(libc::WNOWAIT, &mut usage);
            if matches!(ended, Ok(Some(status)) if status.signal() == Some(libc::SIGKILL)) {
                // /proc shows this until the process is reaped.
                let groups = self.directory().and_then(|dir| read_text(dir + "/cgroup").ok());
                self.killed_as = groups.map(|groups| Killed { groups, peak: usage.peak });
            }
            self.status = self.handle.take_status(&ended).map(|status| match (status, self.trapped_by) {
                (ExitStatus::Signaled { signal: libc::SIGKILL, core_dumped }, Some(signal)) => {
                    ExitStatus::Signaled { signal, core_dumped }
                }
                _ => status,
            });
        }
        self.status
    }

    /// Frees it from a trap in which two checks have found it: a tracer in this program would have taken note of that
    /// in between. See [`traced`](super::traced).
    pub(crate) fn check_trap(&mut self) {
        if self.status.is_some() || self.killed.is_some() || !self.handle.is_own() {
            return;
        }
        let found = self.handle.trap();
        if let Some(trap) = found.filter(|_| found == self.trap)
            && trap.release().is_err()
            // It would stop as well if nobody traced it.
            && trap.signal != libc::SIGSTOP
        {
            self.trapped_by = Some(trap.signal);
            self.kill();
        }
        self.trap = found;
    }

    /// Its control groups and its memory, if SIGKILL has ended it.
    pub(crate) fn killed_as(&self) -> Option<&Killed> {
        self.killed_as.as_ref()
    }

    /// Like [`try_reap`](Self::try_reap), but waits for at most `limit`.
    pub(crate) fn reap_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.reap_until(Instant::now() + limit)
    }

    fn reap_until(&mut self, deadline: Instant) -> Option<ExitStatus> {
        self.await_end(deadline);
        self.try_reap()
    }

    fn await_end(&mut self, deadline: Instant) {
        if self.status.is_none() && self.handle.is_own() {
            if self.handle.pidfd.is_intact() {
                // If that fails, the process counts as still running.
                let _ = poll_until(&mut [PollFd::new(self.pidfd(), PollFlags::POLLIN)], deadline);
            } else {
                while self.try_reap().is_none() && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// Whether it was killed but has not ended for so long that the pool goes on without it.
    pub(crate) fn is_stuck(&self) -> bool {
        self.status.is_none() && self.killed.is_some_and(|killed| killed.elapsed() >= GIVE_UP)
    }

    /// Whether it was sent SIGKILL, and is not known to have ended.
    pub(crate) fn is_dying(&self) -> bool {
        self.status.is_none() && self.killed.is_some()
    }

    /// Stops waiting for it: it ends when the kernel lets it, and is reaped then. Returns its handle.
    pub(crate) fn give_up(&mut self) -> Arc<Handle> {
        if self.status.is_none() {
            self.status = Some(ExitStatus::Stuck);
            self.lifeline = None;
            left().push(Arc::clone(&self.handle));
        }
        Arc::clone(&self.handle)
    }

    /// Reaps children that were forked into this process's group and never became known. Call it after the group was
    /// killed.
    pub(crate) fn reap_unknown(&self) {
        // Once it is reaped, another process may have its ID.
        if self.status.is_some() || !self.handle.is_unreaped() {
            return;
        }
        let deadline = Instant::now() + KILL_LIMIT;
        let group = || waitid(Id::PGid(self.handle.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        while let Ok(status) = retry(group) {
            if status == WaitStatus::StillAlive {
                if Instant::now() > deadline {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Handle {
    fn is_own(&self) -> bool {
        self.owner == getpid()
    }

    /// Whether it has ended and was reaped.
    pub(crate) fn is_gone(&self) -> bool {
        !self.is_unreaped()
    }

    /// Whether it is not reaped yet: until then no other process has its ID.
    fn is_unreaped(&self) -> bool {
        self.wait(libc::WNOWAIT).is_ok()
    }

    fn kill_alone(&self) -> nix::Result<()> {
        match signal(&self.pidfd, libc::SIGKILL, 0) {
            // A sandbox may deny pidfd_send_signal.
            Err(error) if error != Errno::ESRCH && self.is_unreaped() => kill(self.pid, Signal::SIGKILL),
            signalled => signalled,
        }
    }

    /// Kills the group. It is no error if the group is gone, or if the child never led it.
    fn kill_group(&self) {
        // Kernels before 6.9 know a group only by its ID.
        if !self.signal_group(libc::SIGKILL).is_ok_or_gone() && self.is_unreaped() {
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }

    /// Signals the group that it leads or has led, even if it was reaped.
    fn signal_group(&self, number: libc::c_int) -> Signalled {
        match signal(&self.pidfd, number, PIDFD_SIGNAL_PROCESS_GROUP) {
            Ok(()) => Signalled::Sent,
            Err(Errno::ESRCH) => Signalled::Gone,
            Err(_) => Signalled::Refused,
        }
    }

    /// Reaps a process in this state, which [`wait`](Self::wait) has found with `WNOWAIT`.
    fn take_status(self: &Arc<Self>, state: &io::Result<Option<ExitStatus>>) -> Option<ExitStatus> {
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
    fn reap_group(&self, deadline: Instant) -> bool {
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
    fn wait(&self, flags: libc::c_int) -> io::Result<Option<ExitStatus>> {
        self.wait_and_see(flags, &mut Usage::default())
    }

    fn wait_and_see(&self, flags: libc::c_int, usage: &mut Usage) -> io::Result<Option<ExitStatus>> {
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
    fn number(&self) -> (libc::idtype_t, libc::c_int) {
        match self.pidfd.is_intact() {
            true => (libc::P_PIDFD, self.pidfd.as_fd().as_raw_fd()),
            false => (libc::P_PID, self.pid.as_raw()),
        }
    }

    /// A trap in which one of its threads is stopped. The first thread is found wherever it is, the others only in the
    /// group that it was given.
    fn trap(&self) -> Option<Trap> {
        let (kind, number) = self.number();
        let of = |kind, number: libc::c_int| Trap::of(kind, number.cast_unsigned());
        of(kind, number).or_else(|| of(libc::P_PGID, self.pid.as_raw()).filter(|_| self.is_unreaped()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() && self.handle.is_own() {
            self.kill();
            // The limit counts from the kill, so that children that were killed together share one wait.
            let killed = self.killed.unwrap_or_else(Instant::now);
            self.await_end(killed + KILL_LIMIT);
            // Nothing will ask for its exit status any more.
            self.status = self.status.or_else(|| self.handle.take_status(&self.handle.wait(libc::WNOWAIT)));
            if self.status.is_none() {
                self.give_up();
            }
        }
        if self.handle.is_own() {
            // Not in a fork: another thread of the parent may have held the lock of the list.
            reap_left();
        }
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    Exited(i32),
    Signaled {
        signal: i32,
        core_dumped: bool,
    },
    /// It was killed, but has not ended.
    Stuck,
    /// It is gone, and other code of the program reaped it.
    Unknown,
}

impl ExitStatus {
    /// The signal that ended it.
    pub(crate) fn signal(self) -> Option<i32> {
        match self {
            Self::Signaled { signal, .. } => Some(signal),
            _ => None,
        }
    }
}

/// The outcome of a signal to a group.
enum Signalled {
    Sent,
    /// The group has no member.
    Gone,
    /// The kernel can't do this, or refuses.
    Refused,
}

impl Signalled {
    fn is_ok_or_gone(&self) -> bool {
        matches!(self, Self::Sent | Self::Gone)
    }
}

fn left() -> MutexGuard<'static, Vec<Arc<Handle>>> {
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

impl Handle {
    /// Whether nothing of it is left, including its children if those become this process's.
    fn is_all_gone(&self) -> bool {
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

/// Whether children of this process's dead descendants become its own.
fn adopts_orphans() -> bool {
    getpid().as_raw() == 1 || nix::sys::prctl::get_child_subreaper().unwrap_or(false)
}

/// Ends this process.
pub(super) fn kill_self() {
    let _ = kill(getpid(), Signal::SIGKILL);
}

/// Ends this process and all of its group.
pub(super) fn kill_own_group() {
    let _ = kill(Pid::from_raw(0), Signal::SIGKILL);
}

/// Waits until one of the descriptors has an event. False if the deadline passes first.
pub(super) fn poll_until(fds: &mut [PollFd<'_>], deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, because a wait that ends too early would have to be repeated.
        let left = left + Duration::from_micros(999);
        match poll(fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}
