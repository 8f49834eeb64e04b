//! The primitives of both ends of a lane: atomics, memory, and the two things to sleep on. In tests under `cfg(loom)`,
//! those of a model checker take their place, so that the lane's `models` check the very code that runs.

#[cfg(all(loom, test))]
mod checked;
#[cfg(not(all(loom, test)))]
mod half;

#[cfg(not(all(loom, test)))]
pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

#[cfg(all(loom, test))]
pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};

#[cfg(not(all(loom, test)))]
pub(super) use crate::sys::{futex, waker::ParentWaker};

#[cfg(not(all(loom, test)))]
pub(super) use self::half::{Half, Span};

#[cfg(all(loom, test))]
pub(super) use self::checked::{Half, Life, ParentWaker, Span, futex};
