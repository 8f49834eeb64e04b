//! Writes to the standard streams. std has no way to write without waiting.

use std::io::Write;
#[cfg(feature = "progress")]
use std::time::Duration;

/// Writes all, and returns the number of bytes. Bytes that can't be written count as written.
pub(crate) fn write_now(mut to: impl Write, bytes: &[u8]) -> usize {
    let _ = to.write_all(bytes).and_then(|()| to.flush());
    bytes.len()
}

/// Like [`write_now`], however long it takes.
#[cfg(feature = "progress")]
pub(crate) fn write_within(_limit: Duration, to: impl Write, bytes: &[u8]) -> usize {
    write_now(to, bytes)
}
