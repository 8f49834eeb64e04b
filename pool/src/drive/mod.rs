//! The driver: carries out what the supervisor decides, and tells it what happens. Here the data plane (lanes, bytes
//! of items and results) and the control plane (starts, deaths, deadlines) meet.
//!
//! **Whoever waits, drives.** All state lies behind one mutex. A caller that waits takes it, moves what can be moved,
//! and gives it back before it runs user code or sleeps. Of several callers that find nothing to do, the first is the
//! *leader* and sleeps on the poll set (the bell, the workers' ends); the others sleep on a condition variable until
//! the leader finds something for them, or leaves and makes another one leader.

mod inbox;
mod post;
mod state;
mod wait;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::supervise::{Event, JobId, Plan, Work};
use crate::wire::{Carriage, ChunkHead};

pub(crate) use inbox::{Arrival, Inbox, Loss, What};
pub(crate) use post::ChunkWriter;
pub(crate) use state::{ExitValue, JobSlot, ProfileDef, State};
pub(crate) use wait::Waiter;

/// What a pool shares with its callers and its background driver.
pub(crate) struct Core {
    state: Mutex<State>,
    /// For callers that are not the leader.
    changed: Condvar,
    waiter: Arc<Waiter>,
}

/// The caller's side of feeding a job.
pub(crate) trait Feed {
    /// How many items are in hand.
    fn in_hand(&self) -> u64;
    /// Whether no item will come after those in hand.
    fn is_last(&self) -> bool;
    /// Writes the next item in hand, and drops it.
    fn write_next(&mut self, out: &mut ChunkWriter<'_>) -> Result<(), String>;
}

impl Core {
    pub(crate) fn new(state: State, waiter: Arc<Waiter>) -> Self {
        Self { state: Mutex::new(state), changed: Condvar::new(), waiter }
    }

    /// The state. No user code runs under this lock but `Serialize` impls, whose panics are caught; so what a
    /// poisoned lock guards is whole.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a job. Its workers are started, its init orders sent.
    pub(crate) fn open(&self, slot: JobSlot, plan: Plan, kept: Vec<Vec<u8>>) -> Result<JobId, Error> {
        let mut state = self.lock();
        state.open(slot, plan, kept)
    }

    /// Moves what can be moved: replies in, deaths and deadlines seen, items out. True if anything was sent.
    /// `taken` is how many results the caller has taken since the last turn.
    pub(crate) fn turn(&self, job: JobId, taken: u64, feed: &mut dyn Feed, inbox: &mut Inbox) -> bool {
        let mut state = self.lock();
        if taken > 0 {
            state.handle(Event::Taken { job, count: taken });
        }
        state.drive();
        let fed = state.feed(job, feed);
        state.take_inbox(job, inbox);
        if state.others_have_news(job) {
            self.changed.notify_all();
        }
        fed
    }

    /// Sleeps until something may have come for the job, or for anybody.
    pub(crate) fn wait(&self, job: Option<JobId>) {
        let state = self.lock();
        if job.is_some_and(|job| state.has_news(job)) {
            return;
        }
        if state.leader {
            // The leader wakes everybody when it finds news for anybody, and when it leaves.
            drop(self.changed.wait(state).unwrap_or_else(PoisonError::into_inner));
            return;
        }
        self.lead(state);
    }

    /// Sleeps until something may have come for any job.
    pub(crate) fn wait_for_news(&self) {
        let state = self.lock();
        if !state.anybody_has_news() {
            if state.leader {
                drop(self.changed.wait(state).unwrap_or_else(PoisonError::into_inner));
            } else {
                self.lead(state);
            }
        }
    }

    fn lead<'s>(&'s self, mut state: MutexGuard<'s, State>) {
        state.leader = true;
        let sleep = state.prepare_sleep();
        drop(state);
        let ended = sleep.map_or_else(Vec::new, |sleep| self.waiter.sleep(sleep));
        let mut state = self.lock();
        state.rouse(ended);
        state.leader = false;
        state.drive();
        self.changed.notify_all();
    }

    /// The caller waits for this job no longer.
    pub(crate) fn close(&self, job: JobId) {
        let mut state = self.lock();
        state.close(job);
        self.changed.notify_all();
    }

    /// Drives until the condition holds.
    pub(crate) fn drive_until(&self, mut done: impl FnMut(&mut State) -> bool) {
        loop {
            {
                let mut state = self.lock();
                state.drive();
                if done(&mut state) {
                    self.changed.notify_all();
                    return;
                }
            }
            self.wait(None);
        }
    }

    /// Wakes whoever sleeps.
    pub(crate) fn wake(&self) {
        self.changed.notify_all();
        self.waiter.wake();
    }
}

impl State {
    /// Sends items of the job as long as the supervisor grants chunks and items are in hand.
    fn feed(&mut self, job: JobId, feed: &mut dyn Feed) -> bool {
        let mut fed = false;
        while let Some(grant) = self.supervisor().grant(job) {
            let Work::Fresh { most, whole, .. } = grant.work else {
                self.send_kept(job, grant);
                fed = true;
                continue;
            };
            let in_hand = feed.in_hand();
            if in_hand == 0 || (in_hand < whole && !feed.is_last()) {
                break;
            }
            fed |= self.send_fresh(job, grant.worker, most.min(in_hand), feed);
        }
        if feed.in_hand() == 0 && feed.is_last() {
            self.end_input(job);
        }
        self.ring_all();
        fed
    }

    /// Writes a chunk of fresh items into the worker's lane.
    fn send_fresh(&mut self, job: JobId, worker: usize, most: u64, feed: &mut dyn Feed) -> bool {
        let Some((post, slot)) = self.post_and_slot(worker, job) else { return false };
        let carriage = slot.carriage;
        let mut head = ChunkHead { task: slot.task, profile: slot.profile, count: 0, carriage };
        let room = if post.is_clear() { post.lane.reserve(ChunkHead::BYTES + 64) } else { None };
        let Some(mut room) = room else {
            self.supervisor().block(worker, true);
            return false;
        };
        let record = room.position();
        let mut writer = ChunkWriter::new(room.bytes());
        let mut failed = None;
        let mut large = false;
        while u64::from(head.count) < most {
            match writer.item(|out| feed.write_next(out)) {
                Ok(true) => head.count += 1,
                Ok(false) => {
                    large = true;
                    break;
                }
                Err(why) => {
                    failed = Some(why);
                    break;
                }
            }
        }
        let (len, overflow) = writer.finish(head);
        if head.count > 0 {
            let end = room.commit(crate::lane::order::CHUNK, len, head.count);
            post.note_chunk(record, len, end, head.count);
            self.handle(Event::Sent { job, worker, count: u64::from(head.count) });
        }
        if large {
            self.send_alone(job, worker, ChunkHead { count: 1, ..head }, overflow);
        }
        if let Some(why) = failed {
            self.unsendable(job, worker, why);
        }
        true
    }
}

impl Carriage {
    /// Items and results as the codec writes them.
    pub(crate) fn encoded(timed: bool) -> Self {
        Self { timed, by_value: false, in_parts: false }
    }
}
