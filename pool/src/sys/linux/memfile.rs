//! Bytes for other processes, in an anonymous memory file that nothing can change any more.
#![allow(unsafe_code, reason = "maps a file that cannot change")]

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;

use super::fd::above_standard;
use super::named;

/// An error if files may not be this long. Without this check the kernel would send SIGXFSZ, which ends the program
/// without a message.
pub(crate) fn check_len(len: u64) -> io::Result<()> {
    match getrlimit(Resource::RLIMIT_FSIZE) {
        Ok((most, _)) if len > most => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!(
                "{len} bytes are more than a file may have, and memory that processes share is one: RLIMIT_FSIZE is \
                 {most} bytes; raise it (`ulimit -f`, systemd's `LimitFSIZE=`)"
            ),
        )),
        _ => Ok(()),
    }
}

/// A file that is written from its beginning, up to the limit on file sizes.
#[derive(Debug)]
pub(crate) struct Limited {
    file: File,
    len: u64,
    /// Whether the limit applies: not to terminals and pipes.
    is_regular: bool,
    /// The length that the limit refused.
    refused: Option<u64>,
}

impl Limited {
    /// An empty file.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let is_regular = file.metadata()?.is_file();
        Ok(Self { file, len: 0, is_regular, refused: None })
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.len + bytes.len() as u64;
        if self.is_regular {
            check_len(len).inspect_err(|_| self.refused = Some(len))?;
        }
        let written = self.file.write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A sealed memory file with the bytes that `write` writes, and its length.
pub(crate) fn sealed<E: From<io::Error>>(
    name: &str,
    write: impl FnOnce(&mut BufWriter<Limited>) -> Result<(), E>,
) -> Result<(OwnedFd, usize), E> {
    let mut out = BufWriter::new(Limited::new(File::from(create(name)?))?);
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    // Reported here because the codec would report it less clearly.
    let (Limited { file, refused, .. }, _) = out.into_parts();
    if let Some(len) = refused {
        check_len(len)?;
    }
    written?;
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all())).map_err(io::Error::from)?;
    Ok((file.into(), len))
}

/// An empty memory file that can be sealed.
pub(crate) fn create(name: &str) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    above_standard(memfd_create(name, flags).map_err(named("memfd_create"))?)
}

/// The bytes of a sealed memory file, mapped.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// None if there are no bytes.
    mapping: Option<(NonNull<c_void>, NonZeroUsize)>,
}

impl Sealed {
    /// Maps the whole file; an error if it could still change.
    pub(crate) fn open(file: &impl AsFd) -> io::Result<Self> {
        let fixed = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        let seals = fcntl(file, FcntlArg::F_GET_SEALS)?;
        if !SealFlag::from_bits_retain(seals).contains(fixed) {
            return Err(io::Error::other("the file is not sealed"));
        }
        let len = usize::try_from(fstat(file)?.st_size).map_err(io::Error::other)?;
        let Some(len) = NonZeroUsize::new(len) else { return Ok(Self { mapping: None }) };
        // SAFETY: a new mapping at an address that the kernel chooses replaces no other memory.
        let base = unsafe { mmap(None, len, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, file, 0)? };
        Ok(Self { mapping: Some((base, len)) })
    }
}

impl Deref for Sealed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some((base, len)) = self.mapping else { return &[] };
        // SAFETY: `open` mapped this many bytes, and only `drop` unmaps them. It checked the file's seals, so nothing
        // can write to the file or shorten it while the slice is borrowed.
        unsafe { std::slice::from_raw_parts(base.cast().as_ptr(), len.get()) }
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        let Some((base, len)) = self.mapping else { return };
        // SAFETY: the range is exactly the mapping that `open` made, and slices of it borrow from `self`.
        let unmapped = unsafe { munmap(base, len.get()) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_read_in_place() {
        for bytes in [&b"bytes"[..], b""] {
            let (file, len) = sealed::<io::Error>("pool test", |out| out.write_all(bytes)).unwrap();
            assert_eq!((&*Sealed::open(&file).unwrap(), len), (bytes, bytes.len()));
            assert!(File::from(file).set_len(9).is_err());
        }
        assert!(Sealed::open(&create("pool test").unwrap()).is_err());
    }
}
