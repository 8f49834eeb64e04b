//! The orders on their way to one worker: those that were sent and are not answered, and those that wait for space in
//! its lane.

use std::collections::VecDeque;
use std::ops::Range;

use crate::ids::Unit;
use crate::lane::{Corrupt, LEAST_PART, PART_BYTES, ParentEnd, Position, order};
use crate::observe::insights::WorkerInsights;
use crate::wire::{ChunkHead, ITEM_HEAD, Packing};
use crate::work::{Constant, LentItem};

/// The orders on their way to one worker.
#[derive(Default)]
pub(super) struct Outbox {
    sent: VecDeque<Sent>,
    /// Orders that found no space in the lane, oldest first.
    waiting: VecDeque<Waiting>,
    /// The first unit that is not answered.
    answered: Unit,
    /// The units that the last recall took back, until the worker answers the `RESUME` order at their end.
    recalled: Option<Range<Unit>>,
    /// A recall waits until all orders are in the lane.
    recall_wanted: bool,
    /// Counts the chunks, and the bytes of all orders.
    traffic: WorkerInsights,
}

/// An order that is not answered. A part has no units, nor has an order about a constant; the worker acknowledges it,
/// and that frees its space.
struct Sent {
    unit: Unit,
    units: u32,
    record: Position,
    len: usize,
    end: Position,
    /// The item of a chunk that was too large for one order.
    large: Option<Vec<u8>>,
}

/// An order that found no space in the lane. `out` is how many bytes of its value were sent in parts.
enum Waiting {
    /// It has one unit, or none.
    Other {
        tag: u8,
        payload: Vec<u8>,
        /// The value that follows the payload.
        constant: Option<Constant>,
        out: usize,
        units: u32,
    },
    /// A chunk of one item.
    Chunk { head: ChunkHead, item: Vec<u8>, out: usize },
}

impl Waiting {
    fn units(&self) -> u32 {
        match self {
            Self::Other { units, .. } => *units,
            Self::Chunk { .. } => 1,
        }
    }
}

/// Whether a lent item was sent.
pub(in crate::drive) enum SentLent {
    Now,
    /// There is no space in the lane now.
    Later,
    /// It can't be sent in one piece.
    Never,
}

impl Outbox {
    /// The first unit that is not answered.
    pub(super) fn answered(&self) -> Unit {
        self.answered
    }

    /// The number of orders that were sent and not answered.
    pub(super) fn unanswered(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn traffic(&self) -> WorkerInsights {
        self.traffic
    }

    /// Whether chunks can be written straight into the lane.
    pub(super) fn is_clear(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends an order other than a chunk, now or once there is space: a small one, and the value that follows it.
    pub(super) fn send(
        &mut self,
        lane: &mut ParentEnd,
        tag: u8,
        payload: &[u8],
        constant: Option<Constant>,
        units: u32,
    ) {
        let payload = payload.to_vec();
        self.waiting.push_back(Waiting::Other { tag, payload, constant, out: 0, units });
        self.flush(lane);
    }

    /// Whether a chunk of one item of this length, or its first part, finds space now.
    pub(super) fn has_space_for_item(&self, lane: &mut ParentEnd, len: usize) -> bool {
        let first = if goes_in_one_piece(lane, len) { ITEM_START + len } else { LEAST_PART };
        self.is_clear() && lane.reserve(first).is_some()
    }

    /// Sends a chunk of one encoded item, now or once there is space.
    pub(super) fn send_item(&mut self, lane: &mut ParentEnd, head: ChunkHead, item: Vec<u8>) {
        self.waiting.push_back(Waiting::Chunk { head, item, out: 0 });
        self.flush(lane);
    }

    /// Sends a chunk of one lent item.
    pub(super) fn send_lent(
        &mut self,
        lane: &mut ParentEnd,
        head: ChunkHead,
        item: &LentItem<'_>,
    ) -> SentLent {
        if !goes_in_one_piece(lane, item.most()) {
            return SentLent::Never;
        }
        if !self.is_clear() {
            return SentLent::Later;
        }
        let Some(mut reservation) = lane.reserve(ITEM_START + item.most()) else { return SentLent::Later };
        let (start, place) = reservation.bytes().split_at_mut(ITEM_START);
        let Ok(len) = item.encode_into(place) else { return SentLent::Never };
        start[..ChunkHead::BYTES].copy_from_slice(&head.to_bytes());
        start[ChunkHead::BYTES..].copy_from_slice(&(len as u32).to_le_bytes());
        let record = reservation.position();
        let end = reservation.commit(order::CHUNK, ITEM_START + len, 1);
        self.record_chunk(lane, record, ITEM_START + len, end, 1);
        SentLent::Now
    }

    /// Sends as many of the waiting orders as there is space for.
    pub(super) fn flush(&mut self, lane: &mut ParentEnd) {
        while let Some(next) = self.waiting.pop_front() {
            match next {
                Waiting::Other { tag, payload, constant, mut out, units } => {
                    let value = constant.as_deref().map_or(&[][..], Vec::as_slice);
                    let len = payload.len() + value.len();
                    let is_whole = out == 0 && (value.is_empty() || fits(lane, len));
                    let sent = if is_whole { len } else { payload.len() };
                    let is_next = is_whole || self.send_parts(lane, value, &mut out);
                    let reserved = if is_next { lane.reserve(sent.max(1)) } else { None };
                    let Some(mut reservation) = reserved else {
                        let waits = Waiting::Other { tag, payload, constant, out, units };
                        return self.waiting.push_front(waits);
                    };
                    let place = reservation.bytes();
                    place[..payload.len()].copy_from_slice(&payload);
                    if is_whole {
                        place[payload.len()..len].copy_from_slice(value);
                    }
                    let record = reservation.position();
                    let end = reservation.commit(tag, sent, units);
                    self.push_sent(lane, record, sent, end, units, None);
                }
                Waiting::Chunk { head, item, out: 0 } if goes_in_one_piece(lane, item.len()) => {
                    let len = ITEM_START + item.len();
                    let Some(mut reservation) = lane.reserve(len) else {
                        return self.waiting.push_front(Waiting::Chunk { head, item, out: 0 });
                    };
                    let payload = reservation.bytes();
                    payload[..ChunkHead::BYTES].copy_from_slice(&head.to_bytes());
                    payload[ChunkHead::BYTES..ITEM_START].copy_from_slice(&(item.len() as u32).to_le_bytes());
                    payload[ITEM_START..len].copy_from_slice(&item);
                    let record = reservation.position();
                    let end = reservation.commit(order::CHUNK, len, 1);
                    self.record_chunk(lane, record, len, end, 1);
                }
                Waiting::Chunk { head, item, mut out } => {
                    let are_out = self.send_parts(lane, &item, &mut out);
                    let reserved = if are_out { lane.reserve(ChunkHead::BYTES) } else { None };
                    let Some(mut reservation) = reserved else {
                        return self.waiting.push_front(Waiting::Chunk { head, item, out });
                    };
                    let head = ChunkHead { packing: Packing::InParts, ..head };
                    reservation.bytes()[..ChunkHead::BYTES].copy_from_slice(&head.to_bytes());
                    let record = reservation.position();
                    let end = reservation.commit(order::CHUNK, ChunkHead::BYTES, 1);
                    self.count_chunk(1);
                    self.traffic.bytes_sent += item.len() as u64;
                    self.push_sent(lane, record, ChunkHead::BYTES, end, 1, Some(item));
                }
            }
        }
    }

    /// Sends the parts of a value from the byte `out` on. False if there is no space for the next one.
    fn send_parts(&mut self, lane: &mut ParentEnd, value: &[u8], out: &mut usize) -> bool {
        let part_bytes = if lane.takes(PART_BYTES) { PART_BYTES } else { LEAST_PART };
        while *out < value.len() {
            let part = &value[*out..value.len().min(*out + part_bytes)];
            let Some(mut reservation) = lane.reserve(part.len()) else { return false };
            reservation.bytes()[..part.len()].copy_from_slice(part);
            let record = reservation.position();
            let end = reservation.commit(order::PART, part.len(), 0);
            *out += part.len();
            self.push_sent(lane, record, 0, end, 0, None);
        }
        true
    }

    fn push_sent(
        &mut self,
        lane: &ParentEnd,
        record: Position,
        len: usize,
        end: Position,
        units: u32,
        large: Option<Vec<u8>>,
    ) {
        let unit = lane.next_unit() - units;
        self.traffic.bytes_sent += len as u64;
        self.sent.push_back(Sent { unit, units, record, len, end, large });
    }

    /// Records a chunk that was written straight into the lane.
    pub(super) fn record_chunk(
        &mut self,
        lane: &ParentEnd,
        record: Position,
        len: usize,
        end: Position,
        count: u32,
    ) {
        self.count_chunk(u64::from(count));
        self.push_sent(lane, record, len, end, count, None);
    }

    fn count_chunk(&mut self, tasks: u64) {
        self.traffic.chunks += 1;
        self.traffic.largest_chunk = self.traffic.largest_chunk.max(tasks);
    }

    /// Frees the orders before this unit: they were answered or recalled.
    pub(super) fn free_before(&mut self, lane: &mut ParentEnd, unit: Unit) {
        self.answered = unit;
        if self.recalled.as_ref().is_some_and(|recalled| recalled.end.is_before(unit)) {
            self.recalled = None;
        }
        while let Some(first) = self.sent.front() {
            if unit.is_before(first.unit + first.units.max(1)) {
                return;
            }
            lane.free_up_to(first.end);
            self.sent.pop_front();
        }
    }

    /// Frees the first part that was sent, which the worker acknowledges. All orders before it must be answered or
    /// recalled.
    pub(super) fn free_part(&mut self, lane: &mut ParentEnd) -> Result<(), Corrupt> {
        let place = self.sent.iter().position(|sent| sent.units == 0).ok_or(Corrupt)?;
        let is_recalled = |recalled: &Range<Unit>| !self.answered.is_before(recalled.start);
        if place > 0 && !self.recalled.as_ref().is_some_and(is_recalled) {
            return Err(Corrupt);
        }
        let part = self.sent.drain(..=place).next_back().ok_or(Corrupt)?;
        lane.free_up_to(part.end);
        Ok(())
    }

    /// Recalls the units that the worker has not claimed, and returns the first of them. They will not be answered, and
    /// the `RESUME` order must be sent next. Returns nothing while an order waits or is half sent, because orders must
    /// not overtake each other: try again once [`is_recall_due`](Self::is_recall_due).
    pub(super) fn recall(&mut self, lane: &mut ParentEnd) -> Result<Option<Unit>, Corrupt> {
        self.recall_wanted = !self.is_clear();
        if self.recall_wanted {
            return Ok(None);
        }
        let kept_up_to = lane.recall(self.answered)?.kept_up_to;
        self.recalled = Some(kept_up_to..lane.next_unit());
        Ok(Some(kept_up_to))
    }

    /// Whether a recall has waited, and can be made now.
    pub(super) fn is_recall_due(&self) -> bool {
        self.recall_wanted && self.is_clear()
    }

    /// Sends the order that ends a recall.
    pub(super) fn resume(&mut self, lane: &mut ParentEnd) {
        let reservation = lane.reserve_for_resume().expect("other orders spare its space");
        let record = reservation.position();
        let end = reservation.commit(order::RESUME, 0, 1);
        self.push_sent(lane, record, 0, end, 1, None);
    }

    /// Takes the items of `count` tasks from this unit on out of the orders that were sent or wait; these tasks are not
    /// asked for again. Passes each item to `take`, with its place among them. An item in the lane is copied, and left
    /// out if there is no memory for that.
    pub(super) fn take_items(
        &mut self,
        lane: &ParentEnd,
        unit: Unit,
        count: u64,
        mut take: impl FnMut(u64, Vec<u8>),
    ) {
        let mut place = 0;
        // Consecutive units may be in several orders.
        for sent in &mut self.sent {
            let skipped = unit + place as u32 - sent.unit;
            if skipped >= sent.units || place == count {
                continue;
            }
            if let Some(large) = sent.large.take() {
                take(place, large);
                place += 1;
            } else if let Some((_, items)) = ChunkHead::split(lane.sent_payload(sent.record, sent.len)) {
                let left = (count - place).min(u64::from(sent.units - skipped));
                for item in items.skip(skipped as usize).take(left as usize) {
                    copied(item).into_iter().for_each(|item| take(place, item));
                    place += 1;
                }
            }
        }
        let mut at = lane.next_unit();
        for waiting in &mut self.waiting {
            let units = waiting.units();
            // A waiting chunk has exactly one item.
            if let Waiting::Chunk { item, .. } = waiting
                && at == unit + place as u32
                && place < count
            {
                take(place, std::mem::take(item));
                place += 1;
            }
            at = at + units;
        }
    }
}

/// Where the item begins in a chunk of one item.
const ITEM_START: usize = ChunkHead::BYTES + ITEM_HEAD;

/// Whether the item is short enough for one order, and there is memory to send it in one.
fn goes_in_one_piece(lane: &mut ParentEnd, item: usize) -> bool {
    fits(lane, ITEM_START + item)
}

/// Whether an order of this length may be sent in one piece, and there is memory for that.
fn fits(lane: &mut ParentEnd, len: usize) -> bool {
    len <= lane.longest_order().min(PART_BYTES) && lane.takes(len)
}

/// A copy, if there is memory for it.
fn copied(item: &[u8]) -> Option<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(item.len()).ok()?;
    copy.extend_from_slice(item);
    Some(copy)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::lane;
    use crate::sys::poll::PollSet;

    #[test]
    fn orders_without_a_value_take_no_memory() {
        let (mut lane, _worker) = lane::open(PollSet::new().unwrap().waker().unwrap()).unwrap();
        let before = lane.memory_for_orders();
        let mut outbox = Outbox::default();
        for tag in [order::RESUME, order::EXIT] {
            outbox.send(&mut lane, tag, &[], None, 1);
        }
        assert!(outbox.is_clear());
        assert_eq!(lane.memory_for_orders(), before);
    }
}
