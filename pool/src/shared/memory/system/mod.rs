//! The memory of objects, as processes share it.
//!
//! [`file`](mod@file) makes and opens an object's memory file; [`granted`] has the files that some processes get from
//! their parent. Two facts about other processes come only from the kernel, through locks on the memory file that a
//! mapping carries ([`filelock`]): whether another process has an array mapped ([`lease`]), so that `&mut [T]` goes
//! only to the sole user; and whether the process that a lock word names is still there ([`presence`]).

mod file;
mod filelock;
mod granted;
mod lease;
mod presence;

pub(in crate::shared) use file::{Memory, Unopened};
pub(crate) use granted::with_granted;
pub(in crate::shared) use lease::{Exclusive, Lease};
pub(in crate::shared) use presence::{NUMBER_MASK, Presence, is_present};

/// What tells the processes that have an object mapped.
pub(in crate::shared) type File = crate::sys::fd::Guarded;
