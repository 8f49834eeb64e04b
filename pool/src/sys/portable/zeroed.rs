//! Zeroed memory of the allocator's.
#![allow(unsafe_code, reason = "allocates memory that is used through its address")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;

/// The alignment of the first byte: a page, for what would otherwise lie in a mapping.
const PAGE: usize = 4096;

/// Memory that is zeroed at first. Freed when it is dropped.
#[derive(Debug)]
pub(crate) struct Zeroed {
    block: NonNull<u8>,
    layout: Layout,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to the whole process, and any thread may use or free it.
unsafe impl Send for Zeroed {}
// SAFETY: `&Zeroed` only gives out the address and the length, and changes neither.
unsafe impl Sync for Zeroed {}

impl Zeroed {
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let out_of_memory = || io::Error::from(io::ErrorKind::OutOfMemory);
        // A page more than is needed, not the alignment of a page: with that, allocators clear the memory themselves,
        // and so touch it all. They get this much from the system, which clears what is touched.
        let layout =
            len.checked_add(PAGE).and_then(|len| Layout::from_size_align(len, align_of::<u64>()).ok());
        let layout = layout.ok_or_else(out_of_memory)?;
        // SAFETY: the layout is at least a page long, so it is not empty.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(out_of_memory)?;
        let skip = block.as_ptr().addr().wrapping_neg() % PAGE;
        // SAFETY: `skip` is less than the page that the block has beyond `len`.
        let base = unsafe { block.add(skip) };
        Ok(Self { block, layout, base, len })
    }

    /// The first byte, which is aligned to a page.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The number of bytes from there on.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        // SAFETY: `new` allocated the block with this layout. Whoever has an address in it keeps this value for as long
        // as the address is used.
        unsafe { dealloc(self.block.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned_and_zeroed() {
        for len in [1, 100, 4096, 3 << 20] {
            let memory = Zeroed::new(len).unwrap();
            assert_eq!((memory.base().as_ptr().addr() % PAGE, memory.len()), (0, len));
            // SAFETY: the memory is this long, initialized by the allocator, and used by nothing else.
            let bytes = unsafe { std::slice::from_raw_parts_mut(memory.base().as_ptr(), len) };
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(7);
        }
        for huge in [usize::MAX, usize::MAX / 2, 1 << 60] {
            assert_eq!(Zeroed::new(huge).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        }
    }
}
