//! The control blocks of a lane, as the worker sees them, and its sleep on them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::lane::sync::{Half, futex};
use crate::lane::{ParentControlBlock, WorkerControlBlock, asleep, full_fence};
use crate::sys::lifeline;

/// Both halves, for their control blocks.
#[derive(Debug)]
pub(super) struct ControlBlocks {
    down: Half,
    up: Half,
}

impl ControlBlocks {
    pub(super) fn new(down: Half, up: Half) -> Self {
        Self { down, up }
    }

    pub(super) fn parent(&self) -> &ParentControlBlock {
        // SAFETY: `down` is the half of orders, which begins with the parent's control block: see the layout in
        // `lane/mod.rs`.
        unsafe { self.down.control_block() }
    }

    pub(super) fn own(&self) -> &WorkerControlBlock {
        // SAFETY: `up` is the half of replies, which begins with the worker's control block: see the layout in
        // `lane/mod.rs`.
        unsafe { self.up.control_block() }
    }

    /// Announces a sleep, and sleeps until the next wake-up, or for this time, unless `ready` holds.
    pub(super) fn sleep(&self, what_for: u32, limit: Option<Duration>, ready: impl Fn() -> bool) {
        // SYNC: wake-up counted (acquire). Read before the announcement, so that it does not include the wake-up for
        // this sleep.
        let seen = self.parent().wakeups.load(Ordering::Acquire);
        self.own().asleep.store(what_for, Ordering::Relaxed);
        full_fence();
        if !ready() {
            futex::wait(&self.parent().wakeups, seen, limit);
            lifeline::end_if_orphaned();
        }
        self.own().asleep.store(asleep::NOT, Ordering::Relaxed);
    }
}
