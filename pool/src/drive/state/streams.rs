//! Streams that are open. Who polls one drives, as any caller does; what it awaits between polls stands here, and the
//! courier, who drives as long as there are any, wakes it for that.

use std::collections::BTreeMap;
use std::task::Waker;

use super::{Awaits, State};
use crate::error::Error;
use crate::ids::JobId;

/// The open streams, by their jobs; a pending one with what it awaits.
#[derive(Default)]
pub(crate) struct Streams(BTreeMap<JobId, Option<Pending>>);

pub(crate) struct Pending {
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
}

// Wakers are the executor's code: none is cloned, called or dropped here, where the state is locked.
impl State {
    pub(crate) fn open_stream(&mut self, job: JobId) {
        self.streams.0.insert(job, None);
    }

    pub(crate) fn close_stream(&mut self, job: JobId) -> Option<Pending> {
        self.streams.0.remove(&job).flatten()
    }

    /// Leaves the waker, and gives back the one before; not if what is awaited may be there. Says whether it is left.
    pub(crate) fn leave_waker(&mut self, job: JobId, awaits: Awaits, waker: &mut Option<Waker>) -> bool {
        let may_sleep = !self.is_news_for(awaits);
        if may_sleep && let Some(waker_now) = waker.take() {
            let before = self.streams.0.insert(job, Some(Pending { awaits, waker: waker_now }));
            *waker = before.flatten().map(|pending| pending.waker);
        }
        may_sleep
    }

    /// The wakers of those streams for which there is news; where progress is shown, that time has passed is news.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        let is_shown = |job: &JobId| self.jobs.get(job).is_some_and(|slot| slot.shown);
        let is_due = |(job, pending): &(&JobId, &Option<Pending>)| {
            pending.as_ref().is_some_and(|pending| self.is_news_for(pending.awaits) || is_shown(job))
        };
        let due: Vec<JobId> = self.streams.0.iter().filter(is_due).map(|(job, _)| *job).collect();
        let pending = due.iter().filter_map(|job| self.streams.0.get_mut(job)?.take());
        pending.map(|pending| pending.waker).collect()
    }

    /// What became of the workers that a closed job has sent off, once that is known.
    pub(crate) fn rested(&mut self) -> Option<Result<(), Error>> {
        if self.upkeep.keep_alive {
            return Some(Ok(()));
        }
        let rested = self.is_at_rest() || !self.is_ending();
        rested.then(|| self.exit_error.take().map_or(Ok(()), |error| Err(error.into())))
    }
}
