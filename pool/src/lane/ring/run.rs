//! Runs: records that grow. A run holds values, and one store to the run's header commits each of them. So a producer
//! that dies has committed everything that it pushed, and a small value costs little more than its bytes.
//!
//! The payload is a word that describes the [slots](Slots) of the values, then these slots. The header holds the
//! current length of the run, and a digest of all of it. Once its tag is `RUN`, the run is over, and the next record
//! follows.
//!
//! The values of a run have one length, and a value of another one begins another run. This takes longer than a short
//! value does by itself. So where the lengths of short values alternate, a run has slots in which they may vary.

#[cfg(all(test, not(loom)))]
mod tests;

use super::*;

/// The tag of a run that is over.
pub(super) const RUN: u8 = 0xfd;
/// The tag of a run that may still grow.
const OPEN_RUN: u8 = 0xfe;
/// The longest run: a quarter of the hot part of a ring, because the space of a run is freed only when it is over. A
/// longer value has a run of its own.
const LONGEST_RUN: u32 = 16 << 10;

/// A run with fewer values than this has ended early.
const FEW_VALUES: usize = 8;
/// After this many runs in a row that a value of another length has ended early, lengths alternate.
const FEW_RUNS: u32 = 2;

#[inline]
pub(super) fn is_run(tag: u8) -> bool {
    tag == RUN || tag == OPEN_RUN
}

/// The bytes after the last whole word of a value, padded with zeros.
#[inline]
fn tail_of(value: &[u8]) -> u64 {
    let before = value.len() / WORD as usize * WORD as usize;
    match value.last_chunk() {
        Some(last) => u64::from_le_bytes(*last)
            .checked_shr(8 * (before + WORD as usize - value.len()) as u32)
            .unwrap_or(0),
        None => short(value),
    }
}

/// Less than a word, padded with zeros. Not by a copy, which would be a call.
#[inline]
fn short(value: &[u8]) -> u64 {
    match (value.first_chunk(), value.last_chunk()) {
        // The halves may overlap.
        (Some(first), Some(last)) => {
            let [first, last] = [first, last].map(|half| u64::from(u32::from_le_bytes(*half)));
            first | last << (8 * (value.len() - size_of::<u32>()))
        }
        _ => value.iter().rfold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The digest of a run so far: the sum of its words, each first mixed with its position and folded. So no word depends
/// on the one before it.
#[derive(Debug, Clone, Copy, Default)]
struct Digest {
    sum: u64,
    place: u64,
}

impl Digest {
    fn of_slots(slots: Slots) -> Self {
        Self::default().with_word(slots.to_word())
    }

    /// The constants are digits of the golden ratio and of pi: odd, with their bits well spread.
    #[inline]
    fn with_word(self, word: u64) -> Self {
        let place = self.place.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let product = fold(word ^ place, 0x243f_6a88_85a3_08d3);
        Self { sum: self.sum.wrapping_add(product), place }
    }

    /// Adds the values in these slots.
    #[inline]
    fn with_values(self, bytes: &[u8], slots: Slots) -> Self {
        if slots.stride() <= SHORT_BYTES {
            let words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
            return words.fold(self, Self::with_word);
        }
        bytes.chunks_exact(slots.stride()).fold(self, |sum, slot| sum.with_word(digest(slots.value(slot))))
    }

    /// The upper bits, which depend on every word.
    #[inline]
    fn check(self) -> u32 {
        (self.sum >> 40) as u32
    }
}

/// Writes the words of a short value to its slot. Returns the digest with the value.
#[inline(always)]
fn put_short(value: &[u8], slots: Slots, span: &Span, mut offset: u32, mut digest: Digest) -> Digest {
    let mut put = |word: u64| {
        span.put_word(offset, word);
        offset += WORD;
        digest = digest.with_word(word);
    };
    let (words, tail) = value.as_chunks();
    words.iter().for_each(|word| put(u64::from_le_bytes(*word)));
    match slots {
        Slots::Alike(_) if tail.is_empty() && !words.is_empty() => {}
        Slots::Alike(_) => put(tail_of(value)),
        Slots::Varied(stride) => {
            let len = (value.len() as u64) << (u64::BITS - 8);
            match usize::from(stride) / WORD as usize - words.len() {
                1 => put(tail_of(value) | len),
                left => {
                    put(tail_of(value));
                    (2..left).for_each(|_| put(0));
                    put(len);
                }
            }
        }
    }
    digest
}

/// Writes a value to its slot at once. Returns the digest with the value.
///
/// # Safety
/// The place must be as long as the value, and nothing else may use it.
unsafe fn put_long(value: &[u8], place: *mut u8, digest_so_far: Digest) -> Digest {
    // SAFETY: the place is as long as the value, and cannot overlap it, because nothing else uses it.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), place, value.len()) };
    digest_so_far.with_word(digest(value))
}

/// The run to which a producer pushes.
#[derive(Debug)]
pub(super) struct OpenRun {
    /// The slots of its values; none once it takes no more.
    slots: Option<Slots>,
    /// The length of the payload so far, and its maximum.
    len: u32,
    limit: u32,
    digest: Digest,
}

impl OpenRun {
    /// The maximum length of its payload.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Lets no more values be pushed to it. Returns the length of its payload.
    pub(super) fn finish(&mut self) -> u32 {
        self.slots = None;
        self.len
    }
}

/// What the runs that ended early tell about the lengths of values.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// How many runs in a row a value of another length has ended early.
    early: u32,
    /// The longest short value in these.
    longest: usize,
}

impl Lengths {
    /// Notes that the run is ended by a value that does not fit into it.
    fn note_end(&mut self, run: &OpenRun) {
        let values = |len| (run.len - WORD) as usize / padded(len);
        match run.slots {
            Some(Slots::Alike(len)) if values(len) < FEW_VALUES => self.note_early(len, 1),
            Some(Slots::Alike(_)) => *self = Self::default(),
            Some(Slots::Varied(stride)) => self.note_early(usize::from(stride) - 1, FEW_RUNS),
            None => {}
        }
    }

    fn note_early(&mut self, longest: usize, runs: u32) {
        self.early = self.early.saturating_add(runs);
        if longest < SHORT_BYTES {
            self.longest = self.longest.max(longest);
        }
    }

    /// The slots of a run that begins with a value of this length.
    fn slots_from(&self, len: usize) -> Slots {
        let varied = if self.early < FEW_RUNS { None } else { Slots::varied(len.max(self.longest)) };
        varied.unwrap_or(Slots::Alike(len))
    }
}

impl Producer {
    /// How much space a run takes that begins with a value of this length.
    pub(in crate::lane) fn least_run(&self, len: usize) -> usize {
        WORD as usize + self.lengths.slots_from(len).stride()
    }

    /// Commits a value. False if there is no space for it now, or if the producer should learn first what is free. As
    /// in [`Reservation::send`], the digest is made from `value`, not from the ring.
    ///
    /// Always inlined, with all that it calls where the open run is one of such values: where the length is known, as
    /// that of a number is, most of it goes away.
    #[inline(always)]
    pub(in crate::lane) fn push(&mut self, value: &[u8]) -> bool {
        let alike = Slots::Alike(value.len());
        if self.run.as_ref().is_none_or(|run| run.slots != Some(alike)) {
            return self.push_other(value);
        }
        self.push_to(alike, value);
        true
    }

    /// Commits a value to a run in which lengths vary, or begins one with it.
    #[inline(never)]
    fn push_other(&mut self, value: &[u8]) -> bool {
        let open = |run: &OpenRun| run.slots.filter(|slots| slots.take(value.len()));
        let Some(slots) = self.run.as_ref().and_then(open).or_else(|| self.open_run(value.len())) else {
            return false;
        };
        self.push_to(slots, value);
        true
    }

    /// Commits a value to the open run, which has these slots, and space for at least one more.
    #[inline(always)]
    fn push_to(&mut self, slots: Slots, value: &[u8]) {
        let Self { run: Some(run), span, at, number, .. } = self else { return };
        let offset = at.offset + WORD + run.len;
        let slot = slots.stride() as u32;
        run.digest = if value.len() <= SHORT_BYTES {
            put_short(value, slots, span, offset, run.digest)
        } else {
            span.note_write(offset, slot);
            // SAFETY: `open_run` reserved the run's payload up to its limit, and this value's slot is within that, so
            // it is within the span and free. The consumer reads it only after it sees the header that is stored below.
            // Only slots of values that are alike take one so long, and have its length.
            unsafe { put_long(value, span.at(offset), run.digest) }
        };
        run.len += slot;
        if run.len + slot > run.limit {
            return self.close_run();
        }
        let header = Header { len: run.len, tag: OPEN_RUN, check: *number ^ run.digest.check() };
        // SYNC: record committed (release). A consumer that sees this header also sees the value.
        span.header(at.offset).store(header.pack(), Ordering::Release);
    }

    /// Begins a run with a value of this length, and returns its slots. None if there is no space for it, or if the
    /// producer should learn first what is free.
    #[cold]
    fn open_run(&mut self, value: usize) -> Option<Slots> {
        self.run.iter().for_each(|run| self.lengths.note_end(run));
        self.close_run();
        if self.is_stale() {
            return None;
        }
        let slots = self.lengths.slots_from(value);
        let least = self.least_run(value);
        let Reservation { wraps, limit, .. } = self.reserve(least, 0)?;
        if wraps {
            self.wrap();
        }
        let offset = self.at.offset + WORD;
        self.span.note_write(offset, WORD);
        let word = slots.to_word().to_le_bytes();
        // SAFETY: `reserve` found space for at least a word and a value here, free and within the span, and the
        // consumer reads it only after it sees a header that is not stored yet.
        unsafe { std::ptr::copy_nonoverlapping(word.as_ptr(), self.span.at(offset), word.len()) };
        let limit = limit.min(LONGEST_RUN.max(least as u32));
        self.run = Some(OpenRun { slots: Some(slots), len: WORD, limit, digest: Digest::of_slots(slots) });
        if let Slots::Varied(_) = slots {
            // The next run shows whether they still alternate.
            self.lengths = Lengths::default();
        }
        Some(slots)
    }

    /// Ends the open run, if any, so that the next record can follow. This also commits its last value.
    #[inline]
    pub(super) fn close_run(&mut self) {
        let Some(OpenRun { len, digest, .. }) = self.run.take() else { return };
        let next = self.at.offset + Header::total(len);
        self.span.header(next).store(0, Ordering::Relaxed);
        self.publish(Header { len, tag: RUN, check: self.number ^ digest.check() });
        self.at.offset = next;
    }
}

/// How much of a run a consumer has taken.
#[derive(Debug, Default)]
pub(super) struct RunProgress {
    /// The header that it has last seen; 0 at the start of a record.
    pub(super) seen: u64,
    /// What it knows of the run, once that has begun.
    begun: Option<Begun>,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    slots: Slots,
    /// The length of the payload that was taken, and its digest.
    len: u32,
    digest: Digest,
}

impl RunProgress {
    #[inline]
    pub(super) fn is_begun(&self) -> bool {
        self.begun.is_some()
    }
}

impl Consumer {
    /// Takes the new values of a run, appends them to `out`, and checks that copy. Returns their number and slots.
    pub(super) fn take_run(&mut self, header: Header, out: &mut Vec<u8>) -> Result<(usize, Slots), Corrupt> {
        let start = out.len();
        let Begun { slots, len, digest } = match self.run.begun {
            Some(begun) => begun,
            None if header.len < WORD => return Err(Corrupt),
            None => {
                self.copy(0, WORD, out);
                let word = out.last_chunk().map(|word| u64::from_le_bytes(*word)).ok_or(Corrupt)?;
                out.truncate(start);
                let slots = Slots::from_word(word, self.span.len).ok_or(Corrupt)?;
                Begun { slots, len: WORD, digest: Digest::of_slots(slots) }
            }
        };
        let grown = header.len.checked_sub(len).ok_or(Corrupt)?;
        self.copy(len, grown, out);
        let grown = &out[start..];
        let digest = digest.with_values(grown, slots);
        let is_whole = grown.len().is_multiple_of(slots.stride());
        let is_intact = header.check == (self.number ^ digest.check()) & CHECK_MASK;
        if !is_whole || !is_intact || !slots.are_sound(grown) {
            out.truncate(start);
            return Err(Corrupt);
        }
        let count = grown.len() / slots.stride();
        if header.tag == OPEN_RUN {
            let begun = Some(Begun { slots, len: header.len, digest });
            self.run = RunProgress { seen: header.pack(), begun };
        } else {
            self.run = RunProgress::default();
            self.advance(header.len as usize);
        }
        Ok((count, slots))
    }
}
