//! The parent's end: sends orders, takes replies, and trusts nothing that the worker writes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::ring::{Checks, Consumer, Corrupt, Position, Producer, Received, Reservation, Slots};
use super::sync::{Half, futex};
use super::{
    Activity, ParentControlBlock, RECALL, WorkerControlBlock, asleep, full_fence, order, pace, reply,
};
use crate::ids::Unit;

/// The space that other orders leave for a `RESUME` order, in bytes: its header.
const SPARE: u32 = 8;

/// The parent's end of a lane.
#[derive(Debug)]
pub(crate) struct ParentEnd {
    orders: Producer,
    replies: Consumer,
    /// Values that were copied from a run, and for which the caller has not asked yet.
    leftover: Leftover,
    /// The number of units sent, which is also the number of the next one.
    sent: Unit,
    /// The position that was last stored in `read`.
    published: Position,
    pending_wake: PendingWake,
    /// The number of the last announced sleep.
    sleeps: u32,
    down: Half,
    up: Half,
}

/// The news for the worker since the parent last checked whether it sleeps.
#[derive(Debug, Default)]
struct PendingWake {
    orders: bool,
    space: bool,
}

/// A reply; its payload was appended to the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A kind of [`reply`].
    Record { tag: u8, len: usize },
    /// A part of this length, for which there was no memory.
    DiscardedPart { len: usize },
    /// The results of `count` tasks, in these slots.
    Values { count: usize, slots: Slots },
}

/// Values in slots, of which the next one begins at `at`.
#[derive(Debug)]
struct Leftover {
    bytes: Vec<u8>,
    at: usize,
    slots: Slots,
}

impl Leftover {
    const NONE: Self = Self { bytes: Vec::new(), at: 0, slots: Slots::Alike(0) };

    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Appends at most `at_most` of the values to `out`.
    fn take(&mut self, out: &mut Vec<u8>, at_most: usize) -> Reply {
        let (slot, left) = (self.slots.stride(), &self.bytes[self.at..]);
        let count = at_most.min(left.len() / slot);
        out.extend_from_slice(&left[..count * slot]);
        self.at += count * slot;
        Reply::Values { count, slots: self.slots }
    }
}

/// The units that a recall leaves to the worker: it will answer those before `kept_up_to`, and none of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recalled {
    pub(crate) kept_up_to: Unit,
}

impl ParentEnd {
    pub(super) fn new(down: Half, up: Half) -> Self {
        // SAFETY: the struct owns the halves and drops them together with the rings. Each end of the lane is made once,
        // so this is the only producer of orders, and the parent maps their half for writing.
        let (orders, replies) = unsafe {
            let orders = Producer::new(down.ring(), Checks::Number);
            (orders, Consumer::new(up.ring(), Checks::Payload))
        };
        Self {
            orders,
            replies,
            leftover: Leftover::NONE,
            published: Position::default(),
            sent: Unit::default(),
            pending_wake: PendingWake::default(),
            sleeps: 0,
            down,
            up,
        }
    }

    fn control(&self) -> &ParentControlBlock {
        // SAFETY: `down` is the half of orders, which begins with the parent's control block: see the layout in
        // `mod.rs`.
        unsafe { self.down.control_block() }
    }

    fn worker_control(&self) -> &WorkerControlBlock {
        // SAFETY: `up` is the half of replies, which begins with the worker's control block: see the layout in
        // `mod.rs`.
        unsafe { self.up.control_block() }
    }

    /// The number of the next unit.
    pub(crate) fn next_unit(&self) -> Unit {
        self.sent
    }

    /// How much of the ring of orders has memory.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn memory_for_orders(&self) -> u32 {
        self.orders.backed()
    }

    /// The longest order that can be sent in one piece.
    pub(crate) fn longest_order(&self) -> usize {
        self.orders.longest()
    }

    /// Whether there is memory to send an order of this length in one piece.
    #[inline]
    pub(crate) fn takes(&mut self, len: usize) -> bool {
        self.orders.takes(len + SPARE as usize)
    }

    /// Space for an order of at least `least` bytes, if there is any now.
    pub(crate) fn reserve(&mut self, least: usize) -> Option<OrderReservation<'_>> {
        if self.orders.reserve(least, SPARE).is_none() && !self.orders.grow_for(least, SPARE) {
            return None;
        }
        let reservation = self.orders.reserve(least, SPARE)?;
        Some(OrderReservation {
            reservation,
            sent: &mut self.sent,
            wake_pending: &mut self.pending_wake.orders,
        })
    }

    /// Space for the `RESUME` order. Other orders always leave it free, because recalled orders are freed only after
    /// `RESUME`.
    pub(crate) fn reserve_for_resume(&mut self) -> Option<OrderReservation<'_>> {
        let reservation = self.orders.reserve(0, 0)?;
        Some(OrderReservation {
            reservation,
            sent: &mut self.sent,
            wake_pending: &mut self.pending_wake.orders,
        })
    }

    /// Reads back the payload of an order that is not freed yet.
    pub(crate) fn sent_payload(&self, record: Position, len: usize) -> &[u8] {
        self.orders.written(record, len)
    }

    /// Frees the ring up to the end of an order that has been answered.
    pub(crate) fn free_up_to(&mut self, end: Position) {
        self.orders.free_up_to(end);
    }

    /// Takes the next reply, if there is one, and appends its payload to `out`. Takes at most `at_most` values of a
    /// run.
    #[inline]
    pub(crate) fn next_reply(&mut self, out: &mut Vec<u8>, at_most: usize) -> Result<Option<Reply>, Corrupt> {
        if !self.leftover.is_empty() {
            return Ok(Some(self.leftover.take(out, at_most)));
        }
        let start = out.len();
        Ok(match self.replies.take(out)? {
            None => None,
            Some(Received::Record { tag, len }) if (reply::READY..=reply::FOLD_FAILED).contains(&tag) => {
                Some(Reply::Record { tag, len })
            }
            Some(Received::Discarded { tag: reply::PART, len }) => Some(Reply::DiscardedPart { len }),
            // No other reply to a task is so long. A worker that loses another one is of no more use.
            Some(Received::Record { .. } | Received::Discarded { .. }) => return Err(Corrupt),
            Some(Received::Values { count, slots }) => {
                if count > at_most {
                    let at = start + at_most * slots.stride();
                    self.leftover = Leftover { bytes: out.split_off(at), at: 0, slots };
                }
                Some(Reply::Values { count: count.min(at_most), slots })
            }
        })
    }

    /// Whether a reply waits.
    #[inline]
    pub(crate) fn has_reply(&self) -> bool {
        !self.leftover.is_empty() || self.replies.is_ready()
    }

    /// Whether the parent has taken everything that a run contains by now, and the run may still grow. A caller that
    /// looked again at once would wait for the worker, value by value.
    #[inline]
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.leftover.is_empty() && self.replies.is_up_to_date()
    }

    /// Up to where the replies were read.
    pub(crate) fn read_up_to(&self) -> Position {
        self.replies.position()
    }

    /// Tells the worker up to where the replies were read, so that it can reuse their space.
    pub(crate) fn publish_read(&mut self) {
        let read = self.read_up_to();
        if read == self.published {
            return;
        }
        self.published = read;
        self.pending_wake.space = true;
        // SYNC: replies read (release). All copies up to this position are complete when the worker sees it.
        self.control().read.store(read.pack(), Ordering::Release);
    }

    /// Wakes the worker if it sleeps, and if there is news of the kind for which it waits.
    pub(crate) fn wake_worker(&mut self) {
        let PendingWake { orders, space } = std::mem::take(&mut self.pending_wake);
        if !orders && !space {
            return;
        }
        full_fence();
        match self.worker_control().asleep.load(Ordering::Relaxed) {
            asleep::NOT => {}
            asleep::FOR_ORDERS if !orders => {}
            _ => self.force_wake(),
        }
    }

    /// Whether the worker says that it can no longer wake the parent.
    pub(crate) fn has_lost_waker(&self) -> bool {
        self.worker_control().waker_lost.load(Ordering::Relaxed) != 0
    }

    /// Whether the worker says that it sleeps.
    pub(crate) fn worker_sleeps(&self) -> bool {
        self.worker_control().asleep.load(Ordering::Relaxed) != asleep::NOT
    }

    /// Wakes the worker, whether or not it says that it sleeps.
    pub(crate) fn force_wake(&self) {
        // SYNC: wake-up counted (release). A worker that remembers this count before it sleeps has announced that sleep
        // after the parent looked.
        self.control().wakeups.fetch_add(1, Ordering::Release);
        futex::wake_one(&self.control().wakeups);
    }

    /// Announces that the parent is about to sleep and must be woken when unit `wake_at` is done. The caller announces
    /// this on all lanes, fences once, and then checks all of them again.
    pub(crate) fn announce_sleep(&mut self, wake_at: Unit) {
        self.sleeps = self.sleeps.wrapping_add(1).max(1);
        self.control().wake_at.store(wake_at.number(), Ordering::Relaxed);
        self.control().sleep_id.store(self.sleeps, Ordering::Relaxed);
    }

    /// Announces that the parent is awake.
    pub(crate) fn announce_awake(&self) {
        self.control().sleep_id.store(0, Ordering::Relaxed);
    }

    /// Recalls the units that the worker has not claimed. `answered` is the first unit without an answer.
    pub(crate) fn recall(&mut self, answered: Unit) -> Result<Recalled, Corrupt> {
        let kept = self.worker_control().claim.fetch_or(RECALL, Ordering::AcqRel) & !RECALL;
        let kept_up_to = Unit::new(u32::try_from(kept).map_err(|_| Corrupt)?);
        // Orders other than chunks are not claimed, so the last claim may end before the last answer. It never ends
        // after the last unit that was sent.
        let open = self.sent - answered;
        let kept = kept_up_to - answered;
        match kept {
            _ if kept <= open => Ok(Recalled { kept_up_to }),
            _ if kept > u32::MAX / 2 => Ok(Recalled { kept_up_to: answered }),
            _ => Err(Corrupt),
        }
    }

    /// Whether the worker says that it last started this unit.
    pub(crate) fn is_running(&self, unit: Unit) -> bool {
        self.worker_control().started.load(Ordering::Acquire) == (unit + 1).number()
    }

    /// How many units the worker says that it has started after this one.
    pub(crate) fn started_after(&self, unit: Unit) -> u32 {
        Unit::new(self.worker_control().started.load(Ordering::Acquire)) - 1 - unit
    }

    /// Whether the worker says that it has started this unit, finished or not.
    pub(crate) fn has_started(&self, unit: Unit) -> bool {
        let latest = Unit::new(self.worker_control().started.load(Ordering::Acquire)) - 1;
        latest - unit < self.sent - unit
    }

    /// Whether the worker says that it has decoded the argument of this unit.
    pub(crate) fn has_decoded(&self, unit: Unit) -> bool {
        self.worker_control().decoded.load(Ordering::Acquire) == (unit + 1).number()
    }

    /// Whether the worker says that this unit has panicked. The reply about the panic may still come.
    pub(crate) fn has_panicked(&self, unit: Unit) -> bool {
        self.worker_control().panicked.load(Ordering::Acquire) == (unit + 1).number()
    }

    /// When the worker says that it started its last unit.
    pub(crate) fn started_at(&self) -> u64 {
        self.worker_control().started_at.load(Ordering::Relaxed)
    }

    /// The recent duration of a task of this function, as the worker reports it; 0 if it reports none, or has run
    /// another function since.
    pub(crate) fn pace_ns(&self, task: u32) -> u64 {
        pace::of(task, self.worker_control().pace.load(Ordering::Relaxed))
    }

    /// Sets by how many bytes the worker may have grown since its init when it is between tasks.
    pub(crate) fn limit_memory(&self, bytes: u64) {
        self.control().memory_limit.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes the worker says that it held after its init; 0 before that.
    pub(crate) fn baseline(&self) -> u64 {
        self.worker_control().baseline.load(Ordering::Relaxed)
    }

    /// By how many bytes the worker says that it had grown since then after its last task; the most there is if it
    /// could not tell.
    pub(crate) fn growth(&self) -> u64 {
        self.worker_control().growth.load(Ordering::Relaxed)
    }

    /// How long the worker says that it has spent on this activity.
    pub(crate) fn spent(&self, what: Activity) -> Duration {
        Duration::from_nanos(self.worker_control().spent.of(what).load(Ordering::Relaxed))
    }

    /// Sets how long the worker may spin before it sleeps.
    pub(crate) fn let_spin(&self, spin_ns: u32) {
        self.control().spin_ns.store(spin_ns, Ordering::Relaxed);
    }

    /// Tells a worker that cannot be killed to stop after its task.
    pub(crate) fn close(&mut self) {
        self.control().closed.store(1, Ordering::Release);
        self.pending_wake = PendingWake { orders: true, space: true };
        self.wake_worker();
    }
}

/// Space for one order.
#[derive(Debug)]
pub(crate) struct OrderReservation<'r> {
    reservation: Reservation<'r>,
    sent: &'r mut Unit,
    wake_pending: &'r mut bool,
}

impl OrderReservation<'_> {
    /// The payload, to be filled from its start.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        self.reservation.bytes()
    }

    /// Where the order begins.
    pub(crate) fn position(&self) -> Position {
        self.reservation.position()
    }

    /// Sends the first `len` bytes as an order of this many units, and returns its end.
    pub(crate) fn commit(self, tag: u8, len: usize, units: u32) -> Position {
        debug_assert!((order::CHUNK..=order::CONSTANT).contains(&tag));
        *self.sent = *self.sent + units;
        *self.wake_pending = true;
        self.reservation.commit(tag, len)
    }
}
