//! Pipes from a worker to its parent.

use std::io;
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{read, write};

use super::fd::{Fd, Guarded};
use super::passed::Passed;
use super::poll::Source;
use super::{named, retry};

/// POSIX's `PIPE_BUF`: a pipe accepts this many bytes at once, or none, and has at least this much space when it is
/// ready.
pub(crate) const PIPE_BUF: usize = 4096;

/// The reading end, which never blocks.
#[derive(Debug)]
pub(crate) struct Reader(Fd);

/// The writing end, on its way to a new worker.
pub(crate) type Writer = Passed;

/// A pipe.
pub(crate) fn pipe() -> io::Result<(Reader, Writer)> {
    let (reader, writer) = io::pipe().map_err(named("pipe"))?;
    let reader = Fd::new(reader.into())?;
    set_nonblocking(&reader)?;
    Ok((Reader(reader), Passed::new(writer.into())?))
}

/// Makes this descriptor return an error instead of blocking.
fn set_nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

impl Reader {
    /// Appends the bytes that are available, roughly `at_most` at most.
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

    /// Reports when there is something to read.
    pub(crate) fn source(&self) -> Source<'_> {
        self.0.as_fd()
    }
}

/// The writing end in a worker. It never blocks, and user code may have closed it.
#[derive(Debug)]
#[cfg_attr(not(feature = "logs"), allow(dead_code, reason = "only log records are written this way"))]
pub(crate) struct Outlet(Guarded);

#[cfg_attr(not(feature = "logs"), allow(dead_code, reason = "only log records are written this way"))]
impl Outlet {
    pub(crate) fn open(writer: Writer) -> io::Result<Self> {
        set_nonblocking(&writer)?;
        Ok(Self(Guarded::new(writer.into_owned())?))
    }

    /// Writes at most [`PIPE_BUF`] bytes: all of them, or none. False for none.
    #[must_use]
    pub(crate) fn write(&self, bytes: &[u8]) -> bool {
        debug_assert!(bytes.len() <= PIPE_BUF);
        self.0.is_intact() && write(&self.0, bytes).is_ok()
    }
}
