//! The memory of a lane: an anonymous file, sealed against resizing, and its mapping in one process.
#![allow(unsafe_code, reason = "maps memory that two processes share")]

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::unistd::ftruncate;

use crate::sys::memfile;

/// Makes an anonymous file of this size that nobody can shrink or grow.
pub(super) fn create(name: &str, len: usize) -> io::Result<OwnedFd> {
    let file = memfile::create(name)?;
    let size = i64::try_from(len).map_err(io::Error::other)?;
    memfile::check_len(len as u64)?;
    ftruncate(&file, size)?;
    seal(&file, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)?;
    Ok(file)
}

/// From here on the file can be mapped for reading only; mappings that exist keep their rights.
pub(super) fn seal_future_writes(file: &OwnedFd) -> io::Result<()> {
    seal(file, SealFlag::F_SEAL_FUTURE_WRITE)
}

fn seal(file: &OwnedFd, seals: SealFlag) -> io::Result<()> {
    fcntl(file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// What a process may do with its mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadWrite,
    ReadOnly,
}

/// A mapping; unmapped when dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: a mapping is an address range of the process; no thread owns it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of the file. A child made by fork does not inherit the mapping: a worker
    /// reaches its own lane only.
    pub(super) fn new(file: impl AsFd, len: usize, access: Access) -> io::Result<Self> {
        let length = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = match access {
            Access::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            Access::ReadOnly => ProtFlags::PROT_READ,
        };
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, 0)? };
        let mapping = Self { base, len };
        // SAFETY: the range is the mapping that was just made, and the advice changes what fork copies only.
        unsafe { madvise(base, len, MmapAdvise::MADV_DONTFORK)? };
        Ok(mapping)
    }

    /// The first byte; the mapping is aligned to a page.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly the mapping that `new` made, and nothing that borrows from it is left.
        let unmapped = unsafe { munmap(self.base, self.len) };
        debug_assert!(unmapped.is_ok());
    }
}
