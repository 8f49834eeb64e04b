//! The memory of one object: an anonymous file, allocated up front and sealed against resizing, and its mapping in this
//! process.
//!
//! A process with a handle opens the file as `/proc/PROCESS/fd/DESCRIPTOR`, where PROCESS has it open. It trusts only
//! what the kernel says about the file that it finds there: the name, which contains a random number and is fixed when
//! the file is made; the size; and the seals.
#![allow(unsafe_code, reason = "maps memory that processes share")]

use std::ffi::c_void;
use std::fs::{self, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;

use super::granted;
use crate::sys::fd::{Guarded, above_standard};
use crate::sys::named;

const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// An object's memory in this process. Dropping it unmaps the memory and closes the descriptor. A forked child keeps
/// both, so that its copies of shared objects go on working: the crate does not close this descriptor in children.
#[derive(Debug)]
pub(in crate::shared) struct Memory {
    file: Guarded,
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: a mapping is an address range of the whole process, and a descriptor a number; neither belongs to a thread.
unsafe impl Send for Memory {}
// SAFETY: `&Memory` only gives out the address and the descriptor, and changes neither.
unsafe impl Sync for Memory {}

/// Why another process's memory could not be opened.
#[derive(Debug)]
pub(in crate::shared) enum Unopened {
    /// There is no such memory at that place, or not any more.
    Gone,
    /// The system does not let this process open files of that one.
    Hidden(io::Error),
    /// The system refuses.
    Refused(io::Error),
}

impl Memory {
    /// Makes new memory, filled with zeroes.
    pub(in crate::shared) fn create(name: &str, len: usize) -> io::Result<Self> {
        let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING);
        let file = file.map_err(named("memfd_create"))?;
        let file = above_standard(file)?;
        let size = i64::try_from(len).map_err(io::Error::other)?;
        // Allocates all pages now. Otherwise a lack of memory would raise SIGBUS when a page is first touched.
        while let Err(error) = fallocate(&file, FallocateFlags::empty(), 0, size) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
        Self::map(file, len)
    }

    /// Maps the memory with this name and size that `process` has open as `descriptor`.
    pub(in crate::shared) fn open(
        process: u32,
        descriptor: i32,
        name: &str,
        len: usize,
    ) -> Result<Self, Unopened> {
        let shown = PathBuf::from(format!("/memfd:{name} (deleted)"));
        if let Some(file) = granted::reopen(&shown) {
            return Self::check_and_map(file, len);
        }
        let there = PathBuf::from(format!("/proc/{process}/fd/{descriptor}"));
        // At first only as a path (O_PATH): opening some other file, say a device, may have side effects.
        let place = open(&there, libc::O_PATH).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => Unopened::Gone,
            Some(libc::EACCES | libc::EPERM) => Unopened::Hidden(error),
            _ => Unopened::Refused(error),
        })?;
        if fs::read_link(path_of(&place)).map_err(Unopened::Refused)? != shown {
            return Err(Unopened::Gone);
        }
        Self::check_and_map(reopen(&place).map_err(Unopened::Refused)?, len)
    }

    /// Maps a file of this name, if it has this size and can't change it.
    fn check_and_map(file: OwnedFd, len: usize) -> Result<Self, Unopened> {
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap_or(0);
        let size = fstat(&file).map_err(|error| Unopened::Refused(error.into()))?.st_size;
        if i64::try_from(len) != Ok(size) || !SealFlag::from_bits_retain(seals).contains(SEALS) {
            return Err(Unopened::Gone);
        }
        Self::map(file, len).map_err(Unopened::Refused)
    }

    fn map(file: OwnedFd, len: usize) -> io::Result<Self> {
        let file = Guarded::new(file)?;
        let length = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses replaces no other memory.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &file, 0)? };
        Ok(Self { file, base, len })
    }

    /// Gives the memory back to the system: every mapping reads zeroes from now on. If the system can't do that, the
    /// memory is freed with the last mapping.
    pub(in crate::shared) fn free(&self) {
        let whole = i64::try_from(self.len).unwrap_or(i64::MAX);
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        if self.file.is_intact() {
            let _ = fallocate(&self.file, flags, 0, whole);
        }
    }

    pub(in crate::shared) fn file(&self) -> &Guarded {
        &self.file
    }

    /// By which other processes find it.
    pub(in crate::shared) fn descriptor(&self) -> i32 {
        self.file.as_fd().as_raw_fd()
    }

    /// The address of the first byte, which is aligned to a page.
    pub(in crate::shared) fn base(&self) -> NonNull<u8> {
        self.base.cast()
    }

    /// Its length in bytes, which can't change.
    pub(in crate::shared) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the range is exactly the mapping that `map` made. Only objects that own this `Memory` through an
        // `Arc` use its address, and none of them is left.
        let unmapped = unsafe { munmap(self.base, self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Opens the same file again, for locks of its own.
pub(super) fn reopen(file: &impl AsFd) -> io::Result<OwnedFd> {
    open(&path_of(file), 0)
}

pub(super) fn path_of(file: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}

fn open(path: &Path, flags: libc::c_int) -> io::Result<OwnedFd> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    above_standard(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_own(memory: &Memory, name: &str, len: usize) -> Result<Memory, Unopened> {
        Memory::open(std::process::id(), memory.file.as_fd().as_raw_fd(), name, len)
    }

    #[test]
    fn memory_is_found_by_its_name_and_size() {
        let memory = Memory::create("pool test found", 100).unwrap();
        let again = open_own(&memory, "pool test found", 100).unwrap();
        // SAFETY: both are mapped, and nothing else uses them.
        unsafe {
            memory.base().write(7);
            assert_eq!(again.base().read(), 7);
        }
        assert!(matches!(open_own(&memory, "pool test other", 100), Err(Unopened::Gone)));
        assert!(matches!(open_own(&memory, "pool test found", 99), Err(Unopened::Gone)));
    }

    #[test]
    fn only_the_named_memory_is_opened() {
        let memory = Memory::create("pool test gone", 1).unwrap();
        let number = memory.file.as_fd().as_raw_fd();
        drop(memory);
        let gone = |process, descriptor| {
            matches!(Memory::open(process, descriptor, "pool test gone", 1), Err(Unopened::Gone))
        };
        assert!(gone(std::process::id(), number) && gone(u32::MAX, 3) && gone(std::process::id(), -1));
        let (pipe, _other) = io::pipe().unwrap();
        assert!(gone(std::process::id(), pipe.as_raw_fd()));
    }

    #[test]
    fn it_is_allocated_up_front() {
        let memory = Memory::create("pool test space", 1 << 20).unwrap();
        assert!(fstat(memory.file()).unwrap().st_blocks * 512 >= 1 << 20);
    }

    #[test]
    fn nobody_seals_it_further() {
        let memory = Memory::create("pool test sealed", 1).unwrap();
        // That seal would keep other processes from mapping it.
        let future_write = SealFlag::from_bits_retain(libc::F_SEAL_FUTURE_WRITE);
        assert_eq!(fcntl(memory.file(), FcntlArg::F_ADD_SEALS(future_write)), Err(Errno::EPERM));
    }

    #[test]
    fn nobody_resizes_it() {
        let memory = Memory::create("pool test sealed", 5000).unwrap();
        let file = fs::File::from(reopen(memory.file()).unwrap());
        assert!(file.set_len(1).is_err() && file.set_len(10_000).is_err());
    }
}
