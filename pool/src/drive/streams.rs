//! The open streams. A task that polls a stream drives the pool in that poll, like any caller. Between polls, a note
//! here says what it awaits, and the background driver wakes it for that.

#![cfg_attr(not(feature = "stream"), allow(dead_code, reason = "nobody opens one"))]

use std::collections::BTreeMap;
use std::task::Waker;

use super::sleepers::Awaits;
use crate::ids::JobId;

/// The open streams by their calls, with a note for each that is pending.
///
/// Wakers run the executor's code, and the state is locked here. So none is cloned, woken or dropped here.
#[derive(Default)]
pub(super) struct Streams(BTreeMap<JobId, Option<Pending>>);

struct Pending {
    awaits: Awaits,
    waker: Waker,
}

impl Streams {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What pending streams await.
    pub(super) fn awaited(&self) -> impl Iterator<Item = Awaits> {
        self.0.values().flatten().map(|pending| pending.awaits)
    }

    pub(super) fn open(&mut self, job: JobId) {
        self.0.insert(job, None);
    }

    /// Closes a stream, and returns its waker for the caller to drop.
    pub(super) fn close(&mut self, job: JobId) -> Option<Waker> {
        Some(self.0.remove(&job).flatten()?.waker)
    }

    /// Registers a waker, and returns the one registered before.
    pub(super) fn register_waker(&mut self, job: JobId, awaits: Awaits, waker: Waker) -> Option<Waker> {
        Some(self.0.insert(job, Some(Pending { awaits, waker })).flatten()?.waker)
    }

    /// Removes and returns the wakers of the streams for which `is_due` holds.
    pub(super) fn take_wakers(&mut self, is_due: impl Fn(JobId, Awaits) -> bool) -> Vec<Waker> {
        let is_due = |(job, pending): &(&JobId, &mut Option<Pending>)| {
            pending.as_ref().is_some_and(|pending| is_due(**job, pending.awaits))
        };
        let due = self.0.iter_mut().filter(is_due).filter_map(|(_, pending)| pending.take());
        due.map(|pending| pending.waker).collect()
    }
}
