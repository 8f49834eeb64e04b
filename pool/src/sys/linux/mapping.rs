//! Memory that two processes share: an anonymous file, sealed against resizing, and its mapping in one of them.
#![allow(unsafe_code, reason = "maps memory that two processes share")]

use std::ffi::c_void;
use std::io::{self, IoSliceMut};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, SysconfVar, ftruncate, sysconf};

use serde::{Deserialize, Serialize};

use super::memfile;
use super::passed::Passed;

/// Memory of a fixed size, zeroed.
#[derive(Debug)]
pub(crate) struct Memory(OwnedFd);

impl Memory {
    /// Makes an anonymous file whose size can't change.
    pub(crate) fn create(name: &str, len: usize) -> io::Result<Self> {
        let file = memfile::create(name)?;
        let size = i64::try_from(len).map_err(io::Error::other)?;
        memfile::check_len(len as u64)?;
        ftruncate(&file, size)?;
        seal(&file, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)?;
        Ok(Self(file))
    }

    /// Allocates the first `len` bytes now. A page that is allocated only when it is touched ends the process with
    /// SIGBUS if no memory is left by then.
    pub(crate) fn allocate(&self, len: usize) -> io::Result<()> {
        allocate(&self.0, len)
    }

    /// Maps the first `len` bytes.
    pub(crate) fn map(&self, len: usize, access: Access) -> io::Result<Mapping> {
        Mapping::new(&self.0, len, access)
    }

    /// From now on the memory can only be mapped read-only. Existing mappings keep their access.
    pub(crate) fn seal_future_writes(&self) -> io::Result<()> {
        seal(&self.0, SealFlag::F_SEAL_FUTURE_WRITE)
    }

    /// The memory on its way to another process.
    pub(crate) fn send(self) -> io::Result<SentMemory> {
        Ok(SentMemory(Passed::new(self.0)?))
    }
}

/// Memory on its way to a new worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SentMemory(Passed);

impl SentMemory {
    /// Maps the first `len` bytes. The file is closed when this returns; the mapping stays.
    pub(crate) fn map(self, len: usize, access: Access) -> io::Result<Mapping> {
        Mapping::new(self.0, len, access)
    }

    /// Puts these bytes at its beginning.
    #[cfg(fuzzing)]
    pub(crate) fn fill(self, bytes: &[u8]) {
        use std::os::unix::fs::FileExt;

        std::fs::File::from(self.0.into_owned()).write_all_at(bytes, 0).expect("the file is that long");
    }
}

fn allocate(file: &OwnedFd, len: usize) -> io::Result<()> {
    let len = i64::try_from(len).map_err(io::Error::other)?;
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            // A sandbox, or an emulated kernel. Touching the pages later may or may not fail.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::EOPNOTSUPP) => return Ok(()),
            // Memory files report a lack of memory in this way.
            Err(Errno::ENOSPC) => return Err(Errno::ENOMEM.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Allocates the pages of these bytes now. False if there is no memory for them.
///
/// # Safety
/// The bytes must be within one mapping, which must be writable.
pub(crate) unsafe fn populate(start: NonNull<u8>, len: usize) -> bool {
    let page = 4096;
    let skip = start.as_ptr().addr() % page;
    // SAFETY: a mapping begins at a page boundary, so the beginning of the first page is within it too. The advice
    // changes no byte.
    let result = unsafe {
        let begin = start.as_ptr().sub(skip);
        nix::libc::madvise(begin.cast(), len + skip, nix::libc::MADV_POPULATE_WRITE)
    };
    match Errno::result(result) {
        Ok(_) | Err(Errno::EINTR | Errno::EAGAIN | Errno::ENOSYS | Errno::EPERM) => true,
        // Before Linux 5.14.
        Err(Errno::EINVAL) => probe(start.as_ptr().addr() - skip, len + skip, page),
        Err(_) => false,
    }
}

/// Gives the whole pages among these bytes back to the system: they take no memory until they are touched again, and
/// then hold zeros. Does nothing where the system can't, or forbids it because the file is sealed against writing.
///
/// # Safety
/// The bytes must be within one mapping, and nothing else may use them meanwhile.
pub(crate) unsafe fn release(start: NonNull<u8>, len: usize) {
    let Ok(Some(page)) = sysconf(SysconfVar::PAGE_SIZE) else { return };
    let page = page as usize;
    let skip = start.as_ptr().addr().wrapping_neg() % page;
    let Some(len) = len.checked_sub(skip).map(|len| len - len % page).filter(|len| *len > 0) else { return };
    // SAFETY: `skip` and the new length stay within the caller's range, whose bytes nothing else uses.
    let result = unsafe { nix::libc::madvise(start.as_ptr().add(skip).cast(), len, nix::libc::MADV_REMOVE) };
    // Without it the pages stay as they are, which costs only their memory.
    let _ = Errno::result(result);
}

/// Has the kernel read a byte of each page, which also allocates the page, and turns a fault into an error.
fn probe(begin: usize, len: usize, page: usize) -> bool {
    (begin..begin + len).step_by(page).all(|base| {
        let (mut byte, from) = ([0], [RemoteIoVec { base, len: 1 }]);
        let read = process_vm_readv(Pid::this(), &mut [IoSliceMut::new(&mut byte)], &from);
        !matches!(read, Ok(0) | Err(Errno::EFAULT | Errno::ENOMEM))
    })
}

fn seal(file: &OwnedFd, seals: SealFlag) -> io::Result<()> {
    fcntl(file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// How memory is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
}

/// A mapping; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: a mapping is an address range of the whole process, which any thread may use and unmap.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of the file. A forked child does not inherit the mapping, so a worker can reach only
    /// memory that was sent to it.
    fn new(file: impl AsFd, len: usize, access: Access) -> io::Result<Self> {
        let length = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = match access {
            Access::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            Access::ReadOnly => ProtFlags::PROT_READ,
        };
        // SAFETY: a new mapping at an address that the kernel chooses replaces no other memory.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, 0)? };
        let mapping = Self { base, len };
        // SAFETY: the range is the mapping that was just made, and the advice only keeps forks from inheriting it.
        unsafe { madvise(base, len, MmapAdvise::MADV_DONTFORK)? };
        Ok(mapping)
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first byte; the mapping is aligned to a page.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly the mapping that `new` made. Whoever has pointers into it from
        // `base` keeps it for as long as it uses them.
        let unmapped = unsafe { munmap(self.base, self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::sys::stat::fstat;

    use super::*;

    const LEN: usize = 2 << 20;

    fn taken(file: &OwnedFd) -> i64 {
        fstat(file).unwrap().st_blocks * 512
    }

    #[test]
    fn space_is_allocated_before_it_is_touched() {
        let Memory(file) = Memory::create("pool test space", LEN).unwrap();
        assert_eq!(taken(&file), 0);
        allocate(&file, 10_000).unwrap();
        assert!((10_000..100_000).contains(&taken(&file)));
        let mapping = Mapping::new(&file, LEN, Access::ReadWrite).unwrap();
        // SAFETY: the range lies in the mapping, which can be written to.
        assert!(unsafe { populate(mapping.base().add(100_000), 500_000) });
        assert!((500_000..600_000).contains(&taken(&file)));
        assert!(probe(mapping.base().as_ptr().addr(), LEN, 4096));
        assert_eq!(taken(&file), LEN as i64);
    }

    #[test]
    fn only_whole_pages_are_given_back() {
        let Memory(file) = Memory::create("pool test space", LEN).unwrap();
        let mapping = Mapping::new(&file, LEN, Access::ReadWrite).unwrap();
        // SAFETY: the range is the whole mapping, which can be written to.
        assert!(unsafe { populate(mapping.base(), LEN) });
        let bytes = mapping.base().as_ptr();
        // SAFETY: the mapping is that long, and nothing else uses it.
        unsafe { std::ptr::write_bytes(bytes, 7, LEN) };
        // SAFETY: as above; no reference to these bytes exists.
        unsafe { release(mapping.base().add(100_001), 1_000_000) };
        // SAFETY: as above, and all bytes were written.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, LEN) };
        assert!(bytes[..=100_000].iter().chain(&bytes[1_100_001..]).all(|byte| *byte == 7));
        assert!(bytes[200_000..1_000_000].iter().all(|byte| *byte == 0), "reading them takes memory again");
        // SAFETY: as above.
        unsafe { release(mapping.base(), LEN) };
        assert_eq!(taken(&file), 0);
        // SAFETY: as above; too few bytes for a page.
        unsafe { release(mapping.base().add(1), 4096) };
        seal(&file, SealFlag::F_SEAL_FUTURE_WRITE).unwrap();
        // SAFETY: as above.
        assert!(unsafe { populate(mapping.base(), 8192) });
        // SAFETY: as above.
        unsafe { release(mapping.base(), LEN) };
        assert_eq!(taken(&file), 8192, "the system forbids it, and nothing else happens");
    }

    /// There is no memory for this page, so touching it would end the process.
    #[test]
    fn no_space_is_no_fault() {
        let huge = memfd_create("pool test huge", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_HUGETLB);
        let Ok(file) = huge else { return println!("nothing is checked: no huge pages here") };
        let pages = std::fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap();
        if pages.trim() != "0" || ftruncate(&file, LEN as i64).is_err() {
            return println!("nothing is checked: there are huge pages");
        }
        let (len, flags) = (NonZeroUsize::new(LEN).unwrap(), MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses replaces no other memory.
        let mapped = unsafe { mmap(None, len, protection, flags, &file, 0) };
        let Ok(base) = mapped else { return println!("nothing is checked: huge pages are reserved at once") };
        let mapping = Mapping { base, len: LEN };
        // SAFETY: the range lies in the mapping, which can be written to.
        assert!(!unsafe { populate(mapping.base(), 4096) });
        assert!(!probe(mapping.base().as_ptr().addr(), LEN, 4096));
    }
}
