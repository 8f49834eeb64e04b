//! Non-blocking writes to files that may accept nothing for a while: a stopped terminal, or a pipe that is not read.

use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd};
#[cfg(feature = "progress")]
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::write;

use super::fd::Fd;
use super::pipe::PIPE_BUF;
#[cfg(feature = "progress")]
use super::process::poll_until;
use super::retry;

/// Writes as much as can be written without waiting, and returns the number of bytes. Bytes that can never be written
/// count as written.
pub(crate) fn write_now(to: impl AsFd, bytes: &[u8]) -> usize {
    let anew = reopen_terminal(&to);
    let to = anew.as_ref().map_or(to.as_fd(), AsFd::as_fd);
    let mut written = 0;
    while written < bytes.len() {
        let mut ready = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
        if !matches!(retry(|| poll(&mut ready, PollTimeout::ZERO)), Ok(1..)) {
            return written;
        }
        let piece = &bytes[written..bytes.len().min(written + PIPE_BUF)];
        match write(to, piece) {
            Ok(len) => written += len,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return written,
            Err(_) => return bytes.len(),
        }
    }
    written
}

/// Opens a terminal again in non-blocking mode, because a terminal reports itself ready even when it has little space.
/// None if it is no terminal or can't be opened.
fn reopen_terminal(fd: impl AsFd) -> Option<Fd> {
    let fd = fd.as_fd();
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    fd.is_terminal()
        .then(|| open(&*path, flags, Mode::empty()).ok())
        .flatten()
        .and_then(|fd| Fd::new(fd).ok())
}

/// Writes as much as it can within this time.
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
    use crate::sys::pipe::pipe;

    #[test]
    fn nobody_waits() {
        let (reader, writer) = pipe().unwrap();
        let mut read = Vec::new();
        reader.read_into(&mut read, 10);
        assert!(read.is_empty());
        let sent = vec![7; 1 << 20];
        let written = write_now(&writer, &sent);
        assert!((PIPE_BUF..sent.len()).contains(&written), "{written}");
        reader.read_into(&mut read, sent.len());
        assert_eq!(read, sent[..written]);
        drop(reader);
        assert_eq!(write_now(&writer, &sent), sent.len(), "nobody will ever read it");
    }
}
