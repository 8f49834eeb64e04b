//! Temporary files without a name: no other user can open them, and the system frees them with their descriptor.

use std::env;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::libc;
use nix::sys::uio::{pread, pwrite};

use super::fd::Fd;
use super::memfile::check_len;
use super::retry;

/// A file in the directory for temporary files.
#[derive(Debug)]
pub(crate) struct TempFile(Fd);

impl TempFile {
    pub(crate) fn create() -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE | libc::O_EXCL);
        Fd::new(File::into(options.open(env::temp_dir())?)).map(Self)
    }

    /// Whether the program has left it open.
    pub(crate) fn is_intact(&self) -> bool {
        self.0.is_intact()
    }

    pub(crate) fn write_at(&self, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
        check_len(at + bytes.len() as u64)?;
        while !bytes.is_empty() {
            match retry(|| pwrite(self.0.as_fd(), bytes, at as libc::off_t))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => (bytes, at) = (&bytes[written..], at + written as u64),
            }
        }
        Ok(())
    }

    pub(crate) fn read_at(&self, mut at: u64, len: usize) -> io::Result<Vec<u8>> {
        if !self.0.is_intact() {
            return Err(io::Error::other("this program has closed the file that held the result"));
        }
        let mut bytes = vec![0; len];
        let mut rest = &mut bytes[..];
        while !rest.is_empty() {
            match retry(|| pread(self.0.as_fd(), rest, at as libc::off_t))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => (rest, at) = (&mut rest[read..], at + read as u64),
            }
        }
        Ok(bytes)
    }
}
