//! The lifeline: it ends a process together with the one that started it, however that one ends.
//!
//! It is a pipe into which nobody writes. The parent holds the only write end, and the child has the kernel send it
//! SIGKILL when the pipe hangs up. So a worker that is busy in a loop dies as fast as an idle one, no thread watches,
//! and nothing polls. A second pipe, which is gone once the child goes on, carries a single message: the parent's
//! process ID. (The kernel would send the same signal for a message in the first one, and may do so when the child has
//! long read it.)
//!
//! There is more than one tie to the parent, because each can be lost:
//!
//! | what a task does | why its worker still ends |
//! |---|---|
//! | leaves its process group | the tie itself signals the process, whatever its group |
//! | leaves children in its group | the tie that the child opens for itself signals the group |
//! | closes all descriptors | the parent has a copy of the tie: the request stays with the open file |
//! | blocks signals | SIGKILL can't be blocked |
//!
//! | what the program does | why its workers still end |
//! |---|---|
//! | forks children, which live on | a child closes its copy of the write end when it is forked: [`super::fd`] |
//! | makes children that no fork handler sees | its end signals the worker: [`arm_parent_death_signal`] |
//! | drops its privileges | the kernel checks the process that armed the signal, not the one that closes the pipe |
//!
//! The steps of a start:
//! 1. The child begins, and does nothing but wait for the message.
//! 2. The parent notes the child, makes it the leader of its own group, pins it to its CPUs, and writes the message.
//! 3. The child reads it and arms the signal. If it reads the end of that pipe instead, the parent is gone, and it
//!    exits.
//! 4. The child checks the lifeline once more: if the parent ended after it wrote the message and before the signal was
//!    armed, no signal comes. Then it compares its parent with the message: a child of the program's may keep the pipe
//!    open.
#![allow(unsafe_code, reason = "asks for a signal by fcntl, which nix does not wrap, and handles one")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::Mode;
use nix::unistd::{getpid, getppid, pipe2, read, write};

use super::fd::{self, Fd, Guarded};
use super::{named, retry};

/// The parent's end. Dropping it kills the child and its process group.
#[derive(Debug)]
pub(crate) struct Lifeline {
    _hold: Fd,
    /// Where the message is written, if it was not yet.
    message: Option<Fd>,
}

/// The child's end. The parent keeps a copy of it.
#[derive(Debug)]
pub(crate) struct Tie {
    hold: Fd,
    /// Where the message comes, if it did not yet.
    message: Option<Fd>,
}

/// The armed ties of a child: its own, and the second one that it opened for its group.
#[derive(Debug)]
pub(crate) struct Tied {
    _own: Tie,
    _group: Option<Guarded>,
}

/// The process IDs of this process and of its parent, once it is tied; 0 before. A fork by a task has copies of these,
/// but another ID.
static OWN: AtomicI32 = AtomicI32::new(0);
static PARENT: AtomicI32 = AtomicI32::new(0);

/// Ends this process and its group if the parent that it is tied to is gone.
pub(crate) fn end_if_orphaned() {
    let parent = PARENT.load(Ordering::Relaxed);
    if parent != 0 && getppid().as_raw() != parent && getpid().as_raw() == OWN.load(Ordering::Relaxed) {
        super::process::kill_own_group();
        // A task may have moved this process to another group.
        super::process::kill_self();
    }
}

/// Has the kernel send a signal when the *thread* that forked this process ends. That may be the end of the parent, or
/// mean nothing. So the signal is one without effect of its own, and its handler checks whether the parent is gone. A
/// task may handle or block the signal; then the other ties remain.
fn arm_parent_death_signal() {
    extern "C" fn look(_: libc::c_int) {
        end_if_orphaned();
    }
    let action = SigAction::new(SigHandler::Handler(look), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler only reads atomics and makes async-signal-safe system calls. It leaves errno as it was,
    // unless it ends the process.
    if unsafe { sigaction(Signal::SIGURG, &action) }.is_ok() && set_pdeathsig(Signal::SIGURG).is_ok() {
        // A server has all signals blocked.
        let _ = SigSet::from_iter([Signal::SIGURG]).thread_unblock();
    }
}

/// Makes a lifeline.
pub(crate) fn lifeline() -> io::Result<(Lifeline, Tie)> {
    fd::close_in_forks()?;
    let (tie, lifeline) = pipe2(OFlag::O_CLOEXEC).map_err(named("pipe"))?;
    let tie = Fd::new(tie)?;
    let mut lifeline = Fd::new(lifeline)?;
    if lifeline.as_fd().as_raw_fd() < tie.as_fd().as_raw_fd() {
        // The pipe must hang up while the parent's copy of the tie is still open, and a process that ends closes its
        // highest descriptor first. The numbers are in the right order already, unless one of the standard three was
        // free.
        let above = lifeline.as_fd().try_clone_to_owned().map_err(named("a pipe's end above the other"))?;
        lifeline = Fd::new(above)?;
    }
    let (reads, writes) = pipe2(OFlag::O_CLOEXEC).map_err(named("pipe"))?;
    let (reads, writes) = (Fd::new(reads)?, Fd::new(writes)?);
    Ok((Lifeline { _hold: lifeline, message: Some(writes) }, Tie { hold: tie, message: Some(reads) }))
}

impl Lifeline {
    /// Lets the child go on. The parent's copy of the child's end is a reader, so the write can't raise SIGPIPE.
    pub(crate) fn release(&mut self, reader: &mut Tie) -> io::Result<()> {
        if let Some(message) = self.message.take() {
            // Another thread of the program may have closed it, and may have a file of its own there.
            message.intact()?;
            retry(|| write(&message, &getpid().as_raw().to_ne_bytes()))?;
        }
        reader.message = None;
        Ok(())
    }
}

impl Tie {
    /// The child's end, as it came through a control socket.
    pub(crate) fn new([hold, message]: [OwnedFd; 2]) -> io::Result<Self> {
        Ok(Self { hold: Fd::new(hold)?, message: Some(Fd::new(message)?) })
    }

    /// Its descriptors, for the child.
    ///
    /// # Errors
    /// If the child was released already.
    pub(crate) fn fds(&self) -> io::Result<[&Fd; 2]> {
        let message = self.message.as_ref().ok_or_else(|| io::Error::other("the child goes on already"))?;
        Ok([&self.hold, message])
    }

    /// Waits until the parent lets this process go on. From then on this process ends with the parent, as long as the
    /// tie is open in either of them. An error means that the parent is gone.
    pub(crate) fn hold(self) -> io::Result<Tied> {
        self.hold_or(Self::watch)
    }

    /// Like [`hold`](Self::hold), for a server, which must not have a second thread: if the kernel sends no signal, the
    /// server ends when its parent's end of the control socket is closed.
    pub(crate) fn hold_as_server(self) -> io::Result<Tied> {
        self.hold_or(|_| Ok(()))
    }

    /// Calls `otherwise` if the kernel can send no signal.
    fn hold_or(mut self, otherwise: impl FnOnce(&Self) -> io::Result<()>) -> io::Result<Tied> {
        let mut message = [0; size_of::<libc::pid_t>()];
        let from = self.message.take().ok_or(io::ErrorKind::BrokenPipe)?;
        if retry(|| read(&from, &mut message))? < message.len() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        drop(from);
        let (own, group) = (getpid().as_raw(), -getpid().as_raw());
        // If a second tie can't be opened, the only one is for the group: this process is in it, and tasks seldom leave
        // it.
        let again = self.open_again().ok().filter(|again| arm(again, group).is_ok());
        if arm(&self.hold, if again.is_some() { own } else { group }).is_err() {
            otherwise(&self)?;
        }
        // A parent outside this process's PID namespace has the number 0 here.
        let told = libc::pid_t::from_ne_bytes(message);
        let parent = if getppid().as_raw() == 0 { 0 } else { told };
        let mut pipe = [PollFd::new(self.hold.as_fd(), PollFlags::empty())];
        match retry(|| poll(&mut pipe, PollTimeout::ZERO))? {
            // The parent was still there after the signal was armed.
            0 => {
                OWN.store(own, Ordering::Relaxed);
                PARENT.store(parent, Ordering::Relaxed);
            }
            _ => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        arm_parent_death_signal();
        // The parent may have ended before its signal was armed.
        end_if_orphaned();
        Ok(Tied { _own: self, _group: again })
    }

    /// Another opening of the same pipe, which can be armed separately.
    fn open_again(&self) -> io::Result<Guarded> {
        let path = format!("/proc/self/fd/{}", self.hold.as_fd().as_raw_fd());
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        Guarded::new(open(&*path, flags, Mode::empty())?)
    }

    /// The fallback if the kernel has no such signal, or a sandbox denies it: a thread that waits for the end of the
    /// pipe.
    fn watch(&self) -> io::Result<()> {
        let tie = self.hold.as_fd().try_clone_to_owned().map_err(named("a copy of the lifeline"))?;
        thread::Builder::new().name("pool lifeline".into()).stack_size(64 << 10).spawn(move || {
            let _ = retry(|| read(&tie, &mut [0]));
            super::process::kill_own_group();
        })?;
        Ok(())
    }
}

/// Has the kernel send SIGKILL when the pipe hangs up: to this process, or to this group if the number is negative.
fn arm(pipe: &impl AsFd, whom: libc::pid_t) -> io::Result<()> {
    let pipe = pipe.as_fd();
    let ask = |command, value: libc::c_int| {
        // SAFETY: both commands take an integer and touch no memory of this process.
        match unsafe { libc::fcntl(pipe.as_raw_fd(), command, value) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    ask(libc::F_SETOWN, whom)?;
    ask(fd::F_SETSIG, libc::SIGKILL)?;
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL)?);
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_ASYNC))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written into it makes the kernel send the signal.
    #[test]
    fn nothing_is_ever_written_into_a_lifeline() {
        let (mut parent, mut tie) = lifeline().unwrap();
        let [hold, message] = tie.fds().unwrap().map(|fd| fd.as_fd().try_clone_to_owned().unwrap());
        parent.release(&mut tie).unwrap();
        assert!(tie.fds().is_err());
        let mut pipe = [PollFd::new(hold.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut pipe, PollTimeout::ZERO), Ok(0));
        let mut bytes = [0; 8];
        assert_eq!(read(&message, &mut bytes), Ok(size_of::<libc::pid_t>()));
        assert_eq!(bytes[..4], getpid().as_raw().to_ne_bytes());
        assert_eq!(read(&message, &mut bytes), Ok(0), "nothing else comes");
        drop(parent);
        let mut pipe = [PollFd::new(hold.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut pipe, PollTimeout::ZERO), Ok(1));
    }
}
