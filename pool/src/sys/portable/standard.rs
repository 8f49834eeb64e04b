//! The standard streams.

use std::io::{self, Write};

/// Flushes the output that this process still buffers.
pub(crate) fn flush() {
    let _ = io::stdout().flush();
}
