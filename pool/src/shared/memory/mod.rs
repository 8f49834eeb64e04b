//! The memory of shared objects: how it is made, found and mapped, and which processes use it.
//!
//! [`file`](mod@file) makes and opens an object's memory file. [`region`] has the registry of the objects that this
//! process has mapped, and the handles by which others find them. [`available`] refuses sizes that the machine plainly
//! does not have.
//!
//! Two facts about other processes come from the kernel and from nowhere else, as locks on the memory file that a
//! mapping carries ([`filelock`]): whether anyone else has an array mapped ([`lease`]), so that `&mut [T]` is lent to
//! the only user; and whether the process that a lock word names is still there ([`presence`]).

pub(crate) mod available;
pub(in crate::shared) mod file;
pub(in crate::shared) mod filelock;
pub(in crate::shared) mod lease;
pub(in crate::shared) mod presence;
pub(in crate::shared) mod region;

pub(in crate::shared) use file::Memory;
pub(in crate::shared) use region::{Excluded, Handle, Holder, Id, Kind, Region, refuse_fork};
pub(crate) use region::{Retained, leave_lent, retain_handles};
