//! Numbers that name things.

/// The number of a job in its pool.
pub(crate) type JobId = u32;
