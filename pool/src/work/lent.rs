//! An item that stays with its caller until it is written into a lane.

use std::io::{self, Write};
use std::ops::RangeInclusive;

use crate::codec::{ItemWriter, try_grow};
use crate::wire::{ChunkHead, ITEM_HEAD};

use super::items::LARGE_ITEM;

/// A large item that its caller lends for one turn. No code of the user's runs to encode it, so that can be done under
/// the lock, and straight into a lane.
pub(crate) struct LentItem<'a> {
    most: usize,
    encode: &'a dyn Fn(&mut dyn ItemWriter) -> Result<(), String>,
}

impl<'a> LentItem<'a> {
    /// The lengths of items that are worth to be lent, and can be sent in one piece.
    pub(crate) const LENGTHS: RangeInclusive<usize> = LARGE_ITEM..=(1 << 20) + (2 << 10);

    /// `most` is how many bytes `encode` writes at most.
    pub(crate) fn new(most: usize, encode: &'a dyn Fn(&mut dyn ItemWriter) -> Result<(), String>) -> Self {
        Self { most, encode }
    }

    /// How many bytes it has at most.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Encodes it into the front of these bytes of a chunk, in which it is the only item. Returns its length.
    pub(crate) fn encode_into(&self, bytes: &mut [u8]) -> Result<usize, String> {
        let mut out = Place { bytes, at: 0 };
        (self.encode)(&mut out)?;
        Ok(out.at)
    }

    /// Encodes it into a vector of its own, if there is memory for that.
    pub(crate) fn encode_apart(&self) -> Result<Vec<u8>, String> {
        let mut item = Vec::new();
        try_grow(&mut item, self.most)?;
        (self.encode)(&mut item)?;
        Ok(item)
    }
}

/// The place of the only item in a chunk.
struct Place<'b> {
    bytes: &'b mut [u8],
    at: usize,
}

impl Write for Place<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.at + bytes.len();
        let place = self.bytes.get_mut(self.at..end).ok_or(io::ErrorKind::WriteZero)?;
        place.copy_from_slice(bytes);
        self.at = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ItemWriter for Place<'_> {
    fn address_of_next(&self, _: usize) -> usize {
        ChunkHead::BYTES + ITEM_HEAD + self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_the_same_in_both_places() {
        let encode = |out: &mut dyn ItemWriter| out.write_all(b"abc").map_err(|error| error.to_string());
        let mut bytes = [0; 5];
        assert_eq!(LentItem::new(4, &encode).encode_into(&mut bytes), Ok(3));
        assert_eq!(&bytes, b"abc\0\0");
        assert_eq!(LentItem::new(4, &encode).encode_apart().as_deref(), Ok(&b"abc"[..]));
        assert!(LentItem::new(4, &encode).encode_into(&mut bytes[..2]).is_err());
        assert!(LentItem::new(usize::MAX, &encode).encode_apart().unwrap_err().contains("no memory"));
    }
}
