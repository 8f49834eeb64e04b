//! Before and after a sleep of the parent.

use super::*;

impl State {
    /// Says to all lanes that the parent will sleep, and how long; nothing if there is something to do already.
    pub(in crate::drive) fn prepare_sleep(&mut self) -> Option<Sleep> {
        if self.spin() {
            return None;
        }
        for (worker, post) in self.posts.iter_mut().enumerate() {
            if let Some(post) = post {
                post.lane.doze(self.supervisor.wake_at(worker));
            }
        }
        fence(Ordering::SeqCst);
        if self.has_replies() {
            return None;
        }
        let now = now_ns();
        let until = |deadline: u64| Duration::from_nanos(deadline.saturating_sub(now));
        let limit = self.supervisor.deadline().map(until);
        // The end of a thread wakes nobody, so a parent that waits for one looks again soon.
        let ends =
            self.ending && self.posts.iter().flatten().any(|post| matches!(post.child, Child::Thread(_)));
        let limit = if ends { Some(limit.unwrap_or(THREAD_LOOK).min(THREAD_LOOK)) } else { limit };
        Some(Sleep { limit })
    }

    pub(super) fn has_replies(&self) -> bool {
        self.posts.iter().flatten().any(|post| !post.corrupt && post.lane.has_reply())
    }

    /// Waits for a reply for about as long as a wake-up takes, where workers leave a core free for that.
    pub(super) fn spin(&mut self) -> bool {
        let busy = self.supervisor.busy();
        let fits = busy > 0 && busy < self.cpus_to_use && self.jobs.len() == 1;
        let end = now_ns() + u64::from(SPIN_NS);
        while fits && now_ns() < end {
            for _ in 0..32 {
                if self.has_replies() {
                    return true;
                }
                std::hint::spin_loop();
            }
        }
        false
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

    pub(in crate::drive) fn rouse(&mut self, ended: Vec<usize>) {
        self.suspects.extend(ended);
        for post in self.posts.iter().flatten() {
            post.lane.rouse();
        }
    }
}
