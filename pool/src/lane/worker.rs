//! The worker's end: takes orders in place, sends replies.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use super::memory::Access;
use super::ring::{Checks, Consumer, Corrupt, Position, Producer, WORD, padded};
use super::spin::Spinner;
use super::sync::{Half, ParentWaker, futex};
use super::{
    Activity, LEAST_PART, PART_BYTES, ParentControlBlock, RECALL, WorkerControlBlock, asleep, full_fence,
    reply,
};
use crate::sys::clock::now_ns;
use crate::sys::lifeline;

/// The worker's end of a lane.
#[derive(Debug)]
pub(crate) struct WorkerEnd {
    orders: Consumer,
    replies: Producer,
    /// The number of the unit that comes next.
    unit: u32,
    /// Set while a recall is being answered: chunks are skipped until the `Resume` order.
    recalled: bool,
    /// The last sleep of the parent that this worker rang for.
    woken_sleep: u32,
    clock: Clock,
    spinner: Spinner,
    /// Where replies are made; its memory is used again.
    draft: Vec<u8>,
    waker: ParentWaker,
    control: ControlBlocks,
}

/// How long a worker works before it reads the clock: reading it costs as much as a small task.
const LAP_NS: u64 = 50_000;

/// What the worker knows of its time.
#[derive(Debug, Default)]
struct Clock {
    /// When it was read last.
    read_at: u64,
    /// Tasks done since.
    tasks: u32,
    /// What a task has been taking lately; 0 when that is not known.
    pace_ns: u64,
}

/// Both control blocks, as the worker sees them.
#[derive(Debug)]
struct ControlBlocks {
    down: Half,
    up: Half,
}

impl ControlBlocks {
    fn parent(&self) -> &ParentControlBlock {
        // SAFETY: the orders' half begins with the parent's control block.
        unsafe { self.down.control_block() }
    }

    fn own(&self) -> &WorkerControlBlock {
        // SAFETY: the replies' half begins with the worker's control block.
        unsafe { self.up.control_block() }
    }

    /// Notes what the time since the clock was read last was spent on, and what a task took.
    fn spend(&self, clock: &mut Clock, what: Activity) {
        let now = now_ns();
        let took = now.saturating_sub(clock.read_at);
        clock.read_at = now;
        // Only the worker writes here, so load and store need not be one.
        let word = self.own().spent.of(what);
        word.store(word.load(Ordering::Relaxed).wrapping_add(took), Ordering::Relaxed);
        if let Some(pace_ns) = took.checked_div(u64::from(std::mem::take(&mut clock.tasks))) {
            clock.pace_ns = pace_ns.max(1);
            self.own().pace.store(clock.pace_ns, Ordering::Relaxed);
        }
    }
}

/// An order, read in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'l> {
    pub(crate) tag: u8,
    pub(crate) payload: &'l [u8],
}

/// What a worker needs while it is in a chunk: the lane without the order that it reads.
#[derive(Debug)]
pub(crate) struct Responder<'l> {
    replies: &'l mut Producer,
    unit: &'l mut u32,
    recalled: &'l mut bool,
    woken_sleep: &'l mut u32,
    clock: &'l mut Clock,
    draft: &'l mut Vec<u8>,
    waker: &'l ParentWaker,
    control: &'l ControlBlocks,
}

impl WorkerEnd {
    /// Maps the lane. The files are closed when this returns; the mappings stay.
    pub(crate) fn new(down: &OwnedFd, up: &OwnedFd, waker: OwnedFd) -> io::Result<Self> {
        let (down, up) = (Half::map(down, Access::ReadOnly)?, Half::map(up, Access::ReadWrite)?);
        Ok(Self::over(down, up, ParentWaker::new(waker)?))
    }

    pub(super) fn over(down: Half, up: Half, waker: ParentWaker) -> Self {
        // SAFETY: the struct keeps the halves as long as the rings, and each ring has one producer and one consumer:
        // this end and the parent's.
        let (orders, replies) = unsafe {
            let orders = Consumer::new(down.ring(), Checks::Number);
            (orders, Producer::new(up.ring(), Checks::Payload))
        };
        Self {
            orders,
            replies,
            unit: 0,
            recalled: false,
            woken_sleep: 0,
            clock: Clock { read_at: now_ns(), ..Clock::default() },
            spinner: Spinner::default(),
            draft: Vec::new(),
            waker,
            control: ControlBlocks { down, up },
        }
    }

    /// Takes the next order and hands it to `serve`, together with what it needs to answer; waits while there is
    /// none. `Ok(None)`: the lane was closed.
    pub(crate) fn serve<R>(
        &mut self,
        serve: impl FnOnce(Order<'_>, &mut Responder<'_>) -> R,
    ) -> Result<Option<R>, Corrupt> {
        // What is ready may be a wrap, with the record behind it still to come.
        while self.orders.peek()?.is_none() {
            if !self.wait_for_order() {
                return Ok(None);
            }
        }
        if self.control.parent().closed.load(Ordering::Acquire) != 0 {
            return Ok(None);
        }
        let Self { orders, replies, unit, recalled, woken_sleep, clock, draft, waker, control, .. } = self;
        let record = orders.peek()?.ok_or(Corrupt)?;
        let len = record.len();
        // SAFETY: the parent writes to an order only before it is committed, and frees it only after it is answered;
        // the record is not used after `advance`.
        let order = Order { tag: record.tag(), payload: unsafe { record.in_place() } };
        let served = serve(
            order,
            &mut Responder { replies, unit, recalled, woken_sleep, clock, draft, waker, control },
        );
        orders.advance(len);
        Ok(Some(served))
    }

    /// Hands what is needed to reply outside of any order to `answer`.
    pub(crate) fn answer<R>(&mut self, answer: impl FnOnce(&mut Responder<'_>) -> R) -> R {
        let Self { replies, unit, recalled, woken_sleep, clock, draft, waker, control, .. } = self;
        answer(&mut Responder { replies, unit, recalled, woken_sleep, clock, draft, waker, control })
    }

    /// Waits for an order: spins a little, then sleeps. False when the lane was closed.
    fn wait_for_order(&mut self) -> bool {
        let parent = self.control.parent();
        let spin_ns = u64::from(parent.spin_ns.load(Ordering::Relaxed));
        self.control.spend(&mut self.clock, Activity::Working);
        let ready = || self.orders.is_ready();
        let closed = || parent.closed.load(Ordering::Acquire) != 0;
        if !self.spinner.spin_until(spin_ns, ready) {
            while !ready() && !closed() {
                sleep(&self.control, asleep::FOR_ORDERS, || ready() || closed());
            }
        }
        let ready = ready();
        self.control.spend(&mut self.clock, Activity::Waiting);
        ready
    }
}

/// Sleeps on the wakeups unless `ready` holds once the parent can see that this worker sleeps.
fn sleep(control: &ControlBlocks, what_for: u32, ready: impl Fn() -> bool) {
    let seen = control.parent().wakeups.load(Ordering::Relaxed);
    control.own().asleep.store(what_for, Ordering::Relaxed);
    full_fence();
    if !ready() {
        futex::wait(&control.parent().wakeups, seen, None);
        lifeline::end_if_orphaned();
    }
    control.own().asleep.store(asleep::NOT, Ordering::Relaxed);
}

impl Responder<'_> {
    /// Claims the next `n` units; false when the parent has taken back everything that was not claimed.
    pub(crate) fn claim(&mut self, n: u32) -> bool {
        if *self.recalled {
            return false;
        }
        let up_to = u64::from(self.unit.wrapping_add(n));
        let before = self.control.own().claim.swap(up_to, Ordering::AcqRel);
        *self.recalled = before & RECALL != 0;
        !*self.recalled
    }

    /// Skips units that were taken back.
    pub(crate) fn skip(&mut self, n: u32) {
        *self.unit = self.unit.wrapping_add(n);
    }

    /// Answers a recall: chunks after the unit that is being served are run again.
    pub(crate) fn resume_after_this(&mut self) {
        *self.recalled = false;
        self.control.own().claim.store(u64::from(self.unit.wrapping_add(1)), Ordering::Release);
    }

    /// Notes that the next unit is being started. What is noted outlives the process.
    #[inline]
    pub(crate) fn start_unit(&mut self) {
        self.control.own().started.store(self.unit.wrapping_add(1), Ordering::Release);
    }

    /// Notes that its argument is decoded: what ends the worker from here on is not the argument's bytes.
    #[inline]
    pub(crate) fn note_decoded(&mut self) {
        self.control.own().decoded.store(self.unit.wrapping_add(1), Ordering::Release);
    }

    /// Notes that the unit that is at work has panicked: what comes yet is to tell of that.
    pub(crate) fn note_panicked(&self) {
        self.control.own().panicked.store(self.unit.wrapping_add(1), Ordering::Release);
    }

    /// Notes when the next unit is being started, for the parent's time limits; to be called before it is.
    pub(crate) fn stamp(&mut self) {
        self.control.own().started_at.store(now_ns(), Ordering::Relaxed);
    }

    /// How many bytes the worker may hold between tasks, over what it held after its init; none for any number.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        Some(self.control.parent().memory_limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    /// Notes how many bytes the worker held after its init.
    pub(crate) fn note_baseline(&self, bytes: u64) {
        self.control.own().baseline.store(bytes.max(1), Ordering::Relaxed);
    }

    /// Notes how many bytes more it holds now.
    pub(crate) fn note_growth(&self, bytes: u64) {
        self.control.own().growth.store(bytes, Ordering::Relaxed);
    }

    /// Takes no more tasks: does to itself what a recall does, until the parent has done the same.
    pub(crate) fn stop_claiming(&mut self) {
        self.recall_itself();
        self.notify();
    }

    fn recall_itself(&mut self) {
        self.control.own().claim.fetch_or(RECALL, Ordering::AcqRel);
        *self.recalled = true;
    }

    /// So many tasks are done.
    #[inline]
    pub(crate) fn count(&mut self, tasks: u32) {
        self.clock.tasks += tasks;
        if u64::from(self.clock.tasks).saturating_mul(self.clock.pace_ns.max(1)) >= LAP_NS
            || self.clock.pace_ns == 0
        {
            self.spend(Activity::Working);
        }
    }

    /// What a task has been taking lately, in nanoseconds; 0 when that is not known.
    pub(crate) fn pace_ns(&self) -> u64 {
        self.clock.pace_ns
    }

    /// Notes what the time since the last note was spent on.
    pub(crate) fn spend(&mut self, what: Activity) {
        self.control.spend(self.clock, what);
    }

    /// Whether the parent told this worker to stop.
    pub(crate) fn is_closed(&self) -> bool {
        self.control.parent().closed.load(Ordering::Acquire) != 0
    }

    /// Sends a task's value, which `write` gives: in a run, or in parts. As for [`reply`](Self::reply), an error leaves
    /// nothing behind.
    #[inline]
    pub(crate) fn value<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.draft(write, |lane, value| match value.len() {
            len @ ..=PART_BYTES if lane.takes(len) => lane.push(value),
            _ => lane.send_large(reply::LARGE_VALUE, value),
        })
    }

    /// Sends a reply that `write` fills; `tag` when it fits in one record, `large` behind its parts when not. An error of
    /// `write` leaves nothing behind.
    #[inline]
    pub(crate) fn reply<E>(
        &mut self,
        tag: u8,
        large: u8,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.draft(write, |lane, payload| match payload.len() {
            len @ ..=PART_BYTES if tag == large || lane.takes(len) => lane.send(tag, payload),
            _ => lane.send_large(large, payload),
        })
    }

    /// Whether a reply of this length can be sent in one piece: there is memory for it.
    #[inline]
    pub(crate) fn takes(&mut self, len: usize) -> bool {
        self.replies.takes(len + 2 * WORD as usize)
    }

    /// A reply is filled in memory that only this process has, and gets its digest there: what has gone wild in the lane
    /// by the time that it is sent does not pass for its value.
    #[inline]
    fn draft<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        send: impl FnOnce(&mut Self, &[u8]),
    ) -> Result<(), E> {
        let mut draft = std::mem::take(self.draft);
        draft.clear();
        write(&mut draft)?;
        send(self, &draft);
        // The memory of a large one is not kept.
        if draft.capacity() <= 2 * PART_BYTES {
            *self.draft = draft;
        }
        Ok(())
    }

    /// A unit is answered: the next one comes.
    #[inline]
    pub(crate) fn finish_unit(&mut self) {
        *self.unit = self.unit.wrapping_add(1);
    }

    /// Wakes the parent if it sleeps and waits for what is done by now. To be called at the end of each claim.
    pub(crate) fn notify_if_awaited(&mut self) {
        full_fence();
        let parent = self.control.parent();
        let sleep = parent.sleep_id.load(Ordering::Relaxed);
        if sleep != 0 && sleep != *self.woken_sleep {
            let ahead = self.unit.wrapping_sub(1).wrapping_sub(parent.wake_at.load(Ordering::Relaxed));
            if ahead <= u32::MAX / 2 {
                self.wake_parent(sleep);
            }
        }
    }

    /// Wakes the parent if it sleeps, whatever it waits for.
    pub(crate) fn notify(&mut self) {
        full_fence();
        let sleep = self.control.parent().sleep_id.load(Ordering::Relaxed);
        if sleep != 0 && sleep != *self.woken_sleep {
            self.wake_parent(sleep);
        }
    }

    #[cold]
    fn wake_parent(&mut self, sleep: u32) {
        *self.woken_sleep = sleep;
        if !self.waker.wake() {
            // The parent finds that when it looks around. A worker that has its descriptors takes this one's place.
            self.control.own().waker_lost.store(1, Ordering::Relaxed);
            self.recall_itself();
        }
    }

    #[inline]
    fn has_space(&mut self, least: usize) -> bool {
        self.replies.reserve(least, 0).is_some() || {
            self.learn_read();
            self.replies.reserve(least, 0).is_some() || self.replies.grow_for(least, 0)
        }
    }

    fn learn_read(&mut self) {
        // SYNC: replies read. What the parent copied out before it published this place may be overwritten.
        self.replies.free_up_to(Position::unpack(self.control.parent().read.load(Ordering::Acquire)));
    }

    #[cold]
    fn wait_for_space(&mut self, least: usize) {
        loop {
            // Read before the look: what the parent publishes after it ends the sleep.
            let read = self.control.parent().read.load(Ordering::Acquire);
            if self.has_space(least) {
                return;
            }
            self.notify();
            sleep(self.control, asleep::FOR_SPACE, || {
                self.control.parent().read.load(Ordering::Acquire) != read
            });
        }
    }

    #[cold]
    fn send_large(&mut self, tag: u8, bytes: &[u8]) {
        self.send(reply::ANNOUNCED, &(bytes.len() as u64).to_le_bytes());
        let part_bytes = if self.takes(PART_BYTES) { PART_BYTES } else { LEAST_PART };
        for part in bytes.chunks(part_bytes) {
            self.send(reply::PART, part);
        }
        self.send(tag, &[]);
    }

    /// Sends a task's value of no more than [`PART_BYTES`] that lies in memory which only this process has.
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) {
        if !self.replies.push(value) {
            self.wait_for_space(WORD as usize + padded(value.len()));
            let pushed = self.replies.push(value);
            assert!(pushed, "room was there, and only this side fills it");
        }
    }

    #[inline]
    fn send(&mut self, tag: u8, bytes: &[u8]) {
        if !self.has_space(bytes.len()) {
            self.wait_for_space(bytes.len());
        }
        let reservation =
            self.replies.reserve(bytes.len(), 0).expect("room was there, and only this side fills it");
        reservation.send(tag, bytes);
    }
}
