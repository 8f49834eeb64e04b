//! The parent of a model.

use std::collections::VecDeque;
use std::ops::Range;

use super::*;
use crate::ids::Unit;

/// Uses its end as the driver does, in the same order.
pub(super) struct Parent {
    pub(super) end: ParentEnd,
    waker: ParentWaker,
    /// Records what the worker has really done.
    pub(super) log: Log,
    /// The orders without an answer.
    pub(super) open: VecDeque<Sent>,
    pub(super) answered: Unit,
    /// The units that a recall has taken back, until its `RESUME` order is answered.
    recalled: Option<Range<Unit>>,
    /// The values that have come back.
    pub(super) values: Vec<u8>,
    /// Whether the parent has noticed the worker's end.
    ended: bool,
}

/// An order without an answer.
pub(super) struct Sent {
    /// The unit after it.
    after: Unit,
    pub(super) record: Position,
    pub(super) items: Vec<u8>,
    end: Position,
}

impl Parent {
    pub(super) fn new(end: ParentEnd, waker: ParentWaker, log: Log) -> Self {
        let (open, values) = Default::default();
        Self { end, waker, log, open, answered: Unit::default(), recalled: None, values, ended: false }
    }

    /// Sends a chunk of these items, if there is room.
    pub(super) fn send(&mut self, items: &[u8]) -> bool {
        self.order(order::CHUNK, items, items.len() as u32)
    }

    /// Tells the worker to end, and waits until it does.
    pub(super) fn exit(&mut self) {
        assert!(self.order(order::EXIT, &[], 1));
        self.finish();
    }

    /// Recalls the units that the worker has not claimed. Returns the first of them.
    pub(super) fn recall(&mut self) -> Unit {
        let kept_up_to = self.end.recall(self.answered).expect("no worker writes this").kept_up_to;
        self.recalled = Some(kept_up_to..self.end.next_unit());
        assert!(self.order(order::RESUME, &[], 1), "its room was kept spare");
        kept_up_to
    }

    fn order(&mut self, tag: u8, items: &[u8], units: u32) -> bool {
        let after = self.end.next_unit() + units;
        let reservation = if tag == order::RESUME {
            self.end.reserve_for_resume()
        } else {
            self.end.reserve(items.len().max(1))
        };
        let Some(mut reservation) = reservation else { return false };
        let record = reservation.position();
        reservation.bytes()[..items.len()].copy_from_slice(items);
        let end = reservation.commit(tag, items.len(), units);
        self.open.push_back(Sent { after, record, items: items.to_vec(), end });
        true
    }

    /// Takes all replies that have arrived.
    pub(super) fn drain(&mut self) {
        let mut slot = Vec::new();
        while let Some(reply) = self.end.next_reply(&mut slot, 1).expect("no worker writes this") {
            if let Reply::Values { count, slots } = reply {
                assert_eq!((count, slots), (1, Slots::Alike(1)));
                self.values.push(slot[0]);
                slot.clear();
            }
            if let Some(recalled) = self.recalled.take_if(|recalled| recalled.start == self.answered) {
                let done = Reply::Record { tag: reply::DONE, len: 0 };
                assert_eq!(reply, done, "a unit was run that had been taken back");
                self.answered = recalled.end;
            }
            self.answered = self.answered + 1;
            while let Some(sent) = self.open.front().filter(|sent| !self.answered.is_before(sent.after)) {
                self.end.free_up_to(sent.end);
                self.open.pop_front();
            }
        }
        self.end.publish_read();
    }

    /// Wakes the worker, and sleeps if there is nothing to do, until half of the open units are done or the worker
    /// ends.
    pub(super) fn sleep(&mut self) {
        self.end.wake_worker();
        let open = self.end.next_unit() - self.answered;
        self.end.announce_sleep(self.answered + open.saturating_sub(1) / 2);
        full_fence();
        if !self.end.has_reply() {
            self.ended = self.waker.sleep();
        }
        self.end.announce_awake();
    }

    /// Waits until everything that was sent is answered, or the worker ends.
    pub(super) fn finish(&mut self) {
        self.wait_for(self.end.next_unit());
        self.end.wake_worker();
    }

    /// Waits until all units before this one are answered, or the worker ends.
    pub(super) fn wait_for(&mut self, unit: Unit) {
        self.drain();
        while self.answered.is_before(unit) && !self.ended {
            self.sleep();
            self.drain();
        }
    }
}
