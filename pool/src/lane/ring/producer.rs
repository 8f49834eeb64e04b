//! The writing side of a ring.
#![allow(unsafe_code, reason = "reads and writes memory that two processes share")]

use super::*;

/// How much may be unread when the memory of large messages is given back: more than the answers that come after the
/// end of a call. The parent reads those with its next call, which may be long after.
const LITTLE: u32 = if cfg!(all(loom, test)) { 24 } else { 4 << 10 };

/// The writing side.
#[derive(Debug)]
pub(in crate::lane) struct Producer {
    pub(super) span: Span,
    pub(super) checks: Checks,
    pub(super) at: Position,
    pub(super) freed: Position,
    /// Where it stood when it last learned what is free.
    pub(super) learned_at: Position,
    /// Where its last lap ended.
    pub(super) wrapped_at: u32,
    pub(super) number: u32,
    pub(super) run: Option<OpenRun>,
    pub(super) lengths: Lengths,
    /// How much of the ring has memory. The producer uses no more.
    pub(super) backed: u32,
    /// Whether the system refused when it was last asked for more.
    pub(super) refused: bool,
}

impl Producer {
    /// # Safety
    /// The span must be mapped for writing; no other producer may write there.
    pub(in crate::lane) unsafe fn new(span: Span, checks: Checks) -> Self {
        let (at, freed, learned_at, lengths) = Default::default();
        let backed = span.backed();
        let (wrapped_at, number, run, refused) = (0, 0, None, false);
        Self { span, checks, at, freed, learned_at, wrapped_at, number, run, lengths, backed, refused }
    }

    /// The longest payload that fits whenever the ring is empty.
    pub(in crate::lane) fn longest(&self) -> usize {
        (self.span.len / 2 - 4 * WORD) as usize
    }

    /// Whether a record of this length fits whenever the ring is empty. Makes the ring longer for that, if possible.
    #[inline]
    pub(in crate::lane) fn takes(&mut self, len: usize) -> bool {
        len + 4 * WORD as usize <= (self.backed / 2) as usize
            || self.backed == self.span.len
            || self.lengthen_for(len)
    }

    #[cold]
    pub(super) fn lengthen_for(&mut self, len: usize) -> bool {
        if len > self.longest() {
            return false;
        }
        self.refused = false;
        self.lengthen(2 * (len as u32 + 4 * WORD))
    }

    /// Makes the ring longer for a record that found no space, if that is possible and helps.
    #[cold]
    pub(in crate::lane) fn grow_for(&mut self, least: usize, spare: u32) -> bool {
        let Ok(least) = u32::try_from(least) else { return false };
        let least = least.saturating_add(spare + 2 * WORD);
        let ahead = least.saturating_add(self.at.offset);
        let end = match self.at.lap == self.freed.lap {
            // After memory was given back, the start may be free beyond the part that has some.
            true if least <= self.freed.offset && least > self.backed => least,
            true if ahead <= self.span.len => ahead,
            false if ahead <= self.freed.offset => ahead,
            _ => return false,
        };
        end > self.backed && !self.refused && (self.lengthen(end.max(2 * self.backed)) || self.lengthen(end))
    }

    /// Makes sure that the first `to` bytes of the ring have memory. False if the system refuses.
    pub(super) fn lengthen(&mut self, to: u32) -> bool {
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
    pub(in crate::lane) fn free_up_to(&mut self, position: Position) {
        self.freed = position;
        self.learned_at = self.at;
    }

    /// Whether it is past the hot part of the ring and does not know what was freed since it wrote its last record: it
    /// may be able to go back to the start.
    #[inline]
    pub(in crate::lane) fn is_stale(&self) -> bool {
        self.is_past_hot() && self.learned_at != self.at
    }

    /// Whether it stands beyond the hot part of the ring.
    #[inline]
    pub(in crate::lane) fn is_past_hot(&self) -> bool {
        self.at.offset >= HOT_BYTES
    }

    /// Whether the ring has more memory than its hot part.
    #[inline]
    pub(in crate::lane) fn is_long(&self) -> bool {
        self.backed > HOT_BYTES
    }

    /// Gives back the memory beyond the hot part, if the consumer has read all but a [little](LITTLE), as far as this
    /// producer knows. Writes nothing, because a consumer that waits for no message must find none. The memory stays in
    /// which the consumer finds what it has not read, and where the next record is.
    #[cold]
    pub(in crate::lane) fn give_back(&mut self) {
        let has_wrapped = self.at.lap != self.freed.lap;
        let unread = match has_wrapped {
            true => self.wrapped_at - self.freed.offset + self.at.offset,
            false => self.at.offset - self.freed.offset,
        };
        if unread > LITTLE || !self.is_long() {
            return;
        }
        let run_end = |run: &OpenRun| self.at.offset + WORD + run.limit() + WORD;
        let mut end = self.run.as_ref().map_or(self.at.offset + WORD, run_end);
        if end > HOT_BYTES {
            if has_wrapped || self.at.offset == 0 {
                // The next record can't be at the start, or not only what is unread would stay.
                return;
            }
            if let Some(run) = &mut self.run {
                end = self.at.offset + Header::total(run.finish()) + WORD;
            }
        }
        if has_wrapped {
            end = self.wrapped_at + WORD;
        }
        self.span.give_back(HOT_BYTES, self.freed.offset.max(HOT_BYTES));
        self.span.give_back(end.max(HOT_BYTES), self.backed);
        self.backed = HOT_BYTES;
    }

    /// How much of the ring has memory.
    #[cfg(all(test, not(loom)))]
    pub(in crate::lane) fn backed(&self) -> u32 {
        self.backed
    }

    /// Where the next record will begin, unless it wraps.
    #[cfg(all(test, not(loom)))]
    pub(in crate::lane) fn position(&self) -> Position {
        self.at
    }

    /// Reserves space for one record of at least `least` bytes, if it is free now, with `spare` bytes left after it.
    /// Ends an open run.
    pub(in crate::lane) fn reserve(&mut self, least: usize, spare: u32) -> Option<Reservation<'_>> {
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
    pub(super) fn ahead(&self) -> Option<u32> {
        let end =
            if self.at.lap == self.freed.lap { self.backed } else { self.freed.offset.min(self.backed) };
        end.checked_sub(self.at.offset + 2 * WORD)
    }

    /// The longest payload that fits at the start.
    pub(super) fn after_wrap(&self) -> Option<u32> {
        let end = self.freed.offset.min(self.backed);
        if self.at.lap == self.freed.lap { end.checked_sub(2 * WORD) } else { None }
    }

    pub(super) fn wrap(&mut self) {
        self.span.header(0).store(0, Ordering::Relaxed);
        self.publish(Header { len: 0, tag: WRAP, check: self.number });
        self.wrapped_at = self.at.offset;
        self.at = Position { lap: self.at.lap.wrapping_add(1), offset: 0 };
    }

    pub(super) fn publish(&mut self, header: Header) {
        // SYNC: record committed (release). A consumer that sees this header also sees everything stored before it: the
        // payload, and the zero in the next header.
        self.span.header(self.at.offset).store(header.pack(), Ordering::Release);
        self.number = self.number.wrapping_add(1);
    }

    /// A payload that this producer has committed, and that is not freed yet.
    pub(in crate::lane) fn written(&self, record: Position, len: usize) -> &[u8] {
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
pub(in crate::lane) struct Reservation<'r> {
    pub(super) producer: &'r mut Producer,
    /// The record begins at the start of the ring.
    pub(super) wraps: bool,
    pub(super) limit: u32,
}

impl Reservation<'_> {
    /// The payload, to be filled from its start.
    pub(in crate::lane) fn bytes(&mut self) -> &mut [u8] {
        let offset = self.position().offset + WORD;
        self.producer.span.note_write(offset, self.limit);
        let start = self.producer.span.at(offset);
        // SAFETY: `reserve` found the range to be within the span and free: the consumer is done with it, and reads it
        // again only after it sees the header that `publish` stores, which consumes this reservation. The mutable
        // borrow of the producer excludes a second slice.
        unsafe { slice::from_raw_parts_mut(start, self.limit as usize) }
    }

    /// Where the record begins.
    pub(in crate::lane) fn position(&self) -> Position {
        let at = self.producer.at;
        if self.wraps { Position { lap: at.lap.wrapping_add(1), offset: 0 } } else { at }
    }

    /// Commits the first `len` bytes as a record, and returns its end. For consumers that trust this producer.
    pub(in crate::lane) fn commit(self, tag: u8, len: usize) -> Position {
        debug_assert_eq!(self.producer.checks, Checks::Number);
        self.publish(tag, len, 0)
    }

    /// Commits these bytes as a record, and returns its end. The digest is made from `bytes`, not from the ring, where
    /// a stray write may have changed them already.
    pub(in crate::lane) fn send(mut self, tag: u8, bytes: &[u8]) -> Position {
        self.bytes()[..bytes.len()].copy_from_slice(bytes);
        let digest = self.producer.checks.digest(bytes);
        self.publish(tag, bytes.len(), digest)
    }

    pub(super) fn publish(self, tag: u8, len: usize, digest: u32) -> Position {
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
