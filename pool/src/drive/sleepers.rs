//! The notes of sleeping callers: the leader and its followers, and what each of them awaits. See the docs of
//! [`drive`](super).

use crate::ids::JobId;

/// The reason to wake a sleeping caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// This call has new results, or space for its items.
    Job(JobId),
    /// The background driver has work: a call has new results, a stream has news, or nothing is left and it may stop.
    Background,
    /// The supervisor has handled more events than this.
    Change { since: u64 },
}

/// The shortest and the longest sleep of the parent while workers are busy. The sleep is limited because a worker may
/// have lost its waker. It starts with the shortest, and doubles each time the parent wakes for nothing. So the results
/// of a worker without a waker come late by at most the time that they took, or by the longest sleep.
const MIN_SLEEP_NS: u64 = 10_000_000;
pub(super) const MAX_SLEEP_NS: u64 = 250_000_000;

#[derive(Default)]
pub(super) struct Sleepers {
    leader: Option<Leader>,
    /// What each follower awaits.
    followers: Vec<Awaits>,
    /// The number of events that the supervisor has handled.
    events: u64,
    /// That number before the last sleep.
    slept_after: u64,
    /// The limit of the last sleep.
    sleep_ns: u64,
}

struct Leader {
    awaits: Awaits,
    /// The deadline until which it sleeps, if any.
    until: Option<u64>,
    /// It is awake already, or about to wake.
    is_woken: bool,
}

impl Sleepers {
    /// Counts an event that the supervisor has handled.
    pub(super) fn count_event(&mut self) {
        self.events += 1;
    }

    pub(super) fn has_changed_since(&self, since: u64) -> bool {
        self.events > since
    }

    /// Awaits the next event.
    pub(super) fn next_change(&self) -> Awaits {
        Awaits::Change { since: self.events }
    }

    pub(super) fn has_leader(&self) -> bool {
        self.leader.is_some()
    }

    pub(super) fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }

    pub(super) fn add_follower(&mut self, awaits: Awaits) {
        self.followers.push(awaits);
    }

    pub(super) fn remove_follower(&mut self, awaits: Awaits) {
        if let Some(place) = self.followers.iter().position(|known| *known == awaits) {
            self.followers.swap_remove(place);
        }
    }

    /// What each follower awaits.
    pub(super) fn followers(&self) -> impl Iterator<Item = Awaits> {
        self.followers.iter().copied()
    }

    /// Makes the caller the leader, with a deadline. `sleeps` is false if it has found work and will return at once.
    pub(super) fn lead(&mut self, awaits: Awaits, until: Option<u64>, sleeps: bool) {
        self.leader = Some(Leader { awaits, until, is_woken: !sleeps });
    }

    pub(super) fn stop_leading(&mut self) {
        self.leader = None;
    }

    /// The note of the leader and its deadline, unless it was woken already.
    pub(super) fn sleeping_leader(&self) -> Option<(Awaits, Option<u64>)> {
        let Leader { awaits, until, .. } = *self.leader.as_ref().filter(|leader| !leader.is_woken)?;
        Some((awaits, until))
    }

    /// Marks the leader as woken.
    pub(super) fn mark_leader_woken(&mut self) {
        if let Some(leader) = &mut self.leader {
            leader.is_woken = true;
        }
    }

    /// Begins a sleep and returns whether it is *patient*: workers then wake the parent only when they are half-way
    /// through their orders. That saves wake-ups while tasks are short, as they are if events have come since the last
    /// sleep. If none have, the sleep is not patient: results that are there would wait for a task that may never end.
    pub(super) fn begin_sleep(&mut self) -> bool {
        let patient = self.slept_after != self.events;
        self.sleep_ns = if patient { MIN_SLEEP_NS } else { (2 * self.sleep_ns).min(MAX_SLEEP_NS) };
        self.slept_after = self.events;
        patient
    }

    /// The limit of this sleep while workers are busy.
    pub(super) fn sleep_ns(&self) -> u64 {
        self.sleep_ns
    }
}
