//! Which process this is: its ID tells. Where a program can fork at all, it is to fork no process that uses pools.

/// This process's ID.
pub(crate) fn identity() -> u64 {
    std::process::id().into()
}
