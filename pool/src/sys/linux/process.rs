//! A child process, from the moment the parent knows its ID until it knows its end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, setpgid};

use super::fd::Fd;
use super::handle::{Handle, KILL_LIMIT, Usage, left, reap_left};
use super::lifeline::{Lifeline, Tie};
use super::memory::Killed;
use super::pidfd::number_in;
use super::traced::Trap;
use super::{ExitStatus, named, read_text};

/// How long to wait for the end of a process that was sent SIGKILL, if the pool can go on without it.
const GIVE_UP: Duration = Duration::from_secs(1);
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
    /// The trap for which it was killed, since its signal would have acted on it if it were not traced.
    trapped_by: Option<Trap>,
    /// Its control groups and its memory, if SIGKILL has ended it.
    killed_as: Option<Killed>,
}

impl Process {
    /// Takes over a child that waits at its tie: gives it its own group and its CPUs.
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
        Ok(process)
    }

    /// Lets it go on.
    pub(crate) fn release(mut self) -> io::Result<Self> {
        if let Some(lifeline) = &mut self.lifeline {
            lifeline.release(&mut self.tie)?;
        }
        Ok(self)
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
        let stat = self.directory().and_then(|dir| read_text(dir + "/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('S'))
    }

    /// Its directory in /proc. The /proc that is mounted here may be that of another namespace, with other process IDs;
    /// the pidfd tells the ID that the process has there.
    pub(crate) fn directory(&self) -> io::Result<String> {
        let pidfd = self.handle.pidfd.intact()?.as_fd();
        let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
        let number = number_in(&read_text(&path).map_err(named(&path))?);
        let number = number.ok_or_else(|| io::Error::other("the /proc that is mounted does not show it"))?;
        Ok(format!("/proc/{number}"))
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

    /// Whether it has ended. Leaves it, and what is left of its group, as they are.
    pub(crate) fn has_ended(&self) -> bool {
        self.status.is_some() || !matches!(self.handle.wait(libc::WNOWAIT), Ok(None))
    }

    /// Its exit status, if it has ended. Also kills what is left of its group.
    pub(crate) fn try_reap(&mut self) -> Option<ExitStatus> {
        self.reap_trapped();
        if self.status.is_none() && self.handle.is_own() {
            let mut usage = Usage::default();
            let ended = self.handle.wait_and_see(libc::WNOWAIT, &mut usage);
            if matches!(ended, Ok(Some(status)) if status.signal() == Some(libc::SIGKILL)) {
                // /proc shows this until the process is reaped.
                let groups = self.directory().and_then(|dir| read_text(dir + "/cgroup"));
                self.killed_as = groups.ok().map(|groups| Killed { groups, peak: usage.peak });
            }
            self.status = self.handle.take_status(&ended).map(|status| match (status, self.trapped_by) {
                (ExitStatus::Signaled { signal: libc::SIGKILL, core_dumped }, Some(trap)) => {
                    ExitStatus::Signaled { signal: trap.signal, core_dumped }
                }
                _ => status,
            });
        }
        self.status
    }

    /// Frees it from a trap in which two checks have found it: a tracer in this program would have taken note of that
    /// in between. See [`traced`](super::traced).
    pub(crate) fn check_trap(&mut self) {
        self.reap_trapped();
        if self.status.is_some() || self.killed.is_some() || !self.handle.is_own() {
            return;
        }
        let found = self.handle.trap();
        if let Some(trap) = found.filter(|_| found == self.trap)
            && trap.release().is_err()
            // It would stop as well if nobody traced it.
            && trap.signal != libc::SIGSTOP
        {
            self.trapped_by = Some(trap);
            self.kill();
        }
        self.trap = found;
    }

    fn reap_trapped(&self) {
        if let Some(trap) = self.trapped_by.filter(|_| self.status.is_none() && self.handle.is_own()) {
            trap.reap(self.handle.pid.as_raw());
        }
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

    /// Reaps children that were forked into this process's group and never became known, as far as they have ended, and
    /// the process itself. Call it after the group was killed. True if none is left.
    pub(crate) fn reap_unknown(&self) -> bool {
        self.handle.reap_group(Instant::now())
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
