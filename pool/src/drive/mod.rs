//! The driver: carries out what the supervisor decides, and tells it what happens. Here the data plane (lanes, bytes
//! of items and results) and the control plane (starts, deaths, deadlines) meet.
//!
//! **Whoever waits, drives.** All state lies behind one mutex. A caller that waits takes it, moves what can be moved,
//! and gives it back before it runs user code or sleeps. Of several callers that find nothing to do, the first is the
//! *leader* and sleeps on the poll set (the bell, the workers' ends); the others, its *followers*, sleep on a condition
//! variable until somebody finds something for them, or the leader leaves and one of them leads. Whoever changes the
//! state looks for whom that is news, and wakes them.

mod parts;
mod slot;
mod state;
mod wait;
mod worker;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::ids::JobId;
use crate::supervise::{Event, Work};
use crate::sys::clock::now_ns;
use crate::sys::identity::Owner;
use crate::wire::{ChunkHead, ITEM_HEAD};
use crate::work::{ChunkWriter, Feed, Halt, Inbox, Plan};

pub(crate) use slot::JobSlot;
pub(crate) use state::{Awaits, ProfileDef, State, WorkerPolicy};
pub(crate) use wait::Waiter;

/// What a pool shares with its callers and its background driver.
pub(crate) struct Core {
    state: Mutex<State>,
    /// For followers.
    changed: Condvar,
    waiter: Arc<Waiter>,
    /// Whose the workers are.
    owner: Owner,
}

/// A chunk of at least so many tasks is written in private memory first: a lane's lines are the worker's, and one copy
/// fetches them faster than many small writes do.
const MANY: u64 = 16;

/// So many bytes make an order a large one: the rest of the chunk goes with the next, and the worker hears of it at once.
const LARGE: usize = 256 << 10;

/// Where chunks of many tasks are written.
#[derive(Default)]
struct Draft(Vec<u8>);

impl Draft {
    const BYTES: usize = 1 << 20;
    /// What lies in here is aligned as it will be in the lane.
    const ALIGNMENT: usize = 64;

    /// As much memory as there is in the lane, or as a draft has.
    fn area(&mut self, lane: &[u8]) -> &mut [u8] {
        self.0.resize(Self::BYTES, 0);
        let skew = (lane.as_ptr() as usize).wrapping_sub(self.0.as_ptr() as usize) % Self::ALIGNMENT;
        let len = lane.len().min(Self::BYTES - skew);
        &mut self.0[skew..skew + len]
    }
}

impl Core {
    pub(crate) fn new(state: State, waiter: Arc<Waiter>) -> Self {
        Self { state: Mutex::new(state), changed: Condvar::new(), waiter, owner: Owner::here() }
    }

    /// To be called first in whatever a user calls, and again when the user's code has run. A copy of the process has
    /// neither the workers nor their lanes, and who held the lock when it was made never gives it back there.
    ///
    /// # Errors
    /// [`Error::Forked`] in a copy of the process that has built the pool.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Error> {
        Ok(self.owner.check()?)
    }

    /// For ends, which have nobody to tell: whether this process has a part in the pool that could end.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.owner.is_here()
    }

    /// The state. No user code runs under this lock but `Serialize` impls, whose panics are caught, and the drops of items
    /// that are written but not yet sent; so what a poisoned lock guards is whole.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.lock_at(now_ns())
    }

    fn lock_at(&self, now: u64) -> MutexGuard<'_, State> {
        if let Err(forked) = self.check() {
            // Nothing should come here; what lies behind the lock would be memory that is not there.
            panic!("{forked}");
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.note_time(now);
        state
    }

    /// Changes the state, wakes those for whom that is news, and tells the program's subscriber of it.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.change_at(now_ns(), true, change)
    }

    /// The same, but leaves what there is to tell to the next change: for who holds a lock of another kind. A subscriber is
    /// the user's code, and may call the pool.
    pub(crate) fn change_silently<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.change_at(now_ns(), false, change)
    }

    fn change_at<R>(&self, now: u64, tells: bool, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock_at(now);
        let result = change(&mut state);
        state.ring_all();
        if state.leader_must_wake() {
            self.waiter.wake();
        }
        if state.followers_must_wake() {
            self.changed.notify_all();
        }
        let events = tells.then(|| state.take_events());
        drop(state);
        events.unwrap_or_default().tell();
        result
    }

    /// Opens a job. Its workers are started, its init orders sent, and what is encoded already. Tells nothing yet.
    pub(crate) fn open(&self, slot: Box<JobSlot>, plan: Plan, kept: Vec<Vec<u8>>) -> Result<JobId, Error> {
        self.change_silently(|state| {
            let is_encoded = !kept.is_empty();
            let job = state.open(slot, plan, kept)?;
            if is_encoded {
                state.drive();
            }
            Ok(job)
        })
    }

    /// Moves what can be moved: replies in, deaths and deadlines seen, items out. `taken` is how many results the
    /// caller has taken since the last turn, of how many bytes; since `watched` it has done nothing else. Says when it looked at the workers.
    pub(crate) fn turn(
        &self,
        job: JobId,
        taken: (u64, u64),
        watched: Option<u64>,
        feed: &mut dyn Feed,
        inbox: &mut Inbox,
    ) -> u64 {
        // Not when the lock is had: who holds it watches.
        let now = now_ns();
        let absence = watched.map(|from| Absence { from, limit: Duration::ZERO, until: now });
        self.change_at(now, true, |state| {
            state.leave_out(absence);
            state.taken(job, taken.0, taken.1);
            state.drive();
            state.feed(job, feed);
            state.take_inbox(job, inbox);
            state.watched_until()
        })
    }

    /// Sleeps until what is awaited may be there. Returns too early rather than too late; says until when the workers were
    /// watched.
    pub(crate) fn wait(&self, awaits: Awaits) -> u64 {
        let mut state = self.lock();
        if state.is_news_for(awaits) {
            return state.watched_until();
        }
        if state.is_led() {
            state.follow(awaits, true);
            let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.follow(awaits, false);
            return state.watched_until();
        }
        let from = state.watched_until();
        let sleep = state.lead(awaits);
        drop(state);
        let news = sleep.map(|sleep| self.waiter.sleep(sleep)).unwrap_or_default();
        let limit = sleep.map_or(Some(Duration::ZERO), |sleep| sleep.limit);
        let now = now_ns();
        let absence = limit.map(|limit| Absence { from, limit, until: now });
        let mut state = self.lock_at(now);
        state.stop_leading(news);
        state.leave_out(absence);
        if state.has_followers() {
            self.changed.notify_all();
        }
        state.watched_until()
    }

    /// The caller waits for this job no longer.
    pub(crate) fn close(&self, job: JobId) {
        self.change(|state| state.close(job));
    }

    /// Waits until no worker has a task of a closed job any more: each was answered, was taken back before it was begun,
    /// or its worker is gone. From then on nothing that was lent to them is used. Whoever comes here can't go on
    /// without knowing that, so a panic in here is the end.
    pub(crate) fn quiesce(&self, job: JobId) {
        struct NoWayOut;
        impl Drop for NoWayOut {
            fn drop(&mut self) {
                std::process::abort();
            }
        }
        let no_way_out = NoWayOut;
        self.drive_until(|state| !state.is_at_work_on(job));
        std::mem::forget(no_way_out);
    }

    /// Drives until the condition holds.
    pub(crate) fn drive_until(&self, mut done: impl FnMut(&mut State) -> bool) {
        loop {
            let (over, awaits) = self.change(|state| {
                state.drive();
                (done(state), state.next_change())
            });
            if over {
                return;
            }
            self.wait(awaits);
        }
    }
}

/// A time in which nobody looked at the workers, though it was meant to last no longer than this.
#[derive(Debug, Clone, Copy)]
struct Absence {
    from: u64,
    limit: Duration,
    until: u64,
}

impl Absence {
    /// One that lasts so much longer was none: the program was stopped.
    const OVERDUE: Duration = Duration::from_millis(500);

    fn was_standstill(&self) -> bool {
        Duration::from_nanos(self.until.saturating_sub(self.from)) > self.limit + Self::OVERDUE
    }
}

impl State {
    /// Sends items of the job as long as the supervisor grants chunks and items are in hand.
    fn feed(&mut self, job: JobId, feed: &mut dyn Feed) {
        while let Some(grant) = self.supervisor().grant(job) {
            let Work::Fresh { first, most, whole } = grant.work else {
                self.send_kept(job, grant);
                continue;
            };
            let buffered = feed.buffered();
            if buffered == 0 || (buffered < whole && !feed.is_last()) {
                break;
            }
            let count = most.min(buffered);
            // Several chunks that go together go whole.
            let torn = if feed.is_last() && count == buffered { 0 } else { count % whole.max(1) };
            self.send_fresh(job, grant.worker, first, count - torn, feed);
        }
        if feed.buffered() == 0 && feed.is_last() {
            self.end_input(job);
        }
        self.note_hunger(job, feed.buffered() > 0);
    }

    /// Writes a chunk of fresh items, or what goes into one order of it, into the worker's lane.
    fn send_fresh(&mut self, job: JobId, worker: usize, first: u64, most: u64, feed: &mut dyn Feed) {
        let Some((post, slot, draft)) = self.outlet(worker, job) else { return };
        let mut head = slot.head(first, 0);
        // What finds no room is copied twice more, so room is asked for, and items for the room.
        let item = slot.item_bytes.max(8) + ITEM_HEAD;
        let mut least = (ChunkHead::BYTES + item).min(post.lane.longest_order());
        let most = most.min((LARGE / item).max(1) as u64);
        // All of the chunk shall find room. Where there is no memory for that, what does not fit goes alone, in parts.
        if !post.lane.takes(ChunkHead::BYTES + item * most as usize) && !post.lane.takes(least) {
            least = ChunkHead::BYTES + ITEM_HEAD;
        }
        let room = if post.is_clear() { post.lane.reserve(least) } else { None };
        let Some(mut room) = room else {
            self.supervisor().block(worker, true);
            return;
        };
        let record = room.position();
        let lane = room.bytes();
        let drafted = most >= MANY;
        let area = if drafted { draft.area(lane) } else { &mut *lane };
        let mut writer = ChunkWriter::new(area);
        let (count, halt) = feed.write(most, &mut writer);
        head.count = count;
        let (len, overflow) = writer.finish(head);
        slot.item_bytes = overflow.len().max(len / (count as usize).max(1));
        if drafted {
            let area = draft.area(lane);
            lane[..len].copy_from_slice(&area[..len]);
        }
        if count > 0 {
            let end = room.commit(crate::lane::order::CHUNK, len, count);
            post.note_chunk(record, len, end, count);
            self.handle(Event::Sent { job, worker, count: u64::from(count) });
        }
        match halt {
            None => {}
            Some(Halt::Large) => {
                let head = ChunkHead { first: first + u64::from(count), count: 1, ..head };
                self.send_alone(job, worker, head, overflow);
            }
            Some(Halt::Failed(why)) => self.unsendable(job, worker, why),
        }
        // Last: what has come may end the job.
        if len >= LARGE {
            self.exchange(worker);
        }
    }
}
