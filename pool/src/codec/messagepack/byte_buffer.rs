//! Memory for values that wait until their number is known.

use std::io::{self, Write};

use crate::codec::grow::{no_memory, try_grow};

/// A vector for encoded bytes whose growth can fail: without memory for more of them a write is an error, where that
/// of a vector would abort the program.
#[derive(Debug, Default)]
pub(super) struct ByteBuffer {
    bytes: Vec<u8>,
    /// The length for which there was no memory, if any.
    refused: Option<usize>,
}

impl ByteBuffer {
    /// Appends these bytes. Without memory for them, frees all others: they are of no use without the rest.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.bytes.capacity() - self.bytes.len() {
            self.grow(bytes.len())?;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    #[cold]
    fn grow(&mut self, by: usize) -> io::Result<()> {
        if try_grow(&mut self.bytes, by).is_err() {
            self.refused = Some(self.bytes.len().saturating_add(by));
            self.bytes = Vec::new();
        }
        self.refusal().map_err(|why| io::Error::new(io::ErrorKind::OutOfMemory, why))
    }

    /// An error if there was no memory for all that was written. A `Serialize` impl, or a codec, may have replaced the
    /// error of the write.
    pub(super) fn refusal(&self) -> Result<(), String> {
        self.refused.map_or(Ok(()), |len| Err(no_memory(len)))
    }

    /// The bytes, unless there was no memory for some of them.
    pub(super) fn finish(self) -> Result<Vec<u8>, String> {
        self.refusal().map(|()| self.bytes)
    }
}

impl Write for ByteBuffer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_without_memory_are_an_error() {
        let mut buffer = ByteBuffer::default();
        buffer.write_all(&[1, 2, 3]).unwrap();
        assert_eq!(buffer.grow(usize::MAX).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(buffer.bytes.len(), 0);
        // It stays an error, even for a `Serialize` impl that goes on.
        let _ = buffer.write_all(&[4]);
        let why = buffer.finish().unwrap_err();
        assert!(why.contains("no memory to encode it"), "{why}");
    }
}
