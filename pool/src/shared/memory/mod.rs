//! Memory, and who has it.

pub(crate) mod available;
pub(in crate::shared) mod file;
pub(in crate::shared) mod filelock;
pub(in crate::shared) mod lease;
pub(in crate::shared) mod presence;
pub(in crate::shared) mod region;
