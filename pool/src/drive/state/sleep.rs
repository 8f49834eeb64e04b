//! Who sleeps until when, and who is woken.

use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::drive::checks::{MEMORY_CHECK_NS, SHOW_NS};
use crate::drive::clock::Gap;
use crate::drive::poller::{News, Sleep};
use crate::drive::sleepers::{Awaits, Bell, MAX_SLEEP_NS};
use crate::lane;

/// The limit of a patient sleep, in which results wait for others so that one wake-up serves many: long compared with a
/// wake-up, and too short for a user to notice.
const PATIENCE_NS: u64 = 2_000_000;

impl State {
    /// Whether anything awaited may be there.
    pub(in crate::drive) fn is_news(&self, awaits: Awaits) -> bool {
        match awaits {
            Awaits::Job(id) => self.jobs.get(id).is_none_or(|job| {
                !job.inbox.is_empty() || (!job.has_all_items && self.supervisor.grant(id).is_some())
            }),
            Awaits::Results(id) => self.jobs.get(id).is_none_or(|job| !job.inbox.is_empty()),
            Awaits::Background => {
                (!self.jobs.any_in_background() && !self.needs_background())
                    || self.jobs.has_background_news()
                    || self.is_summoned
                    || self.streams.awaited().any(|awaits| self.is_news(awaits))
            }
            Awaits::Change { since } => self.sleepers.has_changed_since(since),
        }
    }

    pub(in crate::drive) fn sleepers(&mut self) -> &mut Sleepers {
        &mut self.sleepers
    }

    /// Whether to wake the leader, and the followers to wake. The leader is woken once, for what it awaits or if it
    /// would sleep past the next deadline or check.
    pub(in crate::drive) fn sleepers_to_wake(&mut self) -> (bool, Vec<Bell>) {
        let must_wake_leader = self.sleepers.sleeping_leader().is_some_and(|(awaits, until)| {
            let oversleeps = |time| until.is_none_or(|until| time < until);
            // The leader may have fallen asleep before any worker had a task.
            let check = self.check_ns(MAX_SLEEP_NS).map(|limit| self.clock.now() + limit);
            self.is_news(awaits) || self.deadline().into_iter().chain(check).any(oversleeps)
        });
        if must_wake_leader {
            self.sleepers.mark_leader_woken();
        }
        if !self.sleepers.any_follow() {
            self.jobs.clear_news();
            return (must_wake_leader, Vec::new());
        }
        let mut due: Vec<Awaits> =
            self.sleepers.awaited_by_others().filter(|awaits| self.is_news(*awaits)).collect();
        if self.sleepers.any_of_jobs() {
            while let Some(job) = self.jobs.next_news() {
                due.extend(self.sleepers.awaited_of(job).filter(|awaits| self.is_news(*awaits)));
            }
            due.extend(self.sleepers.awaited_with_input().into_iter().filter(|awaits| self.is_news(*awaits)));
        } else {
            self.jobs.clear_news();
        }
        if due.iter().any(|awaits| *awaits != Awaits::Background) {
            self.sleepers.drives(self.clock.now());
        }
        (must_wake_leader, due.into_iter().filter_map(|awaits| self.sleepers.take(awaits)).collect())
    }

    /// How long the background thread waits before it looks again whether callers are away. Nothing if it is to lead,
    /// because they are, or because there are none.
    pub(in crate::drive) fn time_to_look(&mut self) -> Option<Duration> {
        let has_calls = self.has_streams() || self.jobs.any_in_background();
        if !self.sleepers.has_leader() && !self.jobs.any_with_caller() {
            return None;
        }
        if self.workers.await_caller() && self.sleepers.any_of_jobs() {
            // One of those leads, so that it does what this thread may not.
            self.note_caller();
        }
        self.sleepers.time_to_look(self.clock.now(), has_calls).map(Duration::from_nanos)
    }

    /// Makes the caller the leader and returns the sleep to begin. Neither if a reply is there already.
    pub(in crate::drive) fn lead(&mut self, awaits: Awaits) -> Option<Sleep> {
        let Some(sleep) = self.prepare_sleep(awaits) else {
            self.clock.mark_watched();
            self.workers.announce_awake();
            return None;
        };
        let until = sleep.limit.map(|limit| self.clock.now() + limit.as_nanos() as u64);
        self.sleepers.lead(awaits, until);
        Some(sleep)
    }

    /// Ends the sleep of the leader, and records what the poll set has reported.
    pub(in crate::drive) fn stop_leading(&mut self, news: News) {
        self.sleepers.stop_leading();
        self.clock.mark_watched();
        self.record_news(news);
        self.workers.announce_awake();
    }

    /// Lets no time limit count a gap in which the program was suspended, as by Ctrl-Z. It is not known when in the gap
    /// the suspension began, so the whole gap is excluded.
    pub(in crate::drive) fn exclude_suspension(&mut self, gap: Option<Gap>) {
        if let Some(Gap { from, until, .. }) = gap.filter(Gap::was_suspension) {
            self.handle(Event::Suspended { from, until });
        }
    }

    /// Announces the sleep on all lanes, and computes its limit. Returns nothing if a reply is there already.
    fn prepare_sleep(&mut self, awaits: Awaits) -> Option<Sleep> {
        let (busy, active) = (self.supervisor.busy(), self.supervisor.active());
        // A start goes on at once when its process answers. The background thread does not spin, because it would hold
        // the lock that a caller may need.
        let may_spin = awaits != Awaits::Background && self.workers.starts_deadline().is_none();
        if may_spin && self.spin.wait_for_reply(busy, self.jobs.len(), &self.workers, active) {
            return None;
        }
        let patient = self.sleepers.begin_sleep();
        self.workers.announce_sleep(active, patient);
        lane::full_fence();
        if self.workers.has_replies(active) {
            return None;
        }
        // The spin may have taken long.
        self.clock.refresh();
        let now = self.clock.now();
        let until = |deadline: u64| Duration::from_nanos(deadline.saturating_sub(now));
        let limit = self.deadline().map(until);
        let check = self.check_ns(self.sleepers.sleep_ns());
        let nested = busy > 0 && self.workers.are_any_showing_progress(active);
        let show = nested.then_some(SHOW_NS);
        let patience = (patient && busy > 0).then_some(PATIENCE_NS);
        let checks = check.into_iter().chain(show).chain(patience).map(Duration::from_nanos);
        Some(Sleep { limit: limit.into_iter().chain(checks).min() })
    }

    /// How long the parent may sleep before it checks for what no event reports; no limit if there is nothing to check.
    /// This is `waker_ns` where nothing but the loss of a waker can go unreported. That holds for idle workers too, as
    /// they may soon have tasks: only after a long time without events is the next task worth a wake-up of its own.
    fn check_ns(&self, waker_ns: u64) -> Option<u64> {
        let check = match (self.supervisor.busy(), self.workers.policy().memory_limit) {
            (0, _) if waker_ns < MAX_SLEEP_NS => Some(waker_ns),
            (0, _) => self.workers.await_ends(self.supervisor.active()).then_some(MAX_SLEEP_NS),
            (_, Some(_)) => Some(MEMORY_CHECK_NS),
            (_, None) => Some(waker_ns),
        };
        let shows = self.observer.is_behind() || self.checks.has_readable() || self.jobs.is_any_shown();
        check.into_iter().chain(shows.then_some(SHOW_NS)).min()
    }

    /// Whether the background thread is needed: for calls without a caller, for streams, for callers that go away, and
    /// for workers that leave because they are idle or surplus.
    pub(in crate::drive) fn needs_background(&self) -> bool {
        let may_leave = || self.supervisor.awaits_idle() || self.supervisor.awaits_surplus();
        let is_needed = || self.has_calls() || !self.streams.is_empty() || may_leave();
        !self.jobs.is_closed_for_good() && is_needed()
    }

    /// Whether any call is open.
    pub(in crate::drive) fn has_calls(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether any stream is open.
    pub(in crate::drive) fn has_streams(&self) -> bool {
        !self.streams.is_empty() && !self.jobs.is_closed_for_good()
    }

    #[cfg(feature = "stream")]
    pub(in crate::drive) fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Registers the waker, and replaces it by the one registered before. If anything awaited may be there already,
    /// does neither and returns false.
    #[cfg(feature = "stream")]
    pub(in crate::drive) fn register_waker(
        &mut self,
        job: JobId,
        awaits: Awaits,
        waker: &mut Option<Waker>,
    ) -> bool {
        let may_sleep = !self.is_news(awaits);
        if may_sleep && let Some(new) = waker.take() {
            *waker = self.streams.register_waker(job, awaits, new);
        }
        may_sleep
    }

    /// Removes and returns the wakers of streams that have news. A stream that shows its progress is always woken, so
    /// that it can draw.
    pub(in crate::drive) fn take_wakers(&mut self) -> Vec<Waker> {
        let mut streams = std::mem::take(&mut self.streams);
        let wakers = streams.take_wakers(|job, awaits| self.is_news(awaits) || self.jobs.is_shown(job));
        self.streams = streams;
        wakers
    }
}
