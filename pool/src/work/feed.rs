//! How the items of a call come to whoever carries it out: encoded, straight to where they go.

use std::io::{self, Write};

use crate::codec::ItemWriter;
use crate::wire::{ChunkHead, ITEM_HEAD, Packing};

/// The caller's side of feeding a job.
pub(crate) trait Feed {
    /// How many items are in hand.
    fn buffered(&self) -> u64;
    /// Whether no item will come after those in hand.
    fn is_last(&self) -> bool;
    /// Writes items in hand, and drops them: until so many are written, one does not fit, or one fails. Says how many are
    /// written, and why it ended before.
    fn write(&mut self, most: u64, out: &mut ChunkWriter<'_>) -> (u32, Option<Halt>);
}

/// Why a chunk ends with an item that is not in it.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The item did not fit: the writer has it whole.
    Large,
    /// It could not be encoded.
    Failed(String),
}

/// Writes a chunk straight into the lane, item by item. An item that does not fit goes to `overflow` whole, and the
/// chunk ends before it.
pub(crate) struct ChunkWriter<'r> {
    /// Once it is full, it ends with what is written by then.
    area: &'r mut [u8],
    len: usize,
    packing: Packing,
    /// Where the item that is being written begins, behind its length.
    item: usize,
    full: bool,
    overflow: Vec<u8>,
}

impl<'r> ChunkWriter<'r> {
    pub(crate) fn new(area: &'r mut [u8]) -> Self {
        Self {
            area,
            len: ChunkHead::BYTES,
            packing: Packing::Prefixed,
            item: 0,
            full: false,
            overflow: Vec::new(),
        }
    }

    /// Writes one item. `Ok(false)`: it did not fit, and the chunk is over.
    #[inline]
    pub(crate) fn item(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<bool, String> {
        let start = self.len;
        self.item = start + ITEM_HEAD;
        if self.item <= self.area.len() {
            self.len = self.item;
        } else {
            self.item = start;
            self.fill_up();
        }
        let written = write(self);
        if self.full || written.is_err() {
            self.len = start;
            return written.map(|()| false);
        }
        let len = (self.len - self.item) as u32;
        self.area[start..self.item].copy_from_slice(&len.to_le_bytes());
        Ok(true)
    }

    /// Writes numbers that lie one behind the other, each of so many bytes, as many as fit; says how many that are. The
    /// chunk has nothing else in it.
    pub(crate) fn numbers(&mut self, len: u8, numbers: &[u8]) -> usize {
        self.packing = Packing::Uniform(len);
        let len = usize::from(len);
        let room = &mut self.area[self.len..];
        let fits = room.len().min(numbers.len()) / len;
        room[..fits * len].copy_from_slice(&numbers[..fits * len]);
        self.len += fits * len;
        fits
    }

    /// The item does not fit: from here on it goes to the overflow, with what is written of it.
    #[cold]
    fn fill_up(&mut self) {
        self.full = true;
        self.overflow.extend_from_slice(&self.area[self.item..self.len]);
        self.area = &mut std::mem::take(&mut self.area)[..self.len];
    }

    #[cold]
    fn overflow(&mut self, bytes: &[u8]) {
        if !self.full {
            self.fill_up();
        }
        self.overflow.extend_from_slice(bytes);
    }

    /// Puts the head before the items; says how long the chunk is, and what did not fit.
    pub(crate) fn finish(self, head: ChunkHead) -> (usize, Vec<u8>) {
        let head = ChunkHead { packing: self.packing, ..head };
        self.area[..ChunkHead::BYTES].copy_from_slice(&head.to_bytes());
        (self.len, self.overflow)
    }
}

impl ItemWriter for ChunkWriter<'_> {
    fn address_of_next(&self, len: usize) -> usize {
        if !self.full && len <= self.area.len() - self.len {
            return self.area.as_ptr() as usize + self.len;
        }
        // It will lie in a vector of its own.
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
        let rest = self.area.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len()));
        if let Some(place) = rest {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        } else {
            self.overflow(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
