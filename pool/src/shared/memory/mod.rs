//! The memory of shared objects: how to make, find and map it, and which processes use it.
//!
//! [`file`](mod@file) makes and opens an object's memory file. [`region`] has the registry of the objects that this
//! process has mapped, and the handles by which others find them; [`granted`] has the files that some get from their
//! parent. [`available`] refuses sizes for which the machine plainly lacks the memory.
//!
//! Two facts about other processes come only from the kernel, through locks on the memory file that a mapping carries
//! ([`filelock`]): whether another process has an array mapped ([`lease`]), so that `&mut [T]` goes only to the sole
//! user; and whether the process that a lock word names is still there ([`presence`]).

pub(crate) mod available;
pub(in crate::shared) mod file;
pub(in crate::shared) mod filelock;
mod granted;
pub(in crate::shared) mod lease;
pub(in crate::shared) mod presence;
pub(in crate::shared) mod region;

pub(in crate::shared) use file::Memory;
pub(crate) use granted::with_granted;
pub(in crate::shared) use region::{Excluded, Handle, Holder, Id, Kind, Region, refuse_fork};
pub(crate) use region::{Retained, leave_lent, retain_handles};
