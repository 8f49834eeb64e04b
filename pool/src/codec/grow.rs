//! Memory for encoded bytes that the system may refuse.

/// Makes room for `by` more bytes.
///
/// # Errors
/// Why an encoded value cannot grow so long, if there is no memory for that.
pub(crate) fn try_grow(bytes: &mut Vec<u8>, by: usize) -> Result<(), String> {
    // There may be enough for these bytes, though not for those that a vector allocates ahead.
    let grown = bytes.try_reserve(by).or_else(|_| bytes.try_reserve_exact(by));
    grown.map_err(|_| no_memory(bytes.len().saturating_add(by)))
}

/// Why an encoded value is not this long.
pub(super) fn no_memory(len: usize) -> String {
    format!("there is no memory to encode it: the system refuses {len} bytes")
}
