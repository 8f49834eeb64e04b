//! Faults of worker processes.

/// Does nothing: std's handlers stay as they are.
pub(crate) fn note_std_handlers() {}
