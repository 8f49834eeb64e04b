//! What nobody tells the parent: it looks.

use super::*;
use crate::sys::memory::Meter;
use crate::sys::process::reap_left;

/// How often it is looked how much memory workers hold in the midst of a task.
pub(super) const MEMORY_LOOK_NS: u64 = 10_000_000;
/// How long the parent sleeps while results wait for others, so that one wake-up is enough for many.
pub(super) const PATIENCE_NS: u64 = 2_000_000;
/// How often it is looked whether workers sleep that should not.
const NAP_LOOK_NS: u64 = 1_000_000_000;
/// How long the parent sleeps while workers are busy: one of them may be unable to wake it. At first, then twice as long
/// each time that it wakes for nothing, and at most: so what such a worker has done is found late by as much again as
/// it took, or by the last of these.
pub(super) const FIRST_SLEEP_NS: u64 = 10_000_000;
pub(super) const LONGEST_SLEEP_NS: u64 = 250_000_000;
/// How often somebody is shown how far a job is.
pub(super) const SHOW_NS: u64 = 50_000_000;
/// A parent that never sleeps looks this often for deaths, and for what workers have printed.
const NEWS_LOOK_NS: u64 = 1_000_000;
/// A call that ends looks for the latter if the last look was this long ago: beside such a time a look costs nothing.
const LAST_LOOK_NS: u64 = 20_000;

/// When it was last looked.
#[derive(Default)]
pub(super) struct Looks {
    news: u64,
    naps: u64,
    memory: u64,
    boards: u64,
}

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
    pub(super) fn run_checks(&mut self, now: u64) {
        self.look_at_starts();
        if is_due(&mut self.looked_at.news, NEWS_LOOK_NS, now) {
            self.look_for_news();
        }
        self.listen();
        for worker in std::mem::take(&mut self.exited) {
            self.reap(worker);
        }
        self.look_for_the_stuck();
        self.look_for_finished_threads();
        self.look_for_mutes();
        if let Some(limit) = self.upkeep.memory_limit {
            self.look_at_memory(limit, now);
        }
        if is_due(&mut self.looked_at.naps, NAP_LOOK_NS, now) {
            self.posts.iter_mut().flatten().for_each(WorkerHandle::look_at_nap);
            let unwatched =
                |worker: &usize| self.posts[*worker].as_ref().is_some_and(WorkerHandle::is_unwatched);
            let unwatched: Vec<usize> = (0..self.posts.len()).filter(unwatched).collect();
            for worker in unwatched {
                self.reap(worker);
            }
        }
        if self.upkeep.nests && is_due(&mut self.looked_at.boards, SHOW_NS, now) {
            self.look_at_boards();
        }
    }

    /// Shows how far the calls are that workers make of their own pools.
    fn look_at_boards(&mut self) {
        for (worker, post) in self.posts.iter_mut().enumerate() {
            if let Some(board) = post.as_mut().and_then(|post| post.board.as_mut()) {
                board.look(worker);
            }
        }
    }

    fn look_for_news(&mut self) {
        let news = self.waiter.look();
        self.note_news(news);
    }

    pub(super) fn note_news(&mut self, News { ended, printed, lost, .. }: News) {
        // A set of the program's own that has got the number of the pool's may tell of anything.
        let workers = 0..self.posts.len();
        self.exited.extend(ended.into_iter().filter(|worker| workers.contains(worker)));
        self.readable.extend(printed.into_iter().filter(|worker| workers.contains(worker)));
        if lost {
            // Nobody tells of them any more. The lifelines are closed with the rest.
            self.exited = (0..self.posts.len()).collect();
            if !std::mem::replace(&mut self.lost, true) {
                self.cancel_all(&Error::DescriptorsClosed);
            }
        }
    }

    /// Passes on what workers have printed and logged.
    fn listen(&mut self) {
        let Self { readable, posts, printed, events, .. } = self;
        printed.pass_on();
        printed.any |= !readable.is_empty();
        readable.retain(|worker| {
            let Some(WorkerHandle { stderr, log, .. }) = &mut posts[*worker] else { return false };
            let all_printed = stderr.as_mut().is_none_or(|stderr| printed.take(stderr));
            let all_logged = log.as_mut().is_none_or(|log| log.take(|record| events.logged(*worker, record)));
            !all_printed || !all_logged
        });
    }

    /// Passes on what the tasks of a call have shown, printed and logged that ends now. Where nobody has ever printed anything,
    /// short calls are not made longer for that.
    pub(super) fn look_at_the_end(&mut self) {
        self.look_at_boards();
        if self.printed.any || is_due(&mut self.looked_at.news, LAST_LOOK_NS, self.now) {
            self.look_for_news();
            self.listen();
            let Self { posts, printed, .. } = self;
            posts.iter_mut().flatten().filter_map(|post| post.stderr.as_mut()).for_each(|stderr| {
                stderr.take_line(printed);
            });
            printed.pass_on();
        }
    }

    /// Sees which workers were killed and do not end, and which of those that were given up have ended since.
    fn look_for_the_stuck(&mut self) {
        if !self.given_up.is_empty() {
            reap_left();
            self.given_up.retain(|(handle, _)| !handle.is_gone());
        }
        for worker in 0..self.posts.len() {
            if self.posts[worker].as_ref().is_some_and(WorkerHandle::is_stuck) {
                self.reap(worker);
            }
        }
    }

    /// Sees which workers can't wake the parent any more. They leave; no task is lost, nor what their exit functions give.
    fn look_for_mutes(&mut self) {
        for worker in 0..self.posts.len() {
            let Some(post) = &mut self.posts[worker] else { continue };
            if post.lane.has_lost_waker() && !std::mem::replace(&mut post.sent_off, true) {
                self.handle(Event::OverSoftLimit { worker });
            }
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

    /// Sees which of the orders that run out of time have panicked, and are only told of yet.
    pub(super) fn look_at_panics(&mut self) {
        for (worker, head) in self.supervisor.running_out(self.now) {
            if self.posts[worker].as_ref().is_some_and(|post| post.lane.has_panicked(head.unit())) {
                self.supervisor.head_panicked(worker);
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
                self.handle(Event::OverSoftLimit { worker });
            } else if look && baseline > 0 && self.supervisor.head(worker).is_some() {
                let held = meter.map_or(0, Meter::read).saturating_sub(baseline);
                if held > limit.saturating_mul(2) {
                    self.handle(Event::OverHardLimit { worker, held, limit });
                }
            }
        }
    }
}
