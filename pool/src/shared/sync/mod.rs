//! What processes wait for each other with.

pub(in crate::shared) mod barrier;
pub(in crate::shared) mod lock;
pub(in crate::shared) mod mutex;
pub(in crate::shared) mod semaphore;
pub(in crate::shared) mod slots;
