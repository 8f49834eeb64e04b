//! The lifeline: how a process ends with the one that started it, however that one ends.
//!
//! A pipe that carries a single byte. The parent holds the only write end, and the child asks the kernel to send
//! SIGKILL when the pipe hangs up. So a worker that is busy in a loop dies as fast as one that is idle, no thread
//! watches, and nothing polls.
//!
//! What can go wrong with one such rope, the other one holds:
//!
//! | a task | and still |
//! |---|---|
//! | leaves its process group | the tie itself signals the process, whatever its group |
//! | leaves children in its group | the tie that the child opens for itself signals the group |
//! | closes all descriptors | the parent has a copy of the tie: what was asked of the open file stays asked |
//! | blocks signals | SIGKILL can't be blocked |
//!
//! | the program | and still |
//! |---|---|
//! | forks children, which live on | a child closes its copy of the write end as it is forked: [`fd`](super::fd) |
//! | makes children that no such handler sees | a worker hears of its parent's end, and looks: [`hear_of_parent`] |
//! | drops its privileges | the kernel asks who armed the signal, not who closes the pipe |
//!
//! 1. The child is born. It waits for the byte, and does nothing before.
//! 2. The parent notes the child, makes it the leader of its own group, pins it, and writes the byte.
//! 3. The child reads the byte and arms the signal. If it reads the end of the pipe, the parent is gone: it exits.
//! 4. The child looks at the pipe once more: a parent that went between 3 and the arming sent no signal.
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
pub(crate) struct Lifeline(Fd);

/// The child's end, of which the parent keeps a copy.
#[derive(Debug)]
pub(crate) struct Tie(Fd);

/// The tie of a child that lives by it, and the one that it has opened for its group.
#[derive(Debug)]
pub(crate) struct Tied {
    _own: Tie,
    _group: Option<Guarded>,
}

/// This process and its parent, since it was tied to it; 0 before. A fork of a task's has copies of these, and is
/// another.
static OWN: AtomicI32 = AtomicI32::new(0);
static PARENT: AtomicI32 = AtomicI32::new(0);

/// Ends this process and its group if the parent that it is tied to is gone.
pub(crate) fn end_if_orphaned() {
    let parent = PARENT.load(Ordering::Relaxed);
    if parent != 0 && getppid().as_raw() != parent && getpid().as_raw() == OWN.load(Ordering::Relaxed) {
        super::process::kill_own_group();
        // A task may have left the group that was meant.
        super::process::kill_self();
    }
}

/// Has the kernel send a signal when the *thread* ends that is this process's parent, which may be the end of the
/// parent and may be nothing. So the signal is one that is nothing by itself, and makes this process look. A task that
/// handles or blocks it has the other ropes.
fn hear_of_parent() {
    extern "C" fn look(_: libc::c_int) {
        end_if_orphaned();
    }
    let action = SigAction::new(SigHandler::Handler(look), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler makes system calls only, of which those that may fail are the process's last.
    if unsafe { sigaction(Signal::SIGURG, &action) }.is_ok() && set_pdeathsig(Signal::SIGURG).is_ok() {
        // A server has all of them blocked.
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
        // A process that ends closes its highest descriptor first: the pipe must hang up while the copy of the tie is
        // there. Numbers are in this order unless one of the standard three was free.
        let above = lifeline.as_fd().try_clone_to_owned().map_err(named("a pipe's end above the other"))?;
        lifeline = Fd::new(above)?;
    }
    Ok((Lifeline(lifeline), Tie(tie)))
}

impl Lifeline {
    /// Lets the child go on. The parent's copy of the child's end shows that a reader is left, so no SIGPIPE comes.
    pub(crate) fn release(&self, _reader: &Tie) -> io::Result<()> {
        retry(|| write(&self.0, &[1]))?;
        Ok(())
    }
}

impl Tie {
    /// The child's end, as it came through a control socket.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Fd::new(fd)?))
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.0
    }

    /// Waits until the parent lets this process go on, and ties its life to the parent's from then on, for as long
    /// as the tie is held, here or by the parent. An error: the parent is gone.
    pub(crate) fn hold(self) -> io::Result<Tied> {
        self.hold_or(Self::watch)
    }

    /// The same for a server, which must have no second thread: where the kernel sends no signal, it ends when it sees
    /// that its parent's end of the control socket is closed.
    pub(crate) fn hold_as_server(self) -> io::Result<Tied> {
        self.hold_or(|_| Ok(()))
    }

    /// `otherwise`: what is to be done where the kernel sends no signal.
    fn hold_or(self, otherwise: impl FnOnce(&Self) -> io::Result<()>) -> io::Result<Tied> {
        if retry(|| read(&self.0, &mut [0]))? == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let (own, group) = (getpid().as_raw(), -getpid().as_raw());
        // Where there is no other tie for the group, it has the only one: the process is in it, and tasks seldom leave.
        let again = self.open_again().ok().filter(|again| arm(again, group).is_ok());
        if arm(&self.0, if again.is_some() { own } else { group }).is_err() {
            otherwise(&self)?;
        }
        let parent = getppid().as_raw();
        let mut pipe = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        match retry(|| poll(&mut pipe, PollTimeout::ZERO))? {
            // The parent was there after it was asked for.
            0 => {
                OWN.store(own, Ordering::Relaxed);
                PARENT.store(parent, Ordering::Relaxed);
            }
            _ => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        hear_of_parent();
        // It may have gone before this process was to hear of it.
        end_if_orphaned();
        Ok(Tied { _own: self, _group: again })
    }

    /// Another opening of the same pipe: what is asked of one is not asked of the other.
    fn open_again(&self) -> io::Result<Guarded> {
        let path = format!("/proc/self/fd/{}", self.0.as_fd().as_raw_fd());
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        Guarded::new(open(&*path, flags, Mode::empty())?)
    }

    /// The way where the kernel sends no such signal, or a sandbox denies it: a thread that waits for the end of the
    /// pipe.
    fn watch(&self) -> io::Result<()> {
        let tie = self.0.as_fd().try_clone_to_owned().map_err(named("a copy of the lifeline"))?;
        thread::Builder::new().name("pool lifeline".into()).stack_size(64 << 10).spawn(move || {
            let _ = retry(|| read(&tie, &mut [0]));
            super::process::kill_own_group();
        })?;
        Ok(())
    }
}

/// Has the kernel send SIGKILL to this process or, where the number is negative, group, when the pipe hangs up.
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
