//! The worker's end: reads orders in place, sends replies.

mod clock;
mod control;
mod replies;
mod responder;
mod spare;

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ring::{Checks, Consumer, Corrupt, Producer};
use super::spin::Spinner;
use super::sync::{Half, ParentWaker};
use super::{Activity, HALF_BYTES, asleep};
use crate::sys::clock::now_ns;
use crate::sys::heap;
use crate::sys::mapping::{Access, SentMemory};
use crate::sys::waker::{self, SentWaker};

use control::ControlBlocks;
use responder::ReplyState;
use spare::LARGE;

pub(crate) use responder::Responder;

/// The parts from which the worker makes its end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerSide {
    pub(super) orders: SentMemory,
    pub(super) replies: SentMemory,
    pub(super) waker: SentWaker,
}

impl WorkerSide {
    /// Maps the lane. Its files are closed when this returns; the mappings stay.
    #[allow(clippy::useless_conversion, reason = "in a model it is another type")]
    pub(crate) fn open(self) -> io::Result<WorkerEnd> {
        let Self { orders, replies, waker } = self;
        let down = Half::over(orders.map(HALF_BYTES, Access::ReadOnly)?);
        let up = Half::over(replies.map(HALF_BYTES, Access::ReadWrite)?);
        Ok(WorkerEnd::over(down, up, ParentWaker::from(waker.open()?)))
    }

    /// Another means to wake the parent.
    pub(crate) fn waker(&self) -> io::Result<waker::ParentWaker> {
        self.waker.copy()
    }
}

/// The worker's end of a lane.
#[derive(Debug)]
pub(crate) struct WorkerEnd {
    orders: Consumer,
    spinner: Spinner,
    state: ReplyState,
}

/// An order, read in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'l> {
    pub(crate) tag: u8,
    pub(crate) payload: &'l [u8],
}

impl WorkerEnd {
    pub(super) fn over(down: Half, up: Half, waker: ParentWaker) -> Self {
        // SAFETY: the struct owns the halves and drops them together with the rings. Each end of the lane is made once,
        // so this is the only producer of replies, and the worker maps their half for writing.
        let (orders, replies) = unsafe {
            let orders = Consumer::new(down.ring(), Checks::Number);
            (orders, Producer::new(up.ring(), Checks::Payload))
        };
        let state = ReplyState::new(replies, waker, ControlBlocks::new(down, up));
        Self { orders, spinner: Spinner::default(), state }
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
        if self.is_closed() {
            return Ok(None);
        }
        let Self { orders, state, .. } = self;
        let record = orders.peek()?.ok_or(Corrupt)?;
        let len = record.len();
        if len >= LARGE {
            state.spare.note_large(state.clock.read_at());
        }
        // SAFETY: the parent writes to a record before it commits it, and again only after it has read the reply that
        // frees it: the one to the last of its units, or `PART_TAKEN`. `serve` can use the payload only until it
        // returns, and sends that reply when it needs the payload no more: a task that borrows its argument has
        // returned by then.
        let order = Order { tag: record.tag(), payload: unsafe { record.in_place() } };
        let served = serve(order, &mut Responder { state });
        orders.advance(len);
        Ok(Some(served))
    }

    /// The means to answer, outside of any order.
    pub(crate) fn responder(&mut self) -> Responder<'_> {
        Responder { state: &mut self.state }
    }

    fn is_closed(&self) -> bool {
        self.state.control.parent().closed.load(Ordering::Acquire) != 0
    }

    /// Waits for an order: spins a little, then sleeps. False if the lane was closed.
    fn wait_for_order(&mut self) -> bool {
        let spin_ns = u64::from(self.state.control.parent().spin_ns.load(Ordering::Relaxed));
        self.responder().spend(Activity::Working);
        let ReplyState { replies, spare, clock, .. } = &mut self.state;
        let now = clock.read_at();
        if replies.is_long() && (!spare.is_there() || replies.is_past_hot()) {
            spare.note_ring(now);
        }
        if spare.due_in(now) == Some(0) {
            self.give_back();
        }
        if !self.spinner.spin_until(spin_ns, || self.orders.is_ready()) {
            self.sleep_for_order();
        }
        let ready = self.orders.is_ready();
        self.responder().spend(Activity::Waiting);
        ready
    }

    /// Sleeps until there is an order, or the lane was closed. Gives memory back when it has slept for a while.
    fn sleep_for_order(&mut self) {
        loop {
            let over = || self.orders.is_ready() || self.is_closed();
            if over() {
                return;
            }
            let limit = self.state.spare.due_in(now_ns());
            if limit == Some(0) {
                self.give_back();
                continue;
            }
            self.state.control.sleep(asleep::FOR_ORDERS, limit.map(Duration::from_nanos), over);
        }
    }

    /// Gives back what large messages have left behind, as far as it is free.
    #[cold]
    fn give_back(&mut self) {
        self.responder().learn_read();
        let ReplyState { replies, spare, draft, .. } = &mut self.state;
        replies.give_back();
        if spare.take_in_heap() {
            if draft.capacity() >= LARGE {
                *draft = Vec::new();
            }
            heap::give_back();
        }
        // If the ring is still long, the parent has not read all replies yet.
        spare.note_attempt(now_ns(), replies.is_long());
    }
}
