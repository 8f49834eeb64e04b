//! How callers sleep: who leads, who follows, and who takes the lead when its holder goes away. See the docs of
//! [`drive`](super).

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::LocalEngine;
use super::clock::Gap;
use super::sleepers::Awaits;
use super::state::State;
use crate::sys::clock::now_ns;
use crate::sys::threads;

impl LocalEngine {
    /// Sleeps until anything awaited may be there, or the limit passes; see "Falling asleep" above. May return early.
    /// Returns when the workers were last watched.
    pub(crate) fn wait(&self, awaits: Awaits, limit: Option<Duration>) -> u64 {
        let mut state = self.lock();
        state.note_caller();
        if state.is_news(awaits) {
            return state.watched_until();
        }
        if state.sleepers().has_leader() {
            self.follow(state, awaits, limit)
        } else {
            self.lead(state, awaits, limit)
        }
    }

    /// The background thread's sleep: leads if callers are away, and otherwise looks again soon whether they are.
    pub(crate) fn stand_by(&self) {
        let mut state = self.lock();
        if state.is_news(Awaits::Background) {
            return;
        }
        match state.time_to_look() {
            Some(limit) => {
                state.sleepers().take_successor().into_iter().for_each(|bell| bell.notify_one());
                self.follow(state, Awaits::Background, Some(limit))
            }
            None => self.lead(state, Awaits::Background, None),
        };
    }

    fn follow(&self, mut state: MutexGuard<'_, State>, awaits: Awaits, limit: Option<Duration>) -> u64 {
        let is_caller = usize::from(awaits != Awaits::Background);
        self.followers.fetch_add(is_caller, Ordering::Relaxed);
        let bell = state.sleepers().follow(awaits);
        let mut state = threads::rest(|| match limit {
            None => bell.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => bell.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
        });
        state.sleepers().stop_following(awaits, &bell);
        self.followers.fetch_sub(is_caller, Ordering::Relaxed);
        state.watched_until()
    }

    fn lead(&self, mut state: MutexGuard<'_, State>, awaits: Awaits, limit: Option<Duration>) -> u64 {
        let from = state.watched_until();
        let Some(sleep) = state.lead(awaits) else { return state.watched_until() };
        drop(state);
        let sleep = sleep.within(limit);
        let news = self.poller.sleep(sleep);
        let now = now_ns();
        let gap = sleep.limit.map(|limit| Gap { from, limit, until: now });
        let mut state = self.lock_at(now);
        state.stop_leading(news);
        state.exclude_suspension(gap);
        state.watched_until()
    }

    /// Lets a follower take the lead, because this caller goes away for as long as it likes.
    pub(crate) fn leave(&self) {
        if self.followers.load(Ordering::Relaxed) > 0 {
            self.hand_over();
        }
    }

    #[cold]
    fn hand_over(&self) {
        let successor = self.lock().sleepers().take_successor();
        successor.into_iter().for_each(|bell| bell.notify_one());
    }
}
