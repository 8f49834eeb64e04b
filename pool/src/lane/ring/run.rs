//! Runs: records that grow. A run holds values of one length, and one store to the run's header commits each of them.
//! So a producer that dies has committed everything that it pushed, and a small value costs little more than its bytes.
//!
//! The payload is a word with the length of a value, then the values, each padded to whole words. The header holds the
//! current length of the run, and a digest of all of it. Once its tag is `RUN`, the run is over, and the next record
//! follows.

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

/// Values of up to this length are written and digested word by word, their padding included; in longer ones, that
/// would take longer than a copy and a wide digest.
const SHORT_BYTES: usize = 64;

/// No value has this length, which is that of a ring or more.
const NO_VALUE: u32 = u32::MAX;

#[inline]
pub(super) fn is_run(tag: u8) -> bool {
    tag == RUN || tag == OPEN_RUN
}

/// How much space a value takes: at least a word, so that empty values can be counted.
#[inline]
pub(crate) fn padded(len: usize) -> usize {
    len.max(1).next_multiple_of(WORD as usize)
}

/// A value of up to a word, padded with zeros; nothing if it is longer.
#[inline]
fn short(value: &[u8]) -> Option<u64> {
    let mut word = [0; WORD as usize];
    word.get_mut(..value.len())?.copy_from_slice(value);
    Some(u64::from_le_bytes(word))
}

/// The digest of a run so far: the sum of its words, each first mixed with its position and folded. So no word depends
/// on the one before it.
#[derive(Debug, Clone, Copy, Default)]
struct Digest {
    sum: u64,
    place: u64,
}

impl Digest {
    fn of_len(len: u32) -> Self {
        Self::default().with_word(u64::from(len))
    }

    /// The constants are digits of the golden ratio and of pi: odd, with their bits well spread.
    #[inline]
    fn with_word(self, word: u64) -> Self {
        let place = self.place.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let product = fold(word ^ place, 0x243f_6a88_85a3_08d3);
        Self { sum: self.sum.wrapping_add(product), place }
    }

    /// Adds values of this length, each [`padded`].
    #[inline]
    fn with_values(self, slots: &[u8], len: usize) -> Self {
        if len <= SHORT_BYTES {
            let words = slots.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
            return words.fold(self, Self::with_word);
        }
        slots.chunks_exact(padded(len)).fold(self, |sum, slot| sum.with_word(digest(&slot[..len])))
    }

    /// The upper bits, which depend on every word.
    #[inline]
    fn check(self) -> u32 {
        (self.sum >> 40) as u32
    }
}

/// Writes a value to its place, padded to whole words. Returns the digest with the value.
///
/// # Safety
/// The place must be [`padded`] bytes long, and nothing else may use it.
#[inline(always)]
unsafe fn put(value: &[u8], place: *mut u8, digest_so_far: Digest) -> Digest {
    let mut place = place.cast::<[u8; WORD as usize]>();
    let mut digest_now = digest_so_far;
    let mut put_word = |word: u64| {
        digest_now = digest_now.with_word(word);
        // SAFETY: the words of a value, its last one included, are as many as the caller's place has. Writing an array
        // of bytes needs no alignment.
        unsafe {
            place.write(word.to_le_bytes());
            place = place.add(1);
        }
    };
    if let Some(word) = short(value) {
        put_word(word);
    } else if value.len() <= SHORT_BYTES {
        // Word by word: a copy of variable length would be a call.
        let (words, tail) = value.as_chunks();
        words.iter().for_each(|word| put_word(u64::from_le_bytes(*word)));
        if let (false, Some(last)) = (tail.is_empty(), value.last_chunk()) {
            put_word(u64::from_le_bytes(*last) >> (8 * (WORD as usize - tail.len())));
        }
    } else {
        // SAFETY: the place is as long as the value, and cannot overlap it, because nothing else uses it.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), place.cast(), value.len()) };
        return digest_so_far.with_word(digest(value));
    }
    digest_now
}

/// The run to which a producer pushes.
#[derive(Debug)]
pub(super) struct OpenRun {
    /// The length of a value, or [`NO_VALUE`].
    value: u32,
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
        self.value = NO_VALUE;
        self.len
    }
}

impl Producer {
    /// Commits a value. False if there is no space for it now, or if the producer should learn first what is free. As
    /// in [`Reservation::send`], the digest is made from `value`, not from the ring.
    ///
    /// Always inlined, with all that it calls: where the length is known, as that of a number is, most of it goes away.
    #[inline(always)]
    pub(in crate::lane) fn push(&mut self, value: &[u8]) -> bool {
        let slot = padded(value.len()) as u32;
        // An open run has space for at least one more value.
        let fits = |run: &OpenRun| run.value == value.len() as u32;
        if !self.run.as_ref().is_some_and(fits) && !self.open_run(value.len()) {
            return false;
        }
        let Self { run: Some(run), span, at, .. } = self else { return false };
        let offset = at.offset + WORD + run.len;
        span.note_write(offset, slot);
        let place = span.at(offset);
        // SAFETY: `open_run` reserved the run's payload up to its limit, and this value's padded place is within that,
        // so it is within the span and free. The consumer reads it only after it sees the header that is stored below.
        run.digest = unsafe { put(value, place, run.digest) };
        run.len += slot;
        if run.len + slot > run.limit {
            self.close_run();
            return true;
        }
        let header = Header { len: run.len, tag: OPEN_RUN, check: self.number ^ run.digest.check() };
        // SYNC: record committed (release). A consumer that sees this header also sees the value.
        span.header(at.offset).store(header.pack(), Ordering::Release);
        true
    }

    /// Begins a run for values of this length. False if there is no space for even one of them, or if the producer
    /// should learn first what is free.
    #[cold]
    fn open_run(&mut self, value: usize) -> bool {
        self.close_run();
        if self.is_stale() {
            return false;
        }
        let least = WORD as usize + padded(value);
        let Some(Reservation { wraps, limit, .. }) = self.reserve(least, 0) else { return false };
        if wraps {
            self.wrap();
        }
        let offset = self.at.offset + WORD;
        self.span.note_write(offset, WORD);
        let word = (value as u64).to_le_bytes();
        // SAFETY: `reserve` found space for at least a word and a value here, free and within the span, and the
        // consumer reads it only after it sees a header that is not stored yet.
        unsafe { std::ptr::copy_nonoverlapping(word.as_ptr(), self.span.at(offset), word.len()) };
        let limit = limit.min(LONGEST_RUN.max(least as u32));
        let value = value as u32;
        self.run = Some(OpenRun { value, len: WORD, limit, digest: Digest::of_len(value) });
        true
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
    /// The length of the payload that it has taken.
    len: u32,
    /// The length of a value.
    value: u32,
    digest: Digest,
}

impl RunProgress {
    #[inline]
    pub(super) fn is_begun(&self) -> bool {
        self.len > 0
    }
}

impl Consumer {
    /// Takes the new values of a run, appends them to `out`, and checks that copy. Returns their number and length.
    pub(super) fn take_run(&mut self, header: Header, out: &mut Vec<u8>) -> Result<(usize, usize), Corrupt> {
        if !self.run.is_begun() {
            if header.len < WORD {
                return Err(Corrupt);
            }
            let start = out.len();
            self.copy(0, WORD, out);
            let word = short(&out[start..]).ok_or(Corrupt)?;
            out.truncate(start);
            let value = u32::try_from(word).map_err(|_| Corrupt)?;
            if value > self.span.len {
                return Err(Corrupt);
            }
            self.run = RunProgress { seen: 0, len: WORD, value, digest: Digest::of_len(value) };
        }
        let RunProgress { len, value, digest, .. } = self.run;
        let (slot, value) = (padded(value as usize), value as usize);
        let grown = header.len.checked_sub(len).ok_or(Corrupt)?;
        let start = out.len();
        self.copy(len, grown, out);
        let digest = digest.with_values(&out[start..], value);
        let grown = grown as usize;
        if !grown.is_multiple_of(slot) || header.check != (self.number ^ digest.check()) & CHECK_MASK {
            out.truncate(start);
            return Err(Corrupt);
        }
        if header.tag == OPEN_RUN {
            let value = value as u32;
            self.run = RunProgress { seen: header.pack(), len: header.len, value, digest };
        } else {
            self.run = RunProgress::default();
            self.advance(header.len as usize);
        }
        Ok((grown / slot, value))
    }
}
