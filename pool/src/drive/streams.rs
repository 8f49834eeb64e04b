//! Streams that are open. Who polls one drives, as any caller does; what it awaits between polls stands here, and the
//! background driver, which runs as long as there are any, wakes it for that.

#![cfg_attr(not(feature = "stream"), allow(dead_code, reason = "nobody opens one"))]

use std::collections::BTreeMap;
use std::task::Waker;

use super::sleepers::Awaits;
use crate::ids::JobId;

/// The open streams, by their calls; a pending one with what it awaits.
///
/// Wakers are the executor's code: none is cloned, called or dropped here, where the state is locked.
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

    /// Closes one; gives its waker back.
    pub(super) fn close(&mut self, job: JobId) -> Option<Waker> {
        Some(self.0.remove(&job).flatten()?.waker)
    }

    /// Leaves a waker, and gives back the one before.
    pub(super) fn leave_waker(&mut self, job: JobId, awaits: Awaits, waker: Waker) -> Option<Waker> {
        Some(self.0.insert(job, Some(Pending { awaits, waker })).flatten()?.waker)
    }

    /// The wakers of those of which this holds.
    pub(super) fn take_wakers(&mut self, is_due: impl Fn(JobId, Awaits) -> bool) -> Vec<Waker> {
        let is_due = |(job, pending): &(&JobId, &mut Option<Pending>)| {
            pending.as_ref().is_some_and(|pending| is_due(**job, pending.awaits))
        };
        let due = self.0.iter_mut().filter(is_due).filter_map(|(_, pending)| pending.take());
        due.map(|pending| pending.waker).collect()
    }
}
