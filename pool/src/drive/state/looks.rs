//! What nobody tells the parent: it looks.

use super::*;
use crate::sys::memory::Meter;

/// How often it is looked how much memory workers hold in the midst of a task.
pub(super) const MEMORY_LOOK_NS: u64 = 10_000_000;
/// How often it is looked whether workers sleep that should not.
pub(super) const NAP_LOOK_NS: u64 = 1_000_000_000;
/// How often somebody is shown how far a job is.
pub(super) const SHOW_NS: u64 = 50_000_000;
/// A parent that never sleeps looks for deaths this often.
const DEATH_LOOK_NS: u64 = 1_000_000;

/// Whether so much time has passed since the last look; then this is the last.
fn is_due(last: &mut u64, every_ns: u64, now: u64) -> bool {
    let due = now.saturating_sub(*last) >= every_ns;
    if due {
        *last = now;
    }
    due
}

impl State {
    /// Looks at all that is due.
    pub(super) fn look_around(&mut self, now: u64) {
        self.look_at_starts();
        if is_due(&mut self.looked_at.deaths, DEATH_LOOK_NS, now) {
            self.suspects.extend(self.waiter.look());
        }
        for worker in std::mem::take(&mut self.suspects) {
            self.look_for_death(worker);
        }
        self.look_for_finished_threads();
        if let Some(limit) = self.memory_limit {
            self.look_at_memory(limit, now);
        }
        if is_due(&mut self.looked_at.naps, NAP_LOOK_NS, now) {
            self.posts.iter_mut().flatten().for_each(Post::look_at_nap);
        }
    }

    /// Sees which orders with a time limit have begun, and when: that is what their limits count from.
    fn look_at_starts(&mut self) {
        for worker in 0..self.posts.len() {
            let (Some(head), Some(post)) = (self.supervisor.head_to_begin(worker), &self.posts[worker])
            else {
                continue;
            };
            if post.lane.is_running(head.unit()) {
                self.supervisor.head_began(worker, post.lane.started_at());
            }
        }
    }

    /// Sees which workers hold more memory than they may: between tasks they say so, in a task nobody asks them.
    fn look_at_memory(&mut self, limit: u64, now: u64) {
        let look = is_due(&mut self.looked_at.memory, MEMORY_LOOK_NS, now);
        for worker in 0..self.posts.len() {
            let Some(post) = &self.posts[worker] else { continue };
            let (baseline, meter) = (post.lane.baseline(), post.meter.as_ref());
            if post.lane.growth() > limit {
                self.handle(Event::Outgrown { worker });
            } else if look && baseline > 0 && self.supervisor.head(worker).is_some() {
                let held = meter.map_or(0, Meter::read).saturating_sub(baseline);
                if held > limit.saturating_mul(2) {
                    self.handle(Event::Bursting { worker, held, limit });
                }
            }
        }
    }
}
