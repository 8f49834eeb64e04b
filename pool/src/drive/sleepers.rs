//! Callers that sleep, and for what. One of them, the *leader*, sleeps on the poll set; the others, its *followers*, on a
//! condition variable. Whoever changes the state looks for whom that is news, and wakes them.

use crate::ids::JobId;

/// What a sleeper waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// Arrivals for this call, or room for its items.
    Job(JobId),
    /// What the background driver is to deliver: arrivals, or news for a stream; or that there is nothing more for it.
    Background,
    /// Anything after the event of this number.
    Change { since: u64 },
}

/// How long the parent sleeps while workers are busy: one of them may be unable to wake it. At first, then twice as long
/// each time that it wakes for nothing, and at most: so what such a worker has done is found late by as much again as
/// it took, or by the last of these.
const FIRST_SLEEP_NS: u64 = 10_000_000;
pub(super) const LONGEST_SLEEP_NS: u64 = 250_000_000;

#[derive(Default)]
pub(super) struct Sleepers {
    leader: Option<Leader>,
    /// What each follower waits for.
    followers: Vec<Awaits>,
    /// How many events the supervisor has been told of.
    changes: u64,
    /// How many there had been before the last sleep.
    slept_after: u64,
    /// How long the last sleep was at most.
    sleep_ns: u64,
}

struct Leader {
    awaits: Awaits,
    /// When it wakes by itself.
    until: Option<u64>,
    /// Somebody has woken it.
    is_woken: bool,
}

impl Sleepers {
    /// The supervisor was told of something.
    pub(super) fn note_change(&mut self) {
        self.changes += 1;
    }

    pub(super) fn has_changed_since(&self, since: u64) -> bool {
        self.changes > since
    }

    /// The event after those that were told so far.
    pub(super) fn next_change(&self) -> Awaits {
        Awaits::Change { since: self.changes }
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

    /// What each follower waits for.
    pub(super) fn followers(&self) -> impl Iterator<Item = Awaits> {
        self.followers.iter().copied()
    }

    /// The caller becomes the leader; it sleeps until then, unless it does not sleep at all.
    pub(super) fn lead(&mut self, awaits: Awaits, until: Option<u64>, sleeps: bool) {
        self.leader = Some(Leader { awaits, until, is_woken: !sleeps });
    }

    pub(super) fn stop_leading(&mut self) {
        self.leader = None;
    }

    /// What the leader sleeps for, and until when, unless somebody has woken it.
    pub(super) fn sleeping_leader(&self) -> Option<(Awaits, Option<u64>)> {
        let Leader { awaits, until, .. } = *self.leader.as_ref().filter(|leader| !leader.is_woken)?;
        Some((awaits, until))
    }

    /// Somebody has woken the leader.
    pub(super) fn note_woken(&mut self) {
        if let Some(leader) = &mut self.leader {
            leader.is_woken = true;
        }
    }

    /// A sleep begins. Says whether it may be a *patient* one: something has happened since the last, so tasks are
    /// short, and half of what a worker has is worth a wake-up; where nothing has happened, what is done already would
    /// wait for a task that may never end.
    pub(super) fn begin_sleep(&mut self) -> bool {
        let patient = self.slept_after != self.changes;
        self.sleep_ns = if patient { FIRST_SLEEP_NS } else { (2 * self.sleep_ns).min(LONGEST_SLEEP_NS) };
        self.slept_after = self.changes;
        patient
    }

    /// How long to sleep at most while workers are busy.
    pub(super) fn sleep_ns(&self) -> u64 {
        self.sleep_ns
    }
}
