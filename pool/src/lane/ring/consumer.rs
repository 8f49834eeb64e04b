//! The reading side of a ring.
#![allow(unsafe_code, reason = "reads and writes memory that two processes share")]

use super::*;

/// A record of this length is discarded if there is no memory for it. Shorter ones go with the other small allocations
/// of a program, which abort it.
const LARGE_RECORD: u32 = 64 << 10;

/// Makes space for `len` more bytes, if there is memory for it.
#[inline]
fn has_space(out: &mut Vec<u8>, len: usize) -> bool {
    // There may be enough for these bytes, though not for those that a vector allocates ahead.
    out.try_reserve(len).is_ok() || out.try_reserve_exact(len).is_ok()
}

/// The reading side.
#[derive(Debug)]
pub(in crate::lane) struct Consumer {
    pub(super) span: Span,
    pub(super) checks: Checks,
    pub(super) at: Position,
    pub(super) number: u32,
    /// How far the run at `at` was read.
    pub(super) run: RunProgress,
    /// How much of the ring is known to have memory. Nothing beyond that is read.
    pub(super) backed: u32,
}

/// A committed record, to be read in place.
#[derive(Debug, Clone, Copy)]
pub(in crate::lane) struct Record<'r> {
    pub(super) header: Header,
    pub(super) payload: NonNull<u8>,
    pub(super) ring: std::marker::PhantomData<&'r Consumer>,
}

/// A message that a consumer has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lane) enum Received {
    Record {
        tag: u8,
        len: usize,
    },
    /// A record for which there was no memory. Its payload was neither copied nor checked.
    Discarded {
        tag: u8,
        len: usize,
    },
    /// `count` values in these slots.
    Values {
        count: usize,
        slots: Slots,
    },
}

impl Consumer {
    pub(in crate::lane) fn new(span: Span, checks: Checks) -> Self {
        let backed = match checks {
            // A trusted producer never writes beyond the part that has memory.
            Checks::Number => span.len,
            Checks::Payload => span.backed(),
        };
        Self { span, checks, at: Position::default(), number: 0, run: RunProgress::default(), backed }
    }

    /// Where the next record begins. Everything before it was read.
    pub(in crate::lane) fn position(&self) -> Position {
        self.at
    }

    /// Whether something new has come: a record, more of a run, or corruption.
    #[inline]
    pub(in crate::lane) fn is_ready(&self) -> bool {
        self.span.header(self.at.offset).load(Ordering::Relaxed) != self.run.seen
    }

    /// Whether the consumer has taken everything that an open run contains by now.
    #[inline]
    pub(in crate::lane) fn is_up_to_date(&self) -> bool {
        self.run.seen != 0
    }

    /// The next record, if it is committed.
    #[inline]
    pub(in crate::lane) fn peek(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let header = self.next_header()?;
        Ok(header.map(|header| self.record(header)))
    }

    /// The header of the next record, if it is committed: copied out, then checked.
    #[inline]
    pub(super) fn next_header(&mut self) -> Result<Option<Header>, Corrupt> {
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
    pub(super) fn reach(&mut self, end: u32) -> bool {
        let end = end.next_multiple_of(HOT_BYTES).min(self.span.len);
        let is_backed = self.span.back(self.backed, end);
        if is_backed {
            self.backed = end;
        }
        is_backed
    }

    /// The record at the current position, which has this header.
    #[inline]
    pub(super) fn record(&self, header: Header) -> Record<'_> {
        self.span.note_read(self.at.offset + WORD, header.len);
        // SAFETY: `at` returns a pointer into the span or to its end, and the span begins at a non-null address.
        let payload = unsafe { NonNull::new_unchecked(self.span.at(self.at.offset + WORD)) };
        Record { header, payload, ring: std::marker::PhantomData }
    }

    /// Takes the next record, or the new values of a run, for a consumer that does not trust its producer. Appends the
    /// payload to `out` and checks that copy, which no later write to the ring can change.
    #[inline]
    pub(in crate::lane) fn take(&mut self, out: &mut Vec<u8>) -> Result<Option<Received>, Corrupt> {
        loop {
            let Some(header) = self.next_header()? else { return Ok(None) };
            let Header { len, tag, check } = header;
            if is_run(tag) {
                match self.take_run(header, out)? {
                    (0, _) if tag == run::RUN => continue,
                    (0, _) => return Ok(None),
                    (count, slots) => return Ok(Some(Received::Values { count, slots })),
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
    pub(super) fn copy(&self, from: u32, len: u32, out: &mut Vec<u8>) {
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
    pub(in crate::lane) fn advance(&mut self, len: usize) {
        self.at.offset += Header::total(len as u32);
        self.number = self.number.wrapping_add(1);
        debug_assert!(self.at.offset + WORD <= self.span.len);
    }
}

impl<'r> Record<'r> {
    pub(in crate::lane) fn tag(&self) -> u8 {
        self.header.tag
    }

    pub(in crate::lane) fn len(&self) -> usize {
        self.header.len as usize
    }

    /// The payload in place, for a consumer that trusts its producer.
    ///
    /// # Safety
    /// The producer must not write to the payload before the consumer tells it that it is done with it.
    pub(in crate::lane) unsafe fn in_place(self) -> &'r [u8] {
        // SAFETY: `next_header` has checked that the range is within the span and has memory, and its acquire load made
        // the producer's writes visible. The caller promises that the producer does not write there while the slice
        // lives.
        unsafe { slice::from_raw_parts(self.payload.as_ptr(), self.len()) }
    }
}
