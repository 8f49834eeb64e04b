//! The allocator of the process.

/// Does nothing: std has no way to return freed memory to the system.
pub(crate) fn give_back() {}
