//! Files, and bytes for other processes.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::fd::OwnedFd;

/// No error: a file of any length can be tried.
pub(crate) fn check_len(_len: u64) -> io::Result<()> {
    Ok(())
}

/// A file that is written from its beginning.
#[derive(Debug)]
pub(crate) struct Limited(File);

impl Limited {
    /// An empty file.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        Ok(Self(file))
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An error: there are no other processes.
pub(crate) fn sealed<E: From<io::Error>>(
    _name: &str,
    _write: impl FnOnce(&mut BufWriter<Limited>) -> Result<(), E>,
) -> Result<(OwnedFd, usize), E> {
    Ok(super::unsupported()?)
}
