//! Before and after a sleep of the parent.

use super::looks::{FIRST_SLEEP_NS, LONGEST_SLEEP_NS, MEMORY_LOOK_NS, PATIENCE_NS, SHOW_NS};
use super::*;
use crate::drive::Absence;

/// The one that sleeps on the poll set.
pub(super) struct Leader {
    awaits: Awaits,
    /// When it wakes by itself.
    until: Option<u64>,
    /// Somebody rang the bell for it.
    woken: bool,
}

impl State {
    // ---- who sleeps, and for what ----

    /// Whether what is awaited may be there.
    pub(in crate::drive) fn is_news_for(&self, awaits: Awaits) -> bool {
        match awaits {
            Awaits::Job(job) => self.jobs.get(&job).is_none_or(|slot| {
                !slot.inbox.is_empty() || (slot.hungry && self.supervisor.grant(job).is_some())
            }),
            Awaits::Background => {
                let mut is_background = self.jobs.values().filter(|slot| slot.is_background).peekable();
                (is_background.peek().is_none() && !self.has_streams())
                    || is_background.any(|slot| !slot.inbox.is_empty())
                    || self.streams.awaited().any(|awaits| self.is_news_for(awaits))
            }
            Awaits::Change { since } => self.changes > since,
        }
    }

    /// Whether a stream is open that somebody must drive.
    pub(crate) fn has_streams(&self) -> bool {
        !self.streams.is_empty() && !self.closed
    }

    /// The event after those that were told so far.
    pub(crate) fn next_change(&self) -> Awaits {
        Awaits::Change { since: self.changes }
    }

    pub(in crate::drive) fn is_led(&self) -> bool {
        self.leader.is_some()
    }

    pub(in crate::drive) fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }

    /// Notes that somebody becomes, or no longer is, a follower.
    pub(in crate::drive) fn follow(&mut self, awaits: Awaits, follows: bool) {
        if follows {
            self.followers.push(awaits);
        } else if let Some(place) = self.followers.iter().position(|known| *known == awaits) {
            self.followers.swap_remove(place);
        }
    }

    pub(in crate::drive) fn followers_must_wake(&self) -> bool {
        self.followers.iter().any(|awaits| self.is_news_for(*awaits))
    }

    /// Whether the leader sleeps on what somebody else has found, or too long; it is told once.
    pub(in crate::drive) fn leader_must_wake(&mut self) -> bool {
        let Some(Leader { awaits, until, woken: false }) = self.leader else { return false };
        let deadline = self.supervisor.deadline();
        let oversleeps = deadline.is_some_and(|deadline| until.is_none_or(|until| deadline < until));
        let must = oversleeps || self.is_news_for(awaits);
        if let Some(leader) = &mut self.leader {
            leader.woken = must;
        }
        must
    }

    /// The caller becomes the leader: how long it may sleep; nothing if there is something to do already.
    pub(in crate::drive) fn lead(&mut self, awaits: Awaits) -> Option<Sleep> {
        let sleep = self.prepare_sleep();
        let until = self.supervisor.deadline();
        self.leader = Some(Leader { awaits, until, woken: sleep.is_none() });
        sleep
    }

    /// The leader is awake, with this news.
    pub(in crate::drive) fn stop_leading(&mut self, news: News) {
        self.leader = None;
        self.watched_until = self.now;
        self.note_news(news);
        for post in self.posts.iter().flatten() {
            post.lane.announce_awake();
        }
    }

    /// Time limits pause while the program is stopped, as by Ctrl-Z. When in an absence that began is not known, so all
    /// of it is left out.
    pub(in crate::drive) fn leave_out(&mut self, absence: Option<Absence>) {
        if let Some(Absence { from, until, .. }) = absence.filter(Absence::was_standstill) {
            self.handle(Event::StoodStill { from, until });
        }
    }

    // ---- before a sleep ----

    /// Says to all lanes that the parent will sleep, and how long; nothing if there is something to do already.
    fn prepare_sleep(&mut self) -> Option<Sleep> {
        if self.spin() {
            return None;
        }
        // Half of what a worker has is worth a wake-up where it takes no longer than this; when it has, what is done
        // already waits for a task that may never end.
        let patient = self.slept_after != self.changes;
        self.sleep_ns = if patient { FIRST_SLEEP_NS } else { (2 * self.sleep_ns).min(LONGEST_SLEEP_NS) };
        self.slept_after = self.changes;
        for post in self.posts.iter_mut().flatten() {
            post.announce_sleep(patient);
        }
        lane::full_fence();
        if self.has_replies() {
            return None;
        }
        let now = now_ns();
        let until = |deadline: u64| Duration::from_nanos(deadline.saturating_sub(now));
        let limit = self.supervisor.deadline().map(until);
        let look = match (self.supervisor.busy(), self.upkeep.memory_limit) {
            (0, _) => (self.is_anyone_dying() || !self.given_up.is_empty()).then_some(LONGEST_SLEEP_NS),
            (_, Some(_)) => Some(MEMORY_LOOK_NS),
            (_, None) => Some(self.sleep_ns),
        };
        let unheard = self.printed.is_stuck() || !self.readable.is_empty();
        let nested =
            self.supervisor.busy() > 0 && self.posts.iter().flatten().any(|post| post.board.is_some());
        let show = unheard || nested || self.jobs.values().any(|slot| slot.shown);
        let show = show.then_some(SHOW_NS);
        let patience = (patient && self.supervisor.busy() > 0).then_some(PATIENCE_NS);
        let looks = look.into_iter().chain(show).chain(patience).map(Duration::from_nanos);
        Some(Sleep { limit: limit.into_iter().chain(looks).min() })
    }

    fn is_anyone_dying(&self) -> bool {
        self.posts.iter().flatten().any(WorkerHandle::is_dying)
    }

    pub(super) fn has_replies(&self) -> bool {
        self.posts.iter().flatten().any(|post| !post.corrupt && post.lane.has_reply())
    }

    /// Waits for a reply for about as long as a wake-up takes, where workers leave a core free for that.
    fn spin(&mut self) -> bool {
        let busy = self.supervisor.busy();
        if busy == 0 || busy >= self.cpus_to_use || self.jobs.len() > 1 {
            return false;
        }
        let mut spinner = std::mem::take(&mut self.spinner);
        let found = spinner.spin_until(u64::from(SPIN_NS), || self.has_replies());
        self.spinner = spinner;
        found
    }

    /// Tells the workers how long they may spin.
    pub(super) fn let_spin(&mut self) {
        let spin_ns = if self.supervisor.busy() < self.cpus_to_use { SPIN_NS } else { 0 };
        if spin_ns != self.spinning {
            self.spinning = spin_ns;
            for post in self.posts.iter().flatten() {
                post.lane.let_spin(spin_ns);
            }
        }
    }
}
