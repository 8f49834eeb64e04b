//! Pipes that a worker writes to and its parent reads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::read;

use super::fd::{Fd, above_standard};
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
        if !self.0.is_intact() {
            return;
        }
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
