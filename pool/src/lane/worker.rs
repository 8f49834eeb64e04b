//! The worker's end: reads orders in place, sends replies.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::memory::Access;
use super::ring::{Checks, Consumer, Corrupt, Position, Producer, WORD, padded};
use super::spin::Spinner;
use super::sync::{Half, ParentWaker, futex};
use super::{
    Activity, LEAST_PART, PART_BYTES, ParentControlBlock, RECALL, WorkerControlBlock, asleep, full_fence,
    reply,
};
use crate::sys::clock::now_ns;
use crate::sys::passed::Passed;
use crate::sys::{heap, lifeline, named};

/// The worker's end of a lane.
#[derive(Debug)]
pub(crate) struct WorkerEnd {
    orders: Consumer,
    replies: Producer,
    /// The number of the next unit.
    unit: u32,
    /// Set from the recall to the `RESUME` order. Meanwhile chunks are skipped.
    recalled: bool,
    /// The number of the parent's last sleep that this worker ended.
    woken_sleep: u32,
    clock: Clock,
    spinner: Spinner,
    /// The buffer in which replies are encoded, kept for reuse.
    draft: Vec<u8>,
    spare: Spare,
    waker: ParentWaker,
    control: ControlBlocks,
}

/// From this length on, an order or a reply leaves memory behind that is worth giving back: in the ring, in buffers,
/// and in the allocator.
const LARGE: usize = 256 << 10;

/// For how long memory for large messages is kept although none has come: a worker that gets one after another reuses
/// it. Taking it anew costs about as much as a copy of the message. No model waits that long.
const SPARE_NS: u64 = if cfg!(all(loom, test)) { 1 << 62 } else { 100_000_000 };

/// The memory that large messages, or many small replies, have left behind.
#[derive(Debug, Default)]
struct Spare {
    /// There is some, as far as is known.
    is_there: bool,
    /// Some of it may be in buffers and in the allocator, not only in the ring.
    in_heap: bool,
    /// When it was last needed, or could last not be given back.
    since: u64,
    /// How often it could not.
    attempts: u32,
}

impl Spare {
    /// Notes that a large message has come or gone.
    fn note_large(&mut self, now: u64) {
        *self = Self { is_there: true, in_heap: true, since: now, attempts: 0 };
    }

    /// Notes that much of the ring was needed.
    fn note_ring(&mut self, now: u64) {
        *self = Self { is_there: true, in_heap: self.in_heap, since: now, attempts: 0 };
    }

    /// In how many nanoseconds it should be given back, if there is any. Attempts become rarer: up to
    /// three seconds apart.
    fn due_in(&self, now: u64) -> Option<u64> {
        let due = self.since.saturating_add(SPARE_NS << self.attempts.min(5));
        self.is_there.then(|| due.saturating_sub(now))
    }
}

/// How long a worker works before it reads the clock again. A reading costs as much as a small task; at once in 50 µs,
/// that is less than one part in a thousand.
const LAP_NS: u64 = 50_000;

/// How the worker measures its time.
#[derive(Debug, Default)]
struct Clock {
    /// When the clock was last read.
    read_at: u64,
    /// How many tasks were done since then.
    tasks: u32,
    /// The recent duration of a task; 0 before it is known.
    pace_ns: u64,
}

/// Both halves, for their control blocks.
#[derive(Debug)]
struct ControlBlocks {
    down: Half,
    up: Half,
}

impl ControlBlocks {
    fn parent(&self) -> &ParentControlBlock {
        // SAFETY: `down` is the half of orders, which begins with the parent's control block: see the layout in
        // `mod.rs`.
        unsafe { self.down.control_block() }
    }

    fn own(&self) -> &WorkerControlBlock {
        // SAFETY: `up` is the half of replies, which begins with the worker's control block: see the layout in
        // `mod.rs`.
        unsafe { self.up.control_block() }
    }

    /// Adds the time since the clock was last read to this activity, and computes how long a task took.
    fn spend(&self, clock: &mut Clock, what: Activity) {
        let now = now_ns();
        let took = now.saturating_sub(clock.read_at);
        clock.read_at = now;
        // Only this thread writes here, so load and store need not be one atomic operation.
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

/// The means to answer while a worker serves an order: its end of the lane, without the order, which is borrowed.
#[derive(Debug)]
pub(crate) struct Responder<'l> {
    replies: &'l mut Producer,
    unit: &'l mut u32,
    recalled: &'l mut bool,
    woken_sleep: &'l mut u32,
    clock: &'l mut Clock,
    draft: &'l mut Vec<u8>,
    spare: &'l mut Spare,
    waker: &'l ParentWaker,
    control: &'l ControlBlocks,
}

/// The parts from which the worker makes its end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerSide {
    pub(super) orders: Passed,
    pub(super) replies: Passed,
    /// The parent's eventfd.
    pub(super) waker: Passed,
}

impl WorkerSide {
    /// Maps the lane. The files are closed when this returns; the mappings stay.
    pub(crate) fn open(self) -> io::Result<WorkerEnd> {
        let Self { orders, replies, waker } = self;
        let (down, up) = (Half::map(orders, Access::ReadOnly)?, Half::map(replies, Access::ReadWrite)?);
        Ok(WorkerEnd::over(down, up, ParentWaker::new(waker.into_owned())?))
    }

    /// A copy of the descriptor that wakes the parent.
    pub(crate) fn waker(&self) -> io::Result<OwnedFd> {
        self.waker.as_fd().try_clone_to_owned().map_err(named("a copy of the eventfd"))
    }
}

impl WorkerEnd {
    pub(super) fn over(down: Half, up: Half, waker: ParentWaker) -> Self {
        // SAFETY: the struct owns the halves and drops them together with the rings. Each end of the lane is made once,
        // so this is the only producer of replies, and the worker maps their half for writing.
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
            spare: Spare::default(),
            waker,
            control: ControlBlocks { down, up },
        }
    }

    /// Waits for the next order and passes it to `serve`, with the means to answer. `Ok(None)` means that the lane was
    /// closed.
    pub(crate) fn serve<R>(
        &mut self,
        serve: impl FnOnce(Order<'_>, &mut Responder<'_>) -> R,
    ) -> Result<Option<R>, Corrupt> {
        // The loop is needed because a `WRAP` record may be ready before the record after it is.
        while self.orders.peek()?.is_none() {
            if !self.wait_for_order() {
                return Ok(None);
            }
        }
        if self.control.parent().closed.load(Ordering::Acquire) != 0 {
            return Ok(None);
        }
        let Self {
            orders, replies, unit, recalled, woken_sleep, clock, draft, spare, waker, control, ..
        } = self;
        let record = orders.peek()?.ok_or(Corrupt)?;
        let len = record.len();
        if len >= LARGE {
            spare.note_large(clock.read_at);
        }
        // SAFETY: the parent writes to a record before it commits it, and again only after it has read the reply that
        // frees it: the one to the last of its units, or `PART_TAKEN`. `serve` can use the payload only until it
        // returns, and sends that reply when it needs the payload no more: a task that borrows its argument has
        // returned by then.
        let order = Order { tag: record.tag(), payload: unsafe { record.in_place() } };
        let served = serve(
            order,
            &mut Responder { replies, unit, recalled, woken_sleep, clock, draft, spare, waker, control },
        );
        orders.advance(len);
        Ok(Some(served))
    }

    /// Passes the means to answer to `answer`, outside of any order.
    pub(crate) fn answer<R>(&mut self, answer: impl FnOnce(&mut Responder<'_>) -> R) -> R {
        let Self { replies, unit, recalled, woken_sleep, clock, draft, spare, waker, control, .. } = self;
        answer(&mut Responder { replies, unit, recalled, woken_sleep, clock, draft, spare, waker, control })
    }

    /// Waits for an order: spins a little, then sleeps. False if the lane was closed.
    fn wait_for_order(&mut self) -> bool {
        let spin_ns = u64::from(self.control.parent().spin_ns.load(Ordering::Relaxed));
        self.control.spend(&mut self.clock, Activity::Working);
        let now = self.clock.read_at;
        if self.replies.is_long() && (!self.spare.is_there || self.replies.is_past_hot()) {
            self.spare.note_ring(now);
        }
        if self.spare.due_in(now) == Some(0) {
            self.give_back();
        }
        if !self.spinner.spin_until(spin_ns, || self.orders.is_ready()) {
            self.sleep_for_order();
        }
        let ready = self.orders.is_ready();
        self.control.spend(&mut self.clock, Activity::Waiting);
        ready
    }

    /// Sleeps until there is an order, or the lane was closed. Gives memory back when it has slept for a while.
    fn sleep_for_order(&mut self) {
        loop {
            let Self { orders, control, spare, .. } = &*self;
            let over = || orders.is_ready() || control.parent().closed.load(Ordering::Acquire) != 0;
            if over() {
                return;
            }
            let limit = spare.due_in(now_ns());
            if limit == Some(0) {
                self.give_back();
                continue;
            }
            sleep(control, asleep::FOR_ORDERS, limit.map(Duration::from_nanos), over);
        }
    }

    /// Gives back what large messages have left behind, as far as it is free.
    #[cold]
    fn give_back(&mut self) {
        self.answer(|answer| answer.learn_read());
        self.replies.give_back();
        if std::mem::take(&mut self.spare.in_heap) {
            if self.draft.capacity() >= LARGE {
                self.draft = Vec::new();
            }
            heap::give_back();
        }
        // If the ring is still long, the parent has not read all replies yet.
        let attempts = self.spare.attempts + 1;
        self.spare = Spare { is_there: self.replies.is_long(), in_heap: false, since: now_ns(), attempts };
    }
}

/// Announces a sleep, and sleeps until the next wake-up, or for this time, unless `ready` holds.
fn sleep(control: &ControlBlocks, what_for: u32, limit: Option<Duration>, ready: impl Fn() -> bool) {
    // SYNC: wake-up counted (acquire). Read before the announcement, so that it does not include the wake-up for this
    // sleep.
    let seen = control.parent().wakeups.load(Ordering::Acquire);
    control.own().asleep.store(what_for, Ordering::Relaxed);
    full_fence();
    if !ready() {
        futex::wait(&control.parent().wakeups, seen, limit);
        lifeline::end_if_orphaned();
    }
    control.own().asleep.store(asleep::NOT, Ordering::Relaxed);
}

impl Responder<'_> {
    /// Claims the next `n` units. False if the parent has recalled them.
    pub(crate) fn claim(&mut self, n: u32) -> bool {
        if *self.recalled {
            return false;
        }
        let up_to = u64::from(self.unit.wrapping_add(n));
        let before = self.control.own().claim.swap(up_to, Ordering::AcqRel);
        *self.recalled = before & RECALL != 0;
        !*self.recalled
    }

    /// Skips units that were recalled.
    pub(crate) fn skip(&mut self, n: u32) {
        *self.unit = self.unit.wrapping_add(n);
    }

    /// Ends a recall: chunks after the unit that is being served are run again.
    pub(crate) fn resume_after_this(&mut self) {
        *self.recalled = false;
        self.control.own().claim.store(u64::from(self.unit.wrapping_add(1)), Ordering::Release);
    }

    /// Notes that the next unit starts. The note outlives this process.
    #[inline]
    pub(crate) fn start_unit(&mut self) {
        self.control.own().started.store(self.unit.wrapping_add(1), Ordering::Release);
    }

    /// Notes that the unit's argument is decoded: if the worker dies from now on, the argument's bytes are not to
    /// blame.
    #[inline]
    pub(crate) fn note_decoded(&mut self) {
        self.control.own().decoded.store(self.unit.wrapping_add(1), Ordering::Release);
    }

    /// Notes that the unit has panicked: only the reply about the panic is still to come.
    pub(crate) fn note_panicked(&self) {
        self.control.own().panicked.store(self.unit.wrapping_add(1), Ordering::Release);
    }

    /// Notes the time for the parent's time limits. Call it before the next unit starts.
    pub(crate) fn stamp(&mut self) {
        self.control.own().started_at.store(now_ns(), Ordering::Relaxed);
    }

    /// By how many bytes the worker may have grown since its init when it is between tasks; none for no limit.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        Some(self.control.parent().memory_limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    /// Notes how many bytes the worker held after its init.
    pub(crate) fn note_baseline(&self, bytes: u64) {
        self.control.own().baseline.store(bytes.max(1), Ordering::Relaxed);
    }

    /// Notes by how many bytes the worker has grown since then.
    pub(crate) fn note_growth(&self, bytes: u64) {
        self.control.own().growth.store(bytes, Ordering::Relaxed);
    }

    /// Makes the worker claim no more units: it recalls them from itself, and wakes the parent, which will recall them
    /// too.
    pub(crate) fn stop_claiming(&mut self) {
        self.recall_itself();
        self.notify();
    }

    fn recall_itself(&mut self) {
        self.control.own().claim.fetch_or(RECALL, Ordering::AcqRel);
        *self.recalled = true;
    }

    /// Counts tasks that are done.
    #[inline]
    pub(crate) fn count(&mut self, tasks: u32) {
        self.clock.tasks += tasks;
        if u64::from(self.clock.tasks).saturating_mul(self.clock.pace_ns.max(1)) >= LAP_NS
            || self.clock.pace_ns == 0
        {
            self.spend(Activity::Working);
        }
    }

    /// Forgets the duration of recent tasks: those that follow are others.
    pub(crate) fn forget_pace(&mut self) {
        self.clock.pace_ns = 0;
    }

    /// The recent duration of a task, in nanoseconds; 0 before it is known.
    pub(crate) fn pace_ns(&self) -> u64 {
        self.clock.pace_ns
    }

    /// When the clock was last read: at most a moment ago between tasks.
    pub(crate) fn clock_ns(&self) -> u64 {
        self.clock.read_at
    }

    /// Adds the time since the clock was last read to this activity.
    pub(crate) fn spend(&mut self, what: Activity) {
        self.control.spend(self.clock, what);
    }

    /// Whether the parent has told this worker to stop.
    pub(crate) fn is_closed(&self) -> bool {
        self.control.parent().closed.load(Ordering::Acquire) != 0
    }

    /// Sends the task's value that `write` encodes: in a run, or in parts. If `write` fails, sends nothing.
    #[inline]
    pub(crate) fn value<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.draft(write, |lane, value| match value.len() {
            len @ ..=PART_BYTES if lane.takes(len) => lane.push(value),
            _ => lane.send_large(reply::LARGE_VALUE, &[], value),
        })
    }

    /// Sends the value that `write` encodes, into which the results of the last `tasks` tasks are folded. If `write`
    /// fails, sends nothing.
    pub(crate) fn folded<E>(
        &mut self,
        tasks: u32,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let tasks = tasks.to_le_bytes();
        let with_tasks = |out: &mut Vec<u8>| {
            out.extend_from_slice(&tasks);
            write(out)
        };
        self.draft(with_tasks, |lane, payload| match payload.len() {
            len @ ..=PART_BYTES if lane.takes(len) => lane.send(reply::FOLDED, payload),
            _ => lane.send_large(reply::LARGE_FOLDED, &tasks, &payload[tasks.len()..]),
        })
    }

    /// Sends the reply that `write` encodes: as `tag` if it fits in one record, otherwise in parts with `large` after
    /// them. If `write` fails, sends nothing.
    #[inline]
    pub(crate) fn reply<E>(
        &mut self,
        tag: u8,
        large: u8,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.draft(write, |lane, payload| match payload.len() {
            len @ ..=PART_BYTES if tag == large || lane.takes(len) => lane.send(tag, payload),
            _ => lane.send_large(large, &[], payload),
        })
    }

    /// Whether a reply of this length fits in one record, given the available memory.
    #[inline]
    pub(crate) fn takes(&mut self, len: usize) -> bool {
        self.replies.takes(len + 2 * WORD as usize)
    }

    /// Encodes a reply in this process's private memory, from which the digest is made too. So a stray write of user
    /// code to the lane does not match the digest.
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
        // The memory of a large reply is not kept.
        if draft.capacity() <= 2 * PART_BYTES {
            *self.draft = draft;
        }
        Ok(())
    }

    /// Goes on to the next unit, now that this one is answered.
    #[inline]
    pub(crate) fn finish_unit(&mut self) {
        *self.unit = self.unit.wrapping_add(1);
    }

    /// Wakes the parent if it sleeps and the unit that it waits for is done. Call it at the end of each claim.
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
            // The parent finds this at its next check, and replaces the worker with one whose descriptors are intact.
            self.control.own().waker_lost.store(1, Ordering::Relaxed);
            self.recall_itself();
        }
    }

    #[inline]
    fn has_space(&mut self, least: usize) -> bool {
        (!self.replies.is_stale() && self.replies.reserve(least, 0).is_some()) || {
            self.learn_read();
            self.replies.reserve(least, 0).is_some() || self.replies.grow_for(least, 0)
        }
    }

    fn learn_read(&mut self) {
        // SYNC: replies read (acquire). The parent has copied everything before this position, so it may be
        // overwritten.
        self.replies.free_up_to(Position::unpack(self.control.parent().read.load(Ordering::Acquire)));
    }

    #[cold]
    fn wait_for_space(&mut self, least: usize) {
        loop {
            // Read before the check for space, so that anything that the parent publishes later ends the sleep.
            let read = self.control.parent().read.load(Ordering::Acquire);
            if self.has_space(least) {
                return;
            }
            self.notify();
            sleep(self.control, asleep::FOR_SPACE, None, || {
                self.control.parent().read.load(Ordering::Acquire) != read
            });
        }
    }

    #[cold]
    fn send_large(&mut self, tag: u8, end: &[u8], bytes: &[u8]) {
        self.spare.note_large(self.clock.read_at);
        self.send(reply::ANNOUNCED, &(bytes.len() as u64).to_le_bytes());
        let part_bytes = if self.takes(PART_BYTES) { PART_BYTES } else { LEAST_PART };
        for part in bytes.chunks(part_bytes) {
            self.send(reply::PART, part);
        }
        self.send(tag, end);
    }

    /// Sends a task's value of at most [`PART_BYTES`] from this process's private memory.
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) {
        if !self.replies.push(value) {
            self.wait_for_space(WORD as usize + padded(value.len()));
            let pushed = self.replies.push(value);
            assert!(pushed, "space was there, and only this side fills it");
        }
    }

    #[inline]
    fn send(&mut self, tag: u8, bytes: &[u8]) {
        if !self.has_space(bytes.len()) {
            self.wait_for_space(bytes.len());
        }
        let reservation =
            self.replies.reserve(bytes.len(), 0).expect("space was there, and only this side fills it");
        reservation.send(tag, bytes);
    }
}
