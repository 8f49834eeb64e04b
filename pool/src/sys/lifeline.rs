//! The lifeline: how a process ends with the one that started it, however that one ends.
//!
//! A pipe that carries a single byte. The parent holds the only write end, and the child asks the kernel to send
//! SIGKILL to its whole process group when the pipe hangs up. So a worker that is busy in a loop dies as fast as one
//! that is idle, no thread watches, and nothing polls. The signal that `PR_SET_PDEATHSIG` gives would come when the
//! *thread* ends that made the child.
//!
//! 1. The child is born. It waits for the byte, and does nothing before.
//! 2. The parent notes the child, makes it the leader of its own group, pins it, and writes the byte.
//! 3. The child reads the byte and arms the signal. If it reads the end of the pipe, the parent is gone: it exits.
//! 4. The child looks at the pipe once more: a parent that went between 3 and the arming sent no signal.
#![allow(unsafe_code, reason = "asks for a signal by fcntl, which nix does not wrap")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpid, pipe2, read, write};

use super::{fd::Fd, named, retry};

/// The parent's end. Dropping it kills the child's process group.
#[derive(Debug)]
pub(crate) struct Lifeline(Fd);

/// The child's end.
#[derive(Debug)]
pub(crate) struct Tie(Fd);

/// Makes a lifeline.
pub(crate) fn lifeline() -> io::Result<(Lifeline, Tie)> {
    let (tie, lifeline) = pipe2(OFlag::O_CLOEXEC).map_err(named("pipe"))?;
    Ok((Lifeline(Fd::new(lifeline)?), Tie(Fd::new(tie)?)))
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
    pub(crate) fn new(fd: Fd) -> Self {
        Self(fd)
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.0
    }

    /// Waits until the parent lets this process go on, and ties its life to the parent's from then on, for as long
    /// as the tie is held. An error: the parent is gone.
    pub(crate) fn hold(&self) -> io::Result<()> {
        self.hold_or(|| self.watch())
    }

    /// The same for a server, which must have no second thread: where the kernel sends no signal, it ends when it sees
    /// that its parent's end of the control socket is closed.
    pub(crate) fn hold_as_server(&self) -> io::Result<()> {
        self.hold_or(|| Ok(()))
    }

    /// `otherwise`: what is to be done where the kernel sends no signal.
    fn hold_or(&self, otherwise: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if retry(|| read(&self.0, &mut [0]))? == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.arm().is_err() {
            otherwise()?;
        }
        let mut pipe = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        match retry(|| poll(&mut pipe, PollTimeout::ZERO))? {
            0 => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn arm(&self) -> io::Result<()> {
        let fd = self.0.as_fd();
        let ask = |command, value: libc::c_int| {
            // SAFETY: both commands take an integer and touch no memory of this process.
            match unsafe { libc::fcntl(fd.as_raw_fd(), command, value) } {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            }
        };
        ask(libc::F_SETOWN, -getpid().as_raw())?;
        ask(F_SETSIG, libc::SIGKILL)?;
        let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
        fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_ASYNC))?;
        Ok(())
    }

    /// The way where the kernel sends no such signal, or a sandbox denies it: a thread that waits for the end of the pipe.
    fn watch(&self) -> io::Result<()> {
        let tie = self.0.as_fd().try_clone_to_owned()?;
        thread::Builder::new().name("pool lifeline".into()).stack_size(64 << 10).spawn(move || {
            let _ = retry(|| read(&tie, &mut [0]));
            super::process::kill_own_group();
        })?;
        Ok(())
    }
}

/// fcntl(2); the same number on all architectures that the crate runs on, and not in the libc crate.
const F_SETSIG: libc::c_int = 10;
