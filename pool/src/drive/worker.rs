//! A post: the driver's side of one worker. Its lane, its process, and what was sent and is not answered yet.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::parts::Parts;
use super::state::ProfileDef;
use crate::lane::{Activity, Corrupt, LEAST_PART, PART_BYTES, ParentEnd, Position, order};
use crate::observe::insights::WorkerInsights;
use crate::observe::logs::Log;
use crate::observe::progress::NestedProgress;
use crate::observe::stderr::StderrPipe;
use crate::observe::timeline::Track;
use crate::start::Child;
use crate::sys::clock::now_ns;
use crate::sys::memory::Meter;
use crate::wire::{ChunkHead, Failure, ITEM_HEAD, Packing};

pub(super) struct WorkerHandle {
    pub(super) lane: ParentEnd,
    pub(super) child: Child,
    /// What it prints to stderr, where that is its own.
    pub(super) stderr: Option<StderrPipe>,
    pub(super) log: Option<Log>,
    pub(super) track: Option<Track>,
    pub(super) board: Option<NestedProgress>,
    /// The worker has said that it is up.
    pub(super) ready: bool,
    /// It wrote what no worker writes: its end is on its way.
    pub(super) corrupt: bool,
    /// It can't wake the parent any more, and was told to leave.
    pub(super) sent_off: bool,
    /// A recall waits until what is going out is out.
    pub(super) recall_wanted: bool,
    /// Tells how much memory it holds, where there is a limit to that.
    pub(super) meter: Option<Meter>,
    /// How far it was when it was last found asleep with orders to be done.
    nap: Option<(u32, usize)>,
    /// When it was started.
    born: u64,
    /// What only the parent knows of what it has done.
    pub(super) seen: WorkerInsights,
    /// What the worker told last of a failure.
    pub(super) told: Option<Failure>,
    /// A large reply on its way.
    pub(super) parts: Parts,
    /// How many exit functions it has told of.
    pub(super) exits: usize,
    sent: VecDeque<Sent>,
    /// Orders that found no room, in order.
    waiting: VecDeque<Waiting>,
    /// The number of the first unit that is not answered.
    pub(super) answered: u32,
    /// The units that the last recall took back, while the `Resume` order at their end is not answered.
    void: Option<Range<u32>>,
}

/// An order that is not answered. A part counts no units, and frees its room when it is acknowledged.
struct Sent {
    unit: u32,
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

impl WorkerHandle {
    pub(super) fn new(
        lane: ParentEnd,
        child: Child,
        stderr: Option<StderrPipe>,
        log: Option<Log>,
        track: Option<Track>,
        board: Option<NestedProgress>,
    ) -> Self {
        Self {
            lane,
            child,
            stderr,
            log,
            track,
            board,
            ready: false,
            meter: None,
            nap: None,
            born: now_ns(),
            seen: WorkerInsights { starts: 1, ..WorkerInsights::default() },
            corrupt: false,
            sent_off: false,
            recall_wanted: false,
            told: None,
            parts: Parts::default(),
            exits: 0,
            sent: VecDeque::new(),
            waiting: VecDeque::new(),
            answered: 0,
            void: None,
        }
    }

    /// The worker is up.
    pub(super) fn is_up(&mut self) {
        self.ready = true;
        self.seen.start_up = Duration::from_nanos(now_ns().saturating_sub(self.born));
    }

    /// What the worker has done.
    pub(super) fn insights(&self) -> WorkerInsights {
        WorkerInsights {
            init: self.lane.spent(Activity::Init),
            waiting: self.lane.spent(Activity::Waiting),
            working: self.lane.spent(Activity::Working),
            exit: self.lane.spent(Activity::Exit),
            ..self.seen
        }
    }

    /// Says that the parent will sleep: until the worker has answered something, or if it is `patient`, until the worker
    /// is half-way through what it has. What waits for room does not count: the worker has not got it.
    pub(super) fn announce_sleep(&mut self, patient: bool) {
        let open = self.lane.next_unit().wrapping_sub(self.answered);
        let awaited = if patient { open.saturating_sub(1) / 2 } else { 0 };
        self.lane.announce_sleep(self.answered.wrapping_add(awaited));
    }

    /// Whether nobody would tell of the worker's end.
    pub(super) fn is_unwatched(&self) -> bool {
        matches!(&self.child, Child::Process(process) if process.is_unwatched())
    }

    /// The worker says that it sleeps, and has orders: it is woken once more, and if that does not help, it is not
    /// what it was.
    pub(super) fn look_at_nap(&mut self) {
        let Child::Process(process) = &self.child else { return };
        // One that is not up does not say so, unless what it said when it was is gone.
        let overslept = !self.sent.is_empty() && !self.lane.has_reply() && self.lane.worker_sleeps();
        let nap = overslept.then_some((self.answered, self.sent.len()));
        if nap.is_some() && nap == self.nap && process.sleeps() {
            return self.kill_corrupt();
        }
        self.nap = nap;
        if overslept {
            self.lane.force_wake();
        }
    }

    /// It wrote what no worker writes: it must end.
    pub(super) fn kill_corrupt(&mut self) {
        self.corrupt = true;
        if let Child::Process(process) = &mut self.child {
            process.kill();
        }
    }

    /// Whether it was killed, and is waited for.
    pub(super) fn is_dying(&self) -> bool {
        matches!(&self.child, Child::Process(process) if process.is_dying())
    }

    /// Whether it was killed, and is not to be waited for any longer.
    pub(super) fn is_stuck(&self) -> bool {
        matches!(&self.child, Child::Process(process) if process.is_stuck())
    }

    /// One more exit function has told how it ended. There is one for each of the states that workers are asked for, at
    /// most.
    pub(super) fn count_exit(&mut self, profiles: &[ProfileDef]) -> Result<(), Corrupt> {
        self.exits += 1;
        let most = profiles.iter().filter(|profile| profile.exit.is_some()).count();
        if self.exits > most { Err(Corrupt) } else { Ok(()) }
    }

    /// Whether chunks can be written straight into the lane.
    pub(super) fn is_clear(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends a small order, now or when there is room.
    pub(super) fn send(&mut self, tag: u8, payload: &[u8]) {
        self.waiting.push_back(Waiting::Small { tag, payload: payload.to_vec(), units: 1 });
        self.flush();
    }

    /// Sends a chunk of one encoded item, now or when there is room.
    pub(super) fn send_item(&mut self, head: ChunkHead, item: Vec<u8>) {
        if ChunkHead::BYTES + ITEM_HEAD + item.len() <= self.lane.longest_order().min(PART_BYTES) {
            let mut payload = head.to_bytes().to_vec();
            payload.extend((item.len() as u32).to_le_bytes());
            payload.extend(item);
            self.waiting.push_back(Waiting::Small { tag: order::CHUNK, payload, units: 1 });
        } else {
            self.waiting.push_back(Waiting::Large { head, item, out: 0 });
        }
        self.flush();
    }

    /// Sends of what waits as much as there is room for.
    pub(super) fn flush(&mut self) {
        while let Some(next) = self.waiting.pop_front() {
            match next {
                Waiting::Small { tag: order::CHUNK, payload, .. } if !self.lane.takes(payload.len()) => {
                    // There is no memory for it in one piece.
                    let Some((head, mut items)) = ChunkHead::split(&payload) else { continue };
                    let item = items.next().unwrap_or_default().to_vec();
                    self.waiting.push_front(Waiting::Large { head, item, out: 0 });
                }
                Waiting::Small { tag, payload, units } => {
                    let Some(mut room) = self.lane.reserve(payload.len().max(1)) else {
                        return self.waiting.push_front(Waiting::Small { tag, payload, units });
                    };
                    room.bytes()[..payload.len()].copy_from_slice(&payload);
                    let record = room.position();
                    let end = room.commit(tag, payload.len(), units);
                    if tag == order::CHUNK {
                        self.count_chunk(1);
                    }
                    self.note(record, payload.len(), end, units, None);
                }
                Waiting::Large { head, item, mut out } => {
                    let part_bytes = if self.lane.takes(PART_BYTES) { PART_BYTES } else { LEAST_PART };
                    while out < item.len() {
                        let part = &item[out..item.len().min(out + part_bytes)];
                        let Some(mut room) = self.lane.reserve(part.len()) else {
                            return self.waiting.push_front(Waiting::Large { head, item, out });
                        };
                        room.bytes()[..part.len()].copy_from_slice(part);
                        let record = room.position();
                        let end = room.commit(order::PART, part.len(), 0);
                        out += part.len();
                        self.note(record, 0, end, 0, None);
                    }
                    let Some(mut room) = self.lane.reserve(ChunkHead::BYTES) else {
                        return self.waiting.push_front(Waiting::Large { head, item, out });
                    };
                    let head = ChunkHead { packing: Packing::InParts, ..head };
                    room.bytes()[..ChunkHead::BYTES].copy_from_slice(&head.to_bytes());
                    let record = room.position();
                    let end = room.commit(order::CHUNK, ChunkHead::BYTES, 1);
                    self.count_chunk(1);
                    self.seen.bytes_sent += item.len() as u64;
                    self.note(record, ChunkHead::BYTES, end, 1, Some(item));
                }
            }
        }
    }

    fn note(&mut self, record: Position, len: usize, end: Position, units: u32, large: Option<Vec<u8>>) {
        let unit = self.lane.next_unit().wrapping_sub(units);
        self.seen.bytes_sent += len as u64;
        self.sent.push_back(Sent { unit, units, record, len, end, large });
    }

    /// Notes a chunk that was written straight into the lane.
    pub(super) fn note_chunk(&mut self, record: Position, len: usize, end: Position, count: u32) {
        self.count_chunk(u64::from(count));
        self.note(record, len, end, count, None);
    }

    fn count_chunk(&mut self, tasks: u64) {
        self.seen.chunks += 1;
        self.seen.largest_chunk = self.seen.largest_chunk.max(tasks);
    }

    /// Everything before this unit is answered, or void: its room is free.
    pub(super) fn answered_before(&mut self, unit: u32) {
        self.answered = unit;
        if self.void.as_ref().is_some_and(|void| is_before(void.end, unit)) {
            self.void = None;
        }
        while let Some(first) = self.sent.front() {
            if is_before(unit, first.unit.wrapping_add(first.units.max(1))) {
                return;
            }
            self.lane.free_up_to(first.end);
            self.sent.pop_front();
        }
    }

    /// The worker has taken the first part that is out. What went before it must be answered or void.
    pub(super) fn part_taken(&mut self) -> Result<(), Corrupt> {
        let place = self.sent.iter().position(|sent| sent.units == 0).ok_or(Corrupt)?;
        let in_void = |void: &Range<u32>| !is_before(self.answered, void.start);
        if place > 0 && !self.void.as_ref().is_some_and(in_void) {
            return Err(Corrupt);
        }
        let part = self.sent.drain(..=place).next_back().ok_or(Corrupt)?;
        self.lane.free_up_to(part.end);
        Ok(())
    }

    /// Takes back what the worker has not claimed: the units from here on will not be answered. Nothing may wait for
    /// room, and the `Resume` order must follow at once.
    pub(super) fn recall(&mut self) -> Result<u32, Corrupt> {
        let kept_up_to = self.lane.recall(self.answered)?.kept_up_to;
        self.void = Some(kept_up_to..self.lane.next_unit());
        Ok(kept_up_to)
    }

    /// Ends a recall.
    pub(super) fn resume(&mut self) {
        let room = self.lane.reserve_for_resume().expect("its room was kept spare");
        let record = room.position();
        let end = room.commit(order::RESUME, 0, 1);
        self.note(record, 0, end, 1, None);
    }

    /// The items of the tasks from this unit on, copied from what was sent or waits for room.
    pub(super) fn items_from(&self, unit: u32, count: u64) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        // Units that follow each other may lie in several orders.
        let mut next = unit;
        let is_missing = |found: &Vec<Vec<u8>>| (found.len() as u64) < count;
        for sent in &self.sent {
            let skipped = next.wrapping_sub(sent.unit);
            if skipped >= sent.units || !is_missing(&found) {
                continue;
            }
            if let Some(large) = &sent.large {
                found.push(large.clone());
            } else if let Some((_, items)) = ChunkHead::split(self.lane.sent_payload(sent.record, sent.len)) {
                let left = (count - found.len() as u64).min(u64::from(sent.units - skipped));
                found.extend(items.skip(skipped as usize).take(left as usize).map(<[u8]>::to_vec));
            }
            next = unit.wrapping_add(found.len() as u32);
        }
        let mut at = self.lane.next_unit();
        for waiting in &self.waiting {
            if at == next && is_missing(&found) {
                found.extend(waiting.item());
                next = unit.wrapping_add(found.len() as u32);
            }
            at = at.wrapping_add(waiting.units());
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

/// Whether unit `a` comes before unit `b`; they count round, and are never half of the circle apart.
fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > u32::MAX / 2
}
