//! What was sent to a worker and is not answered, and what waits for room in its lane.

use std::collections::VecDeque;
use std::ops::Range;

use crate::ids::Unit;
use crate::lane::{Corrupt, LEAST_PART, PART_BYTES, ParentEnd, Position, order};
use crate::observe::insights::WorkerInsights;
use crate::wire::{ChunkHead, ITEM_HEAD, Packing};

/// Orders on their way to one worker, through its lane.
#[derive(Default)]
pub(super) struct Outbox {
    sent: VecDeque<Sent>,
    /// Orders that found no room, in order.
    waiting: VecDeque<Waiting>,
    /// The number of the first unit that is not answered.
    answered: Unit,
    /// The units that the last recall took back, while the `Resume` order at their end is not answered.
    void: Option<Range<Unit>>,
    /// A recall waits until what is going out is out.
    recall_wanted: bool,
    /// Chunks, and the bytes of all orders.
    traffic: WorkerInsights,
}

/// An order that is not answered. A part counts no units, and frees its room when it is acknowledged.
struct Sent {
    unit: Unit,
    units: u32,
    record: Position,
    len: usize,
    end: Position,
    /// The item of a chunk that was too large for one order.
    large: Option<Vec<u8>>,
}

/// An order that found no room.
enum Waiting {
    Small {
        tag: u8,
        payload: Vec<u8>,
        units: u32,
    },
    /// A chunk of one item that goes out in parts; so much of it is out.
    Large {
        head: ChunkHead,
        item: Vec<u8>,
        out: usize,
    },
}

impl Outbox {
    /// The number of the first unit that is not answered.
    pub(super) fn answered(&self) -> Unit {
        self.answered
    }

    /// How many orders are out that are not answered.
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

    /// Sends a small order, now or when there is room.
    pub(super) fn send(&mut self, lane: &mut ParentEnd, tag: u8, payload: &[u8]) {
        self.waiting.push_back(Waiting::Small { tag, payload: payload.to_vec(), units: 1 });
        self.flush(lane);
    }

    /// Sends a chunk of one encoded item, now or when there is room.
    pub(super) fn send_item(&mut self, lane: &mut ParentEnd, head: ChunkHead, item: Vec<u8>) {
        if ChunkHead::BYTES + ITEM_HEAD + item.len() <= lane.longest_order().min(PART_BYTES) {
            let mut payload = head.to_bytes().to_vec();
            payload.extend((item.len() as u32).to_le_bytes());
            payload.extend(item);
            self.waiting.push_back(Waiting::Small { tag: order::CHUNK, payload, units: 1 });
        } else {
            self.waiting.push_back(Waiting::Large { head, item, out: 0 });
        }
        self.flush(lane);
    }

    /// Sends of what waits as much as there is room for.
    pub(super) fn flush(&mut self, lane: &mut ParentEnd) {
        while let Some(next) = self.waiting.pop_front() {
            match next {
                Waiting::Small { tag: order::CHUNK, payload, .. } if !lane.takes(payload.len()) => {
                    // There is no memory for it in one piece.
                    let Some((head, mut items)) = ChunkHead::split(&payload) else { continue };
                    let item = items.next().unwrap_or_default().to_vec();
                    self.waiting.push_front(Waiting::Large { head, item, out: 0 });
                }
                Waiting::Small { tag, payload, units } => {
                    let Some(mut room) = lane.reserve(payload.len().max(1)) else {
                        return self.waiting.push_front(Waiting::Small { tag, payload, units });
                    };
                    room.bytes()[..payload.len()].copy_from_slice(&payload);
                    let record = room.position();
                    let end = room.commit(tag, payload.len(), units);
                    if tag == order::CHUNK {
                        self.count_chunk(1);
                    }
                    self.note(lane, record, payload.len(), end, units, None);
                }
                Waiting::Large { head, item, mut out } => {
                    let part_bytes = if lane.takes(PART_BYTES) { PART_BYTES } else { LEAST_PART };
                    while out < item.len() {
                        let part = &item[out..item.len().min(out + part_bytes)];
                        let Some(mut room) = lane.reserve(part.len()) else {
                            return self.waiting.push_front(Waiting::Large { head, item, out });
                        };
                        room.bytes()[..part.len()].copy_from_slice(part);
                        let record = room.position();
                        let end = room.commit(order::PART, part.len(), 0);
                        out += part.len();
                        self.note(lane, record, 0, end, 0, None);
                    }
                    let Some(mut room) = lane.reserve(ChunkHead::BYTES) else {
                        return self.waiting.push_front(Waiting::Large { head, item, out });
                    };
                    let head = ChunkHead { packing: Packing::InParts, ..head };
                    room.bytes()[..ChunkHead::BYTES].copy_from_slice(&head.to_bytes());
                    let record = room.position();
                    let end = room.commit(order::CHUNK, ChunkHead::BYTES, 1);
                    self.count_chunk(1);
                    self.traffic.bytes_sent += item.len() as u64;
                    self.note(lane, record, ChunkHead::BYTES, end, 1, Some(item));
                }
            }
        }
    }

    fn note(
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

    /// Notes a chunk that was written straight into the lane.
    pub(super) fn record_chunk(
        &mut self,
        lane: &ParentEnd,
        record: Position,
        len: usize,
        end: Position,
        count: u32,
    ) {
        self.count_chunk(u64::from(count));
        self.note(lane, record, len, end, count, None);
    }

    fn count_chunk(&mut self, tasks: u64) {
        self.traffic.chunks += 1;
        self.traffic.largest_chunk = self.traffic.largest_chunk.max(tasks);
    }

    /// Everything before this unit is answered, or void: its room is free.
    pub(super) fn answered_before(&mut self, lane: &mut ParentEnd, unit: Unit) {
        self.answered = unit;
        if self.void.as_ref().is_some_and(|void| void.end.is_before(unit)) {
            self.void = None;
        }
        while let Some(first) = self.sent.front() {
            if unit.is_before(first.unit + first.units.max(1)) {
                return;
            }
            lane.free_up_to(first.end);
            self.sent.pop_front();
        }
    }

    /// The worker has taken the first part that is out. What went before it must be answered or void.
    pub(super) fn part_taken(&mut self, lane: &mut ParentEnd) -> Result<(), Corrupt> {
        let place = self.sent.iter().position(|sent| sent.units == 0).ok_or(Corrupt)?;
        let in_void = |void: &Range<Unit>| !self.answered.is_before(void.start);
        if place > 0 && !self.void.as_ref().is_some_and(in_void) {
            return Err(Corrupt);
        }
        let part = self.sent.drain(..=place).next_back().ok_or(Corrupt)?;
        lane.free_up_to(part.end);
        Ok(())
    }

    /// Takes back what the worker has not claimed: the units from the one that this gives on will not be answered, and
    /// the `Resume` order must follow at once. While an order is half out this gives nothing, and is to be tried again
    /// when it [`is_recall_due`](Self::is_recall_due): orders keep their order.
    pub(super) fn recall(&mut self, lane: &mut ParentEnd) -> Result<Option<Unit>, Corrupt> {
        self.recall_wanted = !self.is_clear();
        if self.recall_wanted {
            return Ok(None);
        }
        let kept_up_to = lane.recall(self.answered)?.kept_up_to;
        self.void = Some(kept_up_to..lane.next_unit());
        Ok(Some(kept_up_to))
    }

    /// Whether a recall waited for what is out by now.
    pub(super) fn is_recall_due(&self) -> bool {
        self.recall_wanted && self.is_clear()
    }

    /// Ends a recall.
    pub(super) fn resume(&mut self, lane: &mut ParentEnd) {
        let room = lane.reserve_for_resume().expect("its room was kept spare");
        let record = room.position();
        let end = room.commit(order::RESUME, 0, 1);
        self.note(lane, record, 0, end, 1, None);
    }

    /// The items of the tasks from this unit on, copied from what was sent or waits for room.
    pub(super) fn items_from(&self, lane: &ParentEnd, unit: Unit, count: u64) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        // Units that follow each other may lie in several orders.
        let mut next = unit;
        let is_missing = |found: &Vec<Vec<u8>>| (found.len() as u64) < count;
        for sent in &self.sent {
            let skipped = next - sent.unit;
            if skipped >= sent.units || !is_missing(&found) {
                continue;
            }
            if let Some(large) = &sent.large {
                found.push(large.clone());
            } else if let Some((_, items)) = ChunkHead::split(lane.sent_payload(sent.record, sent.len)) {
                let left = (count - found.len() as u64).min(u64::from(sent.units - skipped));
                found.extend(items.skip(skipped as usize).take(left as usize).map(<[u8]>::to_vec));
            }
            next = unit + found.len() as u32;
        }
        let mut at = lane.next_unit();
        for waiting in &self.waiting {
            if at == next && is_missing(&found) {
                found.extend(waiting.item());
                next = unit + found.len() as u32;
            }
            at = at + waiting.units();
        }
        found
    }
}

impl Waiting {
    fn units(&self) -> u32 {
        match self {
            Self::Small { units, .. } => *units,
            Self::Large { .. } => 1,
        }
    }

    /// The item of a chunk that waits: there is one in it.
    fn item(&self) -> Option<Vec<u8>> {
        match self {
            Self::Large { item, .. } => Some(item.clone()),
            Self::Small { tag: order::CHUNK, payload, .. } => {
                let (_, mut items) = ChunkHead::split(payload)?;
                Some(items.next()?.to_vec())
            }
            Self::Small { .. } => None,
        }
    }
}
