//! What the driver keeps of a job.

use std::collections::HashMap;

use crate::error::TaskErrorKind;
use crate::wire::{ChunkHead, ExecFlags, Packing};
use crate::work::Inbox;

/// A job's place in the driver.
pub(crate) struct JobSlot {
    pub(crate) task_name: &'static str,
    pub(crate) task: u32,
    pub(crate) profile: u32,
    pub(crate) flags: ExecFlags,
    /// How many bytes an item has had lately.
    pub(crate) item_bytes: usize,
    pub(crate) inbox: Inbox,
    /// The bytes of items that came back, or were encoded before the job began.
    pub(crate) kept: HashMap<u64, Vec<u8>>,
    /// What ended earlier attempts at tasks that were tried again.
    pub(crate) earlier: HashMap<u64, Vec<TaskErrorKind>>,
    /// The caller was told to stop.
    pub(crate) cancelled: bool,
    /// Its caller has items in hand that no worker takes now.
    pub(crate) hungry: bool,
    /// Somebody is shown how far it is.
    pub(crate) shown: bool,
    /// The courier takes what comes for it.
    pub(crate) is_background: bool,
}

impl JobSlot {
    /// The head of a chunk of so many tasks from this one on.
    pub(super) fn head(&self, first: u64, count: u32) -> ChunkHead {
        let Self { task, profile, flags, .. } = *self;
        ChunkHead { task, profile, first, count, flags, packing: Packing::Prefixed }
    }
}
