//! Pipes that a worker writes to and its parent reads.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
#[cfg(feature = "progress")]
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{read, write};

use super::fd::{Fd, above_standard};
#[cfg(feature = "progress")]
use super::process::poll_until;
use super::{named, retry};

/// What a pipe takes at once, whole or not at all, and what there is room for when one is said to be ready: POSIX's
/// `PIPE_BUF`.
pub(crate) const AT_ONCE: usize = 4096;

/// The end that is read, without ever waiting.
#[derive(Debug)]
pub(crate) struct Reader(Fd);

/// A pipe.
pub(crate) fn pipe() -> io::Result<(Reader, OwnedFd)> {
    let (reader, writer) = io::pipe().map_err(named("pipe"))?;
    let reader = Fd::new(reader.into())?;
    never_wait(&reader)?;
    Ok((Reader(reader), above_standard(writer.into())?))
}

/// Who uses this descriptor from here on is told to try again where it would wait.
pub(crate) fn never_wait(fd: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

impl Reader {
    /// Appends what there is, up to about so many bytes.
    pub(crate) fn read_into(&self, out: &mut Vec<u8>, at_most: usize) {
        let mut bytes = [0; 16 << 10];
        let start = out.len();
        while out.len() - start < at_most {
            match retry(|| read(&self.0, &mut bytes)) {
                Ok(0) | Err(_) => return,
                Ok(len) => out.extend_from_slice(&bytes[..len]),
            }
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Writes as much as can be written without waiting: says how much that was. What can't be written at all counts as
/// written.
pub(crate) fn write_now(to: impl AsFd, bytes: &[u8]) -> usize {
    let anew = terminal_anew(&to);
    let to = anew.as_ref().map_or(to.as_fd(), AsFd::as_fd);
    let mut written = 0;
    while written < bytes.len() {
        let mut ready = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
        if !matches!(retry(|| poll(&mut ready, PollTimeout::ZERO)), Ok(1..)) {
            return written;
        }
        let piece = &bytes[written..bytes.len().min(written + AT_ONCE)];
        match write(to, piece) {
            Ok(len) => written += len,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return written,
            Err(_) => return bytes.len(),
        }
    }
    written
}

/// A terminal, opened once more: it says that it is ready when it has little room. If it is none, or may not be opened, none.
fn terminal_anew(fd: impl AsFd) -> Option<Fd> {
    let fd = fd.as_fd();
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    fd.is_terminal()
        .then(|| open(&*path, flags, Mode::empty()).ok())
        .flatten()
        .and_then(|fd| Fd::new(fd).ok())
}

/// The same for as long as it takes, at most this long.
#[cfg(feature = "progress")]
pub(crate) fn write_within(limit: Duration, to: impl AsFd, bytes: &[u8]) -> usize {
    let deadline = Instant::now() + limit;
    let mut written = 0;
    loop {
        written += write_now(&to, &bytes[written..]);
        if written == bytes.len() || Instant::now() >= deadline {
            return written;
        }
        let _ = poll_until(&mut [PollFd::new(to.as_fd(), PollFlags::POLLOUT)], deadline);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits() {
        let (reader, writer) = pipe().unwrap();
        let mut read = Vec::new();
        reader.read_into(&mut read, 10);
        assert!(read.is_empty());
        let sent = vec![7; 1 << 20];
        let written = write_now(&writer, &sent);
        assert!((AT_ONCE..sent.len()).contains(&written), "{written}");
        reader.read_into(&mut read, sent.len());
        assert_eq!(read, sent[..written]);
        drop(reader);
        assert_eq!(write_now(&writer, &sent), sent.len(), "nobody will ever read it");
    }
}
