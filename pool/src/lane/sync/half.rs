//! The memory of one direction, as one process sees it: the page of the control block, then the ring.
#![allow(unsafe_code, reason = "hands out memory that two processes share")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lane::{BACKED_BYTES, CONTROL_BYTES, HALF_BYTES, RING_BYTES, ring};
use crate::sys::mapping::{Mapping, populate, release};

/// The memory of one direction, mapped.
#[derive(Debug)]
pub(in crate::lane) struct Half {
    mapping: Mapping,
}

impl Half {
    /// Takes over a mapping of [`HALF_BYTES`].
    pub(in crate::lane) fn over(mapping: Mapping) -> Self {
        assert_eq!(mapping.len(), HALF_BYTES, "no half has another length");
        Self { mapping }
    }

    /// # Safety
    /// `Block` must be the struct of atomics that this half begins with.
    pub(in crate::lane) unsafe fn control_block<Block>(&self) -> &Block {
        // SAFETY: the mapping is page-aligned, at least a page long (an assertion in `mod.rs` shows that to be enough),
        // zeroed at first, and lives as long as `self`. The caller names the struct that is there. Its fields are
        // atomics and unused padding, so whatever the other process stores is a valid value and no data race.
        unsafe { self.mapping.base().cast::<Block>().as_ref() }
    }

    /// # Safety
    /// The span must not be used after the half is dropped.
    pub(in crate::lane) unsafe fn ring(&self) -> Span {
        // SAFETY: the mapping is `HALF_BYTES` long, as `over` asserts, so `RING_BYTES` follow the page
        // of the control block. They are zeroed at first and page-aligned, the caller keeps them mapped, and both ends
        // access them only through spans.
        let mut span = unsafe { Span::new(self.mapping.base().add(CONTROL_BYTES), RING_BYTES) };
        span.backing = Backing::Pages;
        span
    }
}

/// The memory of a ring.
#[derive(Debug)]
pub(in crate::lane) struct Span {
    base: NonNull<u8>,
    pub(in crate::lane) len: u32,
    backing: Backing,
}

/// How a span's memory is allocated.
#[derive(Debug)]
enum Backing {
    /// All of it from the start.
    Whole,
    /// Page by page, as each is first touched. The first [`BACKED_BYTES`] are allocated already.
    Pages,
    /// The same, but the system has no more than this.
    #[cfg(test)]
    UpTo(u32),
}

// SAFETY: the span is an address range of the process, which is valid on every thread.
unsafe impl Send for Span {}

impl Span {
    /// # Safety
    /// `base` must be 8-aligned and point to `len` bytes, zeroed at first, that stay mapped while the span is used. All
    /// access to header words, in every process that maps them, must be atomic.
    pub(in crate::lane) unsafe fn new(base: NonNull<u8>, len: u32) -> Self {
        Self { base, len, backing: Backing::Whole }
    }

    /// A span for which the system has `most` bytes.
    #[cfg(test)]
    pub(in crate::lane) fn given_up_to(mut self, most: u32) -> Self {
        self.backing = Backing::UpTo(most);
        self
    }

    /// The number of bytes that have memory from the start.
    pub(in crate::lane) fn backed(&self) -> u32 {
        match self.backing {
            Backing::Whole => self.len,
            _ => BACKED_BYTES.min(self.len),
        }
    }

    /// Allocates these bytes. False if there is no memory: then touching them may end the process.
    pub(in crate::lane) fn back(&self, from: u32, to: u32) -> bool {
        debug_assert!(from <= to && to <= self.len);
        match self.backing {
            Backing::Whole => true,
            // SAFETY: the range is within the span: the ring clamps it to `len`, as debug builds assert above. And the
            // half is mapped for writing: only the worker's half of orders is not, and its consumer trusts the parent
            // and never calls this.
            Backing::Pages => unsafe { populate(self.base.add(from as usize), (to - from) as usize) },
            #[cfg(test)]
            Backing::UpTo(most) => to <= most,
        }
    }

    /// Gives the memory of these bytes back, as far as they fill whole pages. Their contents are lost.
    pub(in crate::lane) fn give_back(&self, from: u32, to: u32) {
        if from >= to {
            return;
        }
        debug_assert!(to <= self.len);
        match self.backing {
            Backing::Whole => {}
            // SAFETY: the range is within the span, as debug builds assert: the ring keeps its offsets within it. The
            // half is mapped for writing: a producer alone calls this. It holds the only access to these bytes, as it
            // knows them to be free.
            Backing::Pages => unsafe { release(self.base.add(from as usize), (to - from) as usize) },
            // SAFETY: as above; tests use both ends in one thread.
            #[cfg(test)]
            Backing::UpTo(_) => unsafe { self.base.add(from as usize).write_bytes(0, (to - from) as usize) },
        }
    }

    #[inline]
    pub(in crate::lane) fn header(&self, offset: u32) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(ring::WORD) && offset + ring::WORD <= self.len);
        // SAFETY: the ring keeps its offsets to multiples of 8, a whole word or more before the end of the span, which
        // is 8-aligned and mapped. All access to header words is atomic, as `new` demands.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset as usize).cast()) }
    }

    /// Stores a word of a payload, which nothing else uses meanwhile.
    #[inline]
    pub(in crate::lane) fn put_word(&self, offset: u32, word: u64) {
        self.header(offset).store(word.to_le(), Ordering::Relaxed);
    }

    #[inline]
    pub(in crate::lane) fn at(&self, offset: u32) -> *mut u8 {
        debug_assert!(offset <= self.len);
        // SAFETY: the ring keeps its offsets within the span, and `len` itself gives a pointer one past the end, which
        // is allowed.
        unsafe { self.base.as_ptr().add(offset as usize) }
    }

    /// Tells a model checker, when there is one, that these bytes are about to be read.
    #[inline(always)]
    pub(in crate::lane) fn note_read(&self, _offset: u32, _len: u32) {}

    /// Tells a model checker, when there is one, that these bytes are about to be written.
    #[inline(always)]
    pub(in crate::lane) fn note_write(&self, _offset: u32, _len: u32) {}
}
