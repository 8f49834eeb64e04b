//! The memory of shared objects: how to make, find and map it, and which processes use it.
//!
//! [`system`] makes and opens an object's memory, and says what other processes do with it. [`region`] has the registry
//! of the objects that this process has mapped, and the handles by which others find them. [`available`] refuses sizes
//! for which the machine plainly lacks the memory.

pub(crate) mod available;
pub(in crate::shared) mod region;
#[cfg_attr(portable, path = "system/portable.rs")]
pub(in crate::shared) mod system;

pub(in crate::shared) use region::{Excluded, Handle, Holder, Id, Kind, Region, refuse_fork};
pub(crate) use region::{Retained, leave_lent, retain_handles};
pub(crate) use system::with_granted;
pub(in crate::shared) use system::{Memory, NUMBER_MASK, is_present};
