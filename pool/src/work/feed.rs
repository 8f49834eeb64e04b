//! How the engine gets the items of a call: the caller encodes them straight into the worker's lane.

use std::io::{self, Write};

use crate::codec::{ByteBuffer, ItemWriter};
use crate::wire::{ChunkHead, ITEM_HEAD, Packing};

/// The items of a call, as the engine sees them.
pub(crate) trait Feed {
    /// How many items can be written now.
    fn buffered(&self) -> u64;
    /// Whether the buffered items are the last of the input.
    fn is_last(&self) -> bool;
    /// Writes at most `most` buffered items, dropping each once it is written. Returns how many it has written, and the
    /// reason if an item stopped it earlier.
    fn write(&mut self, most: u64, out: &mut ChunkWriter<'_>) -> (u32, Option<Unwritten>);
}

/// Why the item after the last written one was left out of the chunk.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// It did not fit. The writer returns it whole, as its overflow.
    TooLarge,
    /// It could not be encoded, for this reason.
    Failed(String),
}

/// Writes a chunk item by item into a buffer, usually the lane itself. An item that does not fit goes whole into
/// `overflow`, and the chunk ends before it.
pub(crate) struct ChunkWriter<'r> {
    /// Shortened to its written part once an item has not fit, so that nothing more is written to it.
    buffer: &'r mut [u8],
    len: usize,
    packing: Packing,
    /// The start of the current item, after its length prefix.
    item: usize,
    full: bool,
    overflow: ByteBuffer,
}

impl<'r> ChunkWriter<'r> {
    pub(crate) fn new(buffer: &'r mut [u8]) -> Self {
        Self {
            buffer,
            len: ChunkHead::BYTES,
            packing: Packing::Prefixed,
            item: 0,
            full: false,
            overflow: ByteBuffer::default(),
        }
    }

    /// Writes one item. Returns `Ok(false)` if it did not fit, which ends the chunk. An error if it could not be
    /// encoded, or if there is no memory for an item that does not fit.
    #[inline]
    pub(crate) fn item(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<bool, String> {
        let start = self.len;
        self.item = start + ITEM_HEAD;
        if self.item <= self.buffer.len() {
            self.len = self.item;
        } else {
            self.item = start;
            // There is nothing to move yet.
            let _ = self.start_overflow();
        }
        let written = write(self);
        if self.full || written.is_err() {
            self.len = start;
            self.overflow.refusal()?;
            return written.map(|()| false);
        }
        let len = (self.len - self.item) as u32;
        self.buffer[start..self.item].copy_from_slice(&len.to_le_bytes());
        Ok(true)
    }

    /// Writes as many of these contiguous numbers, each `len` bytes long, as fit, and returns how many did. A chunk of
    /// numbers holds no other items.
    pub(crate) fn numbers(&mut self, len: u8, numbers: &[u8]) -> usize {
        self.packing = Packing::Uniform(len);
        let len = usize::from(len);
        let room = &mut self.buffer[self.len..];
        let fits = room.len().min(numbers.len()) / len;
        room[..fits * len].copy_from_slice(&numbers[..fits * len]);
        self.len += fits * len;
        fits
    }

    /// Moves the written part of an item that does not fit to the overflow, where the rest will follow.
    #[cold]
    fn start_overflow(&mut self) -> io::Result<()> {
        self.full = true;
        self.buffer = &mut std::mem::take(&mut self.buffer)[..self.len];
        self.overflow.append(&self.buffer[self.item..])
    }

    #[cold]
    fn overflow(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.full {
            self.start_overflow()?;
        }
        self.overflow.append(bytes)
    }

    /// Writes the head before the items. Returns the length of the chunk, and the item that did not fit, if any.
    pub(crate) fn finish(self, head: ChunkHead) -> (usize, Vec<u8>) {
        let head = ChunkHead { packing: self.packing, ..head };
        self.buffer[..ChunkHead::BYTES].copy_from_slice(&head.to_bytes());
        // An item that was refused memory has ended the chunk as an error, and leaves nothing.
        (self.len, self.overflow.finish().unwrap_or_default())
    }
}

impl ItemWriter for ChunkWriter<'_> {
    fn address_of_next(&self, len: usize) -> usize {
        if !self.full && len <= self.buffer.len() - self.len {
            return self.buffer.as_ptr() as usize + self.len;
        }
        // The item will be the whole of the overflow, a vector of its own.
        if self.full { self.overflow.len() } else { self.len - self.item }
    }
}

impl Write for ChunkWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let rest = self.buffer.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len()));
        if let Some(place) = rest {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
            Ok(())
        } else {
            self.overflow(bytes)
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
