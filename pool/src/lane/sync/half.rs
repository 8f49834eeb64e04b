//! One direction's memory as one process sees it: a page of words, then the ring.
#![allow(unsafe_code, reason = "hands out memory that two processes share")]

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use crate::lane::memory::{Access, Mapping, populate};
use crate::lane::{BACKED_BYTES, CONTROL_BYTES, FILE_BYTES, RING_BYTES, ring};

/// One direction's file, mapped.
#[derive(Debug)]
pub(in crate::lane) struct Half {
    mapping: Mapping,
}

impl Half {
    pub(in crate::lane) fn map(file: impl AsFd, access: Access) -> io::Result<Self> {
        Ok(Self { mapping: Mapping::new(file, FILE_BYTES, access)? })
    }

    /// # Safety
    /// `Block` must be the struct of atomics that this half begins with.
    pub(in crate::lane) unsafe fn control_block<Block>(&self) -> &Block {
        // SAFETY: the mapping is page-aligned, longer than the words, zeroed at first, and lives as long as `self`;
        // the caller names the right struct, all of whose fields are atomics or padding.
        unsafe { self.mapping.base().cast::<Block>().as_ref() }
    }

    /// # Safety
    /// The span must not be used after the half is dropped.
    pub(in crate::lane) unsafe fn ring(&self) -> Span {
        // SAFETY: behind the page of words there are so many bytes, zeroed at first; the caller keeps them mapped; both
        // ends reach them by spans only.
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

/// What a span's memory is made of.
#[derive(Debug)]
enum Backing {
    /// It is all there.
    Whole,
    /// Pages that are made when they are touched first, but for those at the begin.
    Pages,
    /// The same, and there are no more than this.
    #[cfg(test)]
    UpTo(u32),
}

// SAFETY: the span is memory of the process, valid wherever its owner goes.
unsafe impl Send for Span {}

impl Span {
    /// # Safety
    /// `base` must be 8-aligned and point to `len` bytes, zeroed at first, that stay mapped while the span is used, and
    /// whoever else has them mapped must touch header words only as atomics.
    pub(in crate::lane) unsafe fn new(base: NonNull<u8>, len: u32) -> Self {
        Self { base, len, backing: Backing::Whole }
    }

    /// A span that has its first bytes, and can be given so many.
    #[cfg(test)]
    pub(in crate::lane) fn given_up_to(mut self, most: u32) -> Self {
        self.backing = Backing::UpTo(most);
        self
    }

    /// How many bytes have memory from the start.
    pub(in crate::lane) fn backed(&self) -> u32 {
        match self.backing {
            Backing::Whole => self.len,
            _ => BACKED_BYTES.min(self.len),
        }
    }

    /// Gives these bytes memory; false when there is none. To touch them without that may end the process.
    pub(in crate::lane) fn back(&self, from: u32, to: u32) -> bool {
        debug_assert!(from <= to && to <= self.len);
        match self.backing {
            Backing::Whole => true,
            // SAFETY: the range lies within the span, whose half is mapped for writing: who reads only is told by its
            // peer of nothing that has no memory, and does not come here.
            Backing::Pages => unsafe { populate(self.base.add(from as usize), (to - from) as usize) },
            #[cfg(test)]
            Backing::UpTo(most) => to <= most,
        }
    }

    pub(in crate::lane) fn header(&self, offset: u32) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(ring::WORD) && offset + ring::WORD <= self.len);
        // SAFETY: the offset is a multiple of 8 within the span, which is 8-aligned and mapped, and both sides touch
        // header words only as atomics.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset as usize).cast()) }
    }

    pub(in crate::lane) fn at(&self, offset: u32) -> *mut u8 {
        debug_assert!(offset <= self.len);
        // SAFETY: the offset lies within the span.
        unsafe { self.base.as_ptr().add(offset as usize) }
    }

    /// Tells a model checker, when there is one, that these bytes are about to be read.
    #[inline(always)]
    pub(in crate::lane) fn note_read(&self, _offset: u32, _len: u32) {}

    /// Tells a model checker, when there is one, that these bytes are about to be written.
    #[inline(always)]
    pub(in crate::lane) fn note_write(&self, _offset: u32, _len: u32) {}
}
