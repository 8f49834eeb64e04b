//! A ring of records of any length between one producer and one consumer, usually in two processes.
//!
//! A record is a header word and a payload, padded to whole words. The producer fills the payload, zeroes the header of
//! the next record, and then stores this record's header, which was zero until then. So the consumer polls no index:
//! flag and payload of a small record share a cache line. Whenever a producer dies, the consumer can read the committed
//! records, and nothing else looks committed.
//!
//! Records are contiguous. If the next one does not fit before the end, a `WRAP` record sends the consumer back to the
//! start. The producer wraps early once it is past the first [`HOT_BYTES`] and the start is free again: so small
//! records go round in memory that stays in the caches, and large ones use the whole ring.
//!
//! A [run] is a record that grows by one small value at a time.
//!
//! The producer's owner tells it which space is free, since the owner learns that differently in each direction:
//! [`Producer::free_up_to`].
#![allow(unsafe_code, reason = "reads and writes memory that two processes share")]

mod digest;
mod run;
#[cfg(all(test, not(loom)))]
mod tests;

use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::Ordering;

use super::sync::Span;
use digest::{digest, fold};
use run::{OpenRun, RunProgress, is_run};

pub(crate) use run::padded;

/// The part of a ring in which small records stay: it fits into a core's L2 cache beside the task's own data.
pub(super) const HOT_BYTES: u32 = 64 << 10;
pub(super) const WORD: u32 = 8;
const WRAP: u8 = 0xff;

/// A position in the stream of records: how often the stream has wrapped, and the offset in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    lap: u32,
    offset: u32,
}

impl Position {
    pub(super) fn pack(self) -> u64 {
        u64::from(self.lap) << 32 | u64::from(self.offset)
    }

    pub(super) fn unpack(word: u64) -> Self {
        Self { lap: (word >> 32) as u32, offset: word as u32 }
    }
}

/// The peer wrote something that a sound producer never writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// The header of a committed record: length, tag, and a check. The check is the low bits of the record's number, which
/// tell it from a leftover header, mixed with a digest of the payload if stray writes must be detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    len: u32,
    tag: u8,
    check: u32,
}

const CHECK_MASK: u32 = 0x00ff_ffff;

impl Header {
    fn pack(self) -> u64 {
        u64::from(self.len) | u64::from(self.tag) << 32 | u64::from(self.check & CHECK_MASK) << 40
    }

    fn unpack(word: u64) -> Self {
        Self { len: word as u32, tag: (word >> 32) as u8, check: (word >> 40) as u32 }
    }

    fn total(len: u32) -> u32 {
        WORD + len.next_multiple_of(WORD)
    }
}

/// A record of this length is discarded if there is no memory for it. Shorter ones go with the other small allocations
/// of a program, which abort it.
const LARGE_RECORD: u32 = 64 << 10;

/// Makes space for `len` more bytes, if there is memory for it.
#[inline]
fn has_space(out: &mut Vec<u8>, len: usize) -> bool {
    // There may be enough for these bytes, though not for those that a vector allocates ahead.
    out.try_reserve(len).is_ok() || out.try_reserve_exact(len).is_ok()
}

/// What the check of a record covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checks {
    /// Only the number: the producer is trusted.
    Number,
    /// The payload too: stray writes of the producer's process may have changed it.
    Payload,
}

impl Checks {
    #[inline]
    fn digest(self, payload: &[u8]) -> u32 {
        match self {
            Self::Number => 0,
            Self::Payload => (digest(payload) >> 40) as u32,
        }
    }

    #[inline]
    fn of(self, number: u32, payload: &[u8]) -> u32 {
        (number ^ self.digest(payload)) & CHECK_MASK
    }
}

/// The writing side.
#[derive(Debug)]
pub(super) struct Producer {
    span: Span,
    checks: Checks,
    at: Position,
    freed: Position,
    number: u32,
    run: Option<OpenRun>,
    /// How much of the ring has memory. The producer uses no more.
    backed: u32,
    /// Whether the system refused when it was last asked for more.
    refused: bool,
}

impl Producer {
    /// # Safety
    /// The span must be mapped for writing; no other producer may write there.
    pub(super) unsafe fn new(span: Span, checks: Checks) -> Self {
        let (at, freed) = Default::default();
        let backed = span.backed();
        Self { span, checks, at, freed, number: 0, run: None, backed, refused: false }
    }

    /// The longest payload that fits whenever the ring is empty.
    pub(super) fn longest(&self) -> usize {
        (self.span.len / 2 - 4 * WORD) as usize
    }

    /// Whether a record of this length fits whenever the ring is empty. Makes the ring longer for that, if possible.
    #[inline]
    pub(super) fn takes(&mut self, len: usize) -> bool {
        len + 4 * WORD as usize <= (self.backed / 2) as usize
            || self.backed == self.span.len
            || self.lengthen_for(len)
    }

    #[cold]
    fn lengthen_for(&mut self, len: usize) -> bool {
        if len > self.longest() {
            return false;
        }
        self.refused = false;
        self.lengthen(2 * (len as u32 + 4 * WORD))
    }

    /// Makes the ring longer for a record that found no space, if that is possible and helps.
    #[cold]
    pub(super) fn grow_for(&mut self, least: usize, spare: u32) -> bool {
        let Ok(least) = u32::try_from(least) else { return false };
        let end = least.saturating_add(self.at.offset + spare + 2 * WORD);
        let helps = self.at.lap == self.freed.lap && end <= self.span.len && end > self.backed;
        helps && !self.refused && (self.lengthen(end.max(2 * self.backed)) || self.lengthen(end))
    }

    /// Makes sure that the first `to` bytes of the ring have memory. False if the system refuses.
    fn lengthen(&mut self, to: u32) -> bool {
        let to = to.next_multiple_of(HOT_BYTES).min(self.span.len);
        if to > self.backed {
            self.refused = !self.span.back(self.backed, to);
            if !self.refused {
                self.backed = to;
            }
        }
        to <= self.backed
    }

    /// Notes that the consumer is done with everything before this position.
    pub(super) fn free_up_to(&mut self, position: Position) {
        self.freed = position;
    }

    /// Where the next record will begin, unless it wraps.
    #[cfg(all(test, not(loom)))]
    pub(super) fn position(&self) -> Position {
        self.at
    }

    /// Reserves space for one record of at least `least` bytes, if it is free now, with `spare` bytes left after it.
    /// Ends an open run.
    pub(super) fn reserve(&mut self, least: usize, spare: u32) -> Option<Reservation<'_>> {
        self.close_run();
        let least = u32::try_from(least).ok()?;
        let fits = |room: Option<u32>| room?.checked_sub(spare).filter(|room| *room >= least);
        let ahead = fits(self.ahead());
        let wrapped = fits(self.after_wrap());
        let past_hot = self.at.offset >= HOT_BYTES && wrapped.is_some_and(|room| room >= HOT_BYTES / 2);
        match (ahead, wrapped) {
            (Some(limit), _) if !past_hot => Some(Reservation { producer: self, wraps: false, limit }),
            (_, Some(limit)) => Some(Reservation { producer: self, wraps: true, limit }),
            _ => None,
        }
    }

    /// The longest payload that fits at the current position, between its own header and the next one's.
    fn ahead(&self) -> Option<u32> {
        let end = if self.at.lap == self.freed.lap { self.backed } else { self.freed.offset };
        (end - self.at.offset).checked_sub(2 * WORD)
    }

    /// The longest payload that fits at the start.
    fn after_wrap(&self) -> Option<u32> {
        if self.at.lap == self.freed.lap { self.freed.offset.checked_sub(2 * WORD) } else { None }
    }

    fn wrap(&mut self) {
        self.span.header(0).store(0, Ordering::Relaxed);
        self.publish(Header { len: 0, tag: WRAP, check: self.number });
        self.at = Position { lap: self.at.lap.wrapping_add(1), offset: 0 };
    }

    fn publish(&mut self, header: Header) {
        // SYNC: record committed (release). A consumer that sees this header also sees everything stored before it: the
        // payload, and the zero in the next header.
        self.span.header(self.at.offset).store(header.pack(), Ordering::Release);
        self.number = self.number.wrapping_add(1);
    }

    /// A payload that this producer has committed, and that is not freed yet.
    pub(super) fn written(&self, record: Position, len: usize) -> &[u8] {
        assert!(record.offset as usize + WORD as usize + len <= self.span.len as usize);
        self.span.note_read(record.offset + WORD, len as u32);
        // SAFETY: the range is within the span (just checked), whose bytes were all zeroed or written. Only the
        // producer writes to a ring of orders, because the worker maps it read-only. This is that producer, and the
        // shared borrow keeps it from writing while the slice lives.
        unsafe { slice::from_raw_parts(self.span.at(record.offset + WORD), len) }
    }
}

/// Space for one record. Dropping it without a commit has no effect.
#[derive(Debug)]
pub(super) struct Reservation<'r> {
    producer: &'r mut Producer,
    /// The record begins at the start of the ring.
    wraps: bool,
    limit: u32,
}

impl Reservation<'_> {
    /// The payload, to be filled from its start.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let offset = self.position().offset + WORD;
        self.producer.span.note_write(offset, self.limit);
        let start = self.producer.span.at(offset);
        // SAFETY: `reserve` found the range to be within the span and free: the consumer is done with it, and reads it
        // again only after it sees the header that `publish` stores, which consumes this reservation. The mutable
        // borrow of the producer excludes a second slice.
        unsafe { slice::from_raw_parts_mut(start, self.limit as usize) }
    }

    /// Where the record begins.
    pub(super) fn position(&self) -> Position {
        let at = self.producer.at;
        if self.wraps { Position { lap: at.lap.wrapping_add(1), offset: 0 } } else { at }
    }

    /// Commits the first `len` bytes as a record, and returns its end. For consumers that trust this producer.
    pub(super) fn commit(self, tag: u8, len: usize) -> Position {
        debug_assert_eq!(self.producer.checks, Checks::Number);
        self.publish(tag, len, 0)
    }

    /// Commits these bytes as a record, and returns its end. The digest is made from `bytes`, not from the ring, where
    /// a stray write may have changed them already.
    pub(super) fn send(mut self, tag: u8, bytes: &[u8]) -> Position {
        self.bytes()[..bytes.len()].copy_from_slice(bytes);
        let digest = self.producer.checks.digest(bytes);
        self.publish(tag, bytes.len(), digest)
    }

    fn publish(self, tag: u8, len: usize, digest: u32) -> Position {
        assert!(tag != 0 && tag < run::RUN && len <= self.limit as usize);
        let Self { producer, wraps, .. } = self;
        if wraps {
            producer.wrap();
        }
        let len = len as u32;
        let next = producer.at.offset + Header::total(len);
        producer.span.header(next).store(0, Ordering::Relaxed);
        let check = producer.number ^ digest;
        producer.publish(Header { len, tag, check });
        producer.at.offset = next;
        producer.at
    }
}

/// The reading side.
#[derive(Debug)]
pub(super) struct Consumer {
    span: Span,
    checks: Checks,
    at: Position,
    number: u32,
    /// How far the run at `at` was read.
    run: RunProgress,
    /// How much of the ring is known to have memory. Nothing beyond that is read.
    backed: u32,
}

/// A committed record, to be read in place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'r> {
    header: Header,
    payload: NonNull<u8>,
    ring: std::marker::PhantomData<&'r Consumer>,
}

/// A message that a consumer has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    Record {
        tag: u8,
        len: usize,
    },
    /// A record for which there was no memory. Its payload was neither copied nor checked.
    Discarded {
        tag: u8,
        len: usize,
    },
    /// `count` values of length `len`, each [`padded`].
    Values {
        count: usize,
        len: usize,
    },
}

impl Consumer {
    pub(super) fn new(span: Span, checks: Checks) -> Self {
        let backed = match checks {
            // A trusted producer never writes beyond the part that has memory.
            Checks::Number => span.len,
            Checks::Payload => span.backed(),
        };
        Self { span, checks, at: Position::default(), number: 0, run: RunProgress::default(), backed }
    }

    /// Where the next record begins. Everything before it was read.
    pub(super) fn position(&self) -> Position {
        self.at
    }

    /// Whether something new has come: a record, more of a run, or corruption.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.span.header(self.at.offset).load(Ordering::Relaxed) != self.run.seen
    }

    /// Whether the consumer has taken everything that an open run contains by now.
    #[inline]
    pub(super) fn is_up_to_date(&self) -> bool {
        self.run.seen != 0
    }

    /// The next record, if it is committed.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let header = self.next_header()?;
        Ok(header.map(|header| self.record(header)))
    }

    /// The header of the next record, if it is committed: copied out, then checked.
    #[inline]
    fn next_header(&mut self) -> Result<Option<Header>, Corrupt> {
        // SYNC: record committed (acquire). Everything that the producer wrote before this header is visible from here
        // on.
        let mut word = self.span.header(self.at.offset).load(Ordering::Acquire);
        if self.run.is_begun() && !is_run(Header::unpack(word).tag) {
            // A sound producer never turns a run back into something else.
            return Err(Corrupt);
        }
        if word == 0 {
            return Ok(None);
        }
        if Header::unpack(word) == (Header { len: 0, tag: WRAP, check: self.number & CHECK_MASK }) {
            self.at = Position { lap: self.at.lap.wrapping_add(1), offset: 0 };
            self.number = self.number.wrapping_add(1);
            word = self.span.header(0).load(Ordering::Acquire);
            if word == 0 {
                return Ok(None);
            }
        }
        let header = Header::unpack(word);
        let room = self.span.len.saturating_sub(self.at.offset + 2 * WORD);
        let is_wrong = self.checks == Checks::Number && header.check != self.number & CHECK_MASK;
        if is_wrong || header.len > room || header.tag == WRAP || header.tag == 0 {
            return Err(Corrupt);
        }
        let end = self.at.offset + 2 * WORD + header.len;
        if end > self.backed && !self.reach(end) {
            return Err(Corrupt);
        }
        Ok(Some(header))
    }

    /// Makes sure that everything before `end` has memory before it is read: the producer implies that, but is not
    /// trusted.
    #[cold]
    fn reach(&mut self, end: u32) -> bool {
        let end = end.next_multiple_of(HOT_BYTES).min(self.span.len);
        let is_backed = self.span.back(self.backed, end);
        if is_backed {
            self.backed = end;
        }
        is_backed
    }

    /// The record at the current position, which has this header.
    #[inline]
    fn record(&self, header: Header) -> Record<'_> {
        self.span.note_read(self.at.offset + WORD, header.len);
        // SAFETY: `at` returns a pointer into the span or to its end, and the span begins at a non-null address.
        let payload = unsafe { NonNull::new_unchecked(self.span.at(self.at.offset + WORD)) };
        Record { header, payload, ring: std::marker::PhantomData }
    }

    /// Takes the next record, or the new values of a run, for a consumer that does not trust its producer. Appends the
    /// payload to `out` and checks that copy, which no later write to the ring can change.
    #[inline]
    pub(super) fn take(&mut self, out: &mut Vec<u8>) -> Result<Option<Received>, Corrupt> {
        loop {
            let Some(header) = self.next_header()? else { return Ok(None) };
            let Header { len, tag, check } = header;
            if is_run(tag) {
                match self.take_run(header, out)? {
                    (0, _) if tag == run::RUN => continue,
                    (0, _) => return Ok(None),
                    (count, len) => return Ok(Some(Received::Values { count, len })),
                }
            }
            let start = out.len();
            if len >= LARGE_RECORD && !has_space(out, len as usize) {
                self.advance(len as usize);
                return Ok(Some(Received::Discarded { tag, len: len as usize }));
            }
            self.copy(0, len, out);
            if check != self.checks.of(self.number, &out[start..]) {
                out.truncate(start);
                return Err(Corrupt);
            }
            let len = len as usize;
            self.advance(len);
            return Ok(Some(Received::Record { tag, len }));
        }
    }

    /// Appends a copy of a part of the payload ahead to `out`. The peer may write to it meanwhile.
    #[inline]
    fn copy(&self, from: u32, len: u32, out: &mut Vec<u8>) {
        let offset = self.at.offset + WORD + from;
        let len = len as usize;
        assert!(offset as usize + len <= self.span.len as usize);
        self.span.note_read(offset, len as u32);
        if !has_space(out, len) {
            out.reserve_exact(len);
        }
        // SAFETY:
        // - The source is within the span (just checked), which is mapped as long as the consumer lives. The target is
        //   the spare capacity that was just reserved, which nothing else uses, so the two do not overlap. Afterwards
        //   `len` more bytes of `out` are initialized, and any byte is a valid `u8`.
        // - A peer that keeps the protocol does not race with the copy: its writes happen before it, by the acquire
        //   load of the header, and it writes here again only after it has seen a `read` position beyond the source,
        //   which is published after the copy.
        // - A peer that breaks the protocol is another process, and the memory model of this program does not cover its
        //   stores: for this program the mapping behaves like volatile memory. It would be unsound to read a byte twice
        //   and rely on both reads to agree. But this call is the only read, no reference to the source exists, and
        //   only the copy is checked and used. (With threads, both ends are the same trusted program.)
        unsafe {
            let end = out.as_mut_ptr().add(out.len());
            std::ptr::copy_nonoverlapping(self.span.at(offset), end, len);
            out.set_len(out.len() + len);
        }
    }

    /// Moves past the record that `peek` returned, which has this length.
    #[inline]
    pub(super) fn advance(&mut self, len: usize) {
        self.at.offset += Header::total(len as u32);
        self.number = self.number.wrapping_add(1);
        debug_assert!(self.at.offset + WORD <= self.span.len);
    }
}

impl<'r> Record<'r> {
    pub(super) fn tag(&self) -> u8 {
        self.header.tag
    }

    pub(super) fn len(&self) -> usize {
        self.header.len as usize
    }

    /// The payload in place, for a consumer that trusts its producer.
    ///
    /// # Safety
    /// The producer must not write to the payload before the consumer tells it that it is done with it.
    pub(super) unsafe fn in_place(self) -> &'r [u8] {
        // SAFETY: `next_header` has checked that the range is within the span and has memory, and its acquire load made
        // the producer's writes visible. The caller promises that the producer does not write there while the slice
        // lives.
        unsafe { slice::from_raw_parts(self.payload.as_ptr(), self.len()) }
    }
}
