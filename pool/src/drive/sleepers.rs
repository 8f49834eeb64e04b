//! The notes of sleeping callers: the leader and its followers, and what each of them awaits. See the docs of
//! [`drive`](super).

use std::sync::{Arc, Condvar};

use crate::ids::{JobId, PerJob};

/// The reason to wake a sleeping caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// This call has new results, or a worker could take more items of it than it has submitted.
    Job(JobId),
    /// This call has new results.
    Results(JobId),
    /// The background thread has work: a call has new results, a stream has news, or nothing is left and it may stop.
    Background,
    /// The supervisor has handled more events than this.
    Change { since: u64 },
}

/// The shortest and the longest sleep of the parent while workers are busy, or were lately. The sleep is limited
/// because a worker may have lost its waker. It starts with the shortest, and doubles each time the parent wakes for
/// nothing. So the results of a worker without a waker come late by at most the time that they took, or by the longest
/// sleep.
const MIN_SLEEP_NS: u64 = 10_000_000;
pub(super) const MAX_SLEEP_NS: u64 = 250_000_000;

/// How long callers may be away, in code of the user's, before the background thread takes the lead: less than a user
/// notices, and longer than most code takes between two turns, so that the thread rarely gets in the way.
const AWAY_NS: u64 = 1_000_000;
/// The longest time after which the background thread looks again whether callers are away: it doubles each time that
/// they are not.
const MAX_LOOK_NS: u64 = 16_000_000;

#[derive(Default)]
pub(super) struct Sleepers {
    leader: Option<Leader>,
    /// The follower that was woken to take the lead, until it runs.
    successor: Option<Bell>,
    /// Followers that await something of their calls.
    of_jobs: PerJob<(Awaits, Bell)>,
    /// Those that await anything else.
    others: Vec<(Awaits, Bell)>,
    /// When a caller last took a turn, or was woken to take one.
    driven_at: u64,
    /// After which time the background thread looks again for callers that are away.
    look_ns: u64,
    /// The number of events that the supervisor has handled.
    events: u64,
    /// That number before the last sleep.
    slept_after: u64,
    /// The limit of the last sleep.
    sleep_ns: u64,
}

/// Wakes one follower.
pub(super) type Bell = Arc<Condvar>;

struct Leader {
    awaits: Awaits,
    /// Until when it sleeps at most, if that is limited.
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

    // ---- the leader ----

    pub(super) fn has_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// Makes the caller the leader, until this time at most.
    pub(super) fn lead(&mut self, awaits: Awaits, until: Option<u64>) {
        self.leader = Some(Leader { awaits, until, is_woken: false });
    }

    pub(super) fn stop_leading(&mut self) {
        self.leader = None;
    }

    /// The note of the leader and the end of its sleep, unless it was woken already.
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

    // ---- followers ----

    /// Leaves the note of a follower.
    pub(super) fn follow(&mut self, awaits: Awaits) -> Bell {
        let bell = Bell::default();
        match awaits {
            Awaits::Job(job) | Awaits::Results(job) => {
                self.of_jobs.insert(job, (awaits, Arc::clone(&bell)));
            }
            Awaits::Background | Awaits::Change { .. } => self.others.push((awaits, Arc::clone(&bell))),
        }
        bell
    }

    /// Removes the note of a follower that is awake.
    pub(super) fn stop_following(&mut self, awaits: Awaits, bell: &Bell) {
        if self.successor.as_ref().is_some_and(|successor| Arc::ptr_eq(successor, bell)) {
            self.successor = None;
        }
        match awaits {
            Awaits::Job(job) | Awaits::Results(job) => {
                self.of_jobs.remove(&job);
            }
            Awaits::Background | Awaits::Change { .. } => {
                self.others.retain(|(_, other)| !Arc::ptr_eq(other, bell));
            }
        }
    }

    /// Whether there is any follower.
    pub(super) fn any_follow(&self) -> bool {
        self.any_of_jobs() || !self.others.is_empty()
    }

    /// Whether any follower awaits something of its call.
    pub(super) fn any_of_jobs(&self) -> bool {
        !self.of_jobs.is_empty()
    }

    /// What the follower that waits for this call awaits.
    pub(super) fn awaited_of(&self, job: JobId) -> Option<Awaits> {
        self.of_jobs.get(&job).map(|(awaits, _)| *awaits)
    }

    /// What the followers whose input has more items await.
    pub(super) fn awaited_with_input(&self) -> Vec<Awaits> {
        let with_input = |awaits: &Awaits| matches!(awaits, Awaits::Job(_));
        self.of_jobs.values().map(|(awaits, _)| *awaits).filter(with_input).collect()
    }

    /// What the followers await that wait for no single call.
    pub(super) fn awaited_by_others(&self) -> impl Iterator<Item = Awaits> {
        self.others.iter().map(|(awaits, _)| *awaits)
    }

    /// Removes the note of a follower that awaits this.
    pub(super) fn take(&mut self, awaits: Awaits) -> Option<Bell> {
        match awaits {
            Awaits::Job(job) | Awaits::Results(job) => self.of_jobs.remove(&job).map(|(_, bell)| bell),
            Awaits::Background | Awaits::Change { .. } => {
                let place = self.others.iter().position(|(other, _)| *other == awaits)?;
                Some(self.others.swap_remove(place).1)
            }
        }
    }

    /// Removes the note of a follower that can take the lead, if nobody leads and none is about to: any but the
    /// background thread, which looks by itself.
    pub(super) fn take_successor(&mut self) -> Option<Bell> {
        if self.has_leader() || self.successor.is_some() {
            return None;
        }
        let job = self.of_jobs.keys().next().copied();
        let awaits = job
            .map(Awaits::Job)
            .or_else(|| self.awaited_by_others().find(|other| *other != Awaits::Background));
        self.successor = self.take(awaits?);
        self.successor.clone()
    }

    // ---- the background thread ----

    /// A caller takes a turn, or is woken to take one.
    pub(super) fn drives(&mut self, now: u64) {
        self.driven_at = now;
    }

    /// How long the background thread waits before it looks again whether callers are away; nothing if they are, so
    /// that it must lead. `has_calls` if there are calls that it alone completes.
    pub(super) fn time_to_look(&mut self, now: u64, has_calls: bool) -> Option<u64> {
        if !self.has_leader() && now.saturating_sub(self.driven_at) >= AWAY_NS {
            self.look_ns = 0;
            return None;
        }
        let most = if has_calls { AWAY_NS } else { MAX_LOOK_NS };
        self.look_ns = (2 * self.look_ns).clamp(AWAY_NS, most);
        Some(self.look_ns)
    }

    // ---- sleeps ----

    /// Begins a sleep and returns whether it is *patient*: workers then wake the parent only when they are half-way
    /// through their orders. That saves wake-ups while tasks are short, as they are if events have come since the last
    /// sleep. If none have, the sleep is not patient: results that are there would wait for a task that may never end.
    pub(super) fn begin_sleep(&mut self) -> bool {
        let patient = self.slept_after != self.events;
        self.sleep_ns = if patient { MIN_SLEEP_NS } else { (2 * self.sleep_ns).min(MAX_SLEEP_NS) };
        self.slept_after = self.events;
        patient
    }

    /// The limit of this sleep, if nothing else needs a shorter one.
    pub(super) fn sleep_ns(&self) -> u64 {
        self.sleep_ns
    }
}
