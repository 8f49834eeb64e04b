//! Runs: records that grow. A run holds values of one length, and each is committed by itself, by a store to the run's
//! header: a producer that dies has committed what it pushed, and a small value costs little more than its bytes.
//!
//! Payload: a word with the length of a value, then the values, each padded to whole words. The header says how far
//! the run goes by now, with a digest of all of that; once the header is a `RUN`, the next record follows.

#[cfg(all(test, not(loom)))]
mod tests;

use super::*;

pub(super) const RUN: u8 = 0xfd;
/// The header of a run that may still grow.
const OPEN_RUN: u8 = 0xfe;
/// A run takes no more values than this many bytes hold, so that its room is free again soon. A longer value is alone.
const LONGEST_RUN: u32 = 16 << 10;

#[inline]
pub(super) fn is_run(tag: u8) -> bool {
    tag == RUN || tag == OPEN_RUN
}

/// What a value takes: at least a word, so that values without bytes can be counted.
#[inline]
pub(crate) fn padded(len: usize) -> usize {
    len.max(1).next_multiple_of(WORD as usize)
}

/// A run's digest so far.
#[derive(Debug, Clone, Copy, Default)]
struct Digest(u64);

impl Digest {
    fn of_len(len: u32) -> Self {
        Self(0).with_word(u64::from(len))
    }

    /// FxHash as the Rust compiler has it: <https://github.com/rust-lang/rustc-hash>.
    #[inline]
    fn with_word(self, word: u64) -> Self {
        Self((self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95))
    }

    #[inline]
    fn with_value(self, value: &[u8]) -> Self {
        const SHORT: usize = 4 * WORD as usize;
        if value.len() > SHORT {
            return self.with_word(xxh3_64(value));
        }
        let (words, rest) = value.as_chunks();
        let digest = words.iter().fold(self, |digest, word| digest.with_word(u64::from_le_bytes(*word)));
        if rest.is_empty() {
            return digest;
        }
        let mut last = [0; WORD as usize];
        last[..rest.len()].copy_from_slice(rest);
        digest.with_word(u64::from_le_bytes(last))
    }

    /// The upper bits depend on all of the words.
    fn check(self) -> u32 {
        (self.0 >> 40) as u32
    }
}

/// The run that a producer pushes to.
#[derive(Debug)]
pub(super) struct OpenRun {
    /// The length of a value.
    value: u32,
    /// The payload so far, and how long it may get.
    len: u32,
    limit: u32,
    digest: Digest,
}

impl Producer {
    /// Commits a value, or says that there is no room for it now. Its digest is that of the bytes given, not of what lies
    /// in the ring by then.
    #[inline]
    pub(in crate::lane) fn push(&mut self, value: &[u8]) -> bool {
        let slot = padded(value.len()) as u32;
        let fits = |run: &OpenRun| run.value == value.len() as u32 && run.len + slot <= run.limit;
        if !self.run.as_ref().is_some_and(fits) && !self.open_run(value.len()) {
            return false;
        }
        let Self { run: Some(run), span, at, .. } = self else { return false };
        let offset = at.offset + WORD + run.len;
        span.note_write(offset, slot);
        // SAFETY: `open_run` found the run's payload free up to its limit, in which this value lies; the consumer does not
        // look there until the header says so.
        unsafe {
            let place = span.at(offset);
            match <&[u8; WORD as usize]>::try_from(value) {
                // One store, where a copy of any length is a call.
                Ok(word) => place.cast::<[u8; WORD as usize]>().write(*word),
                Err(_) => std::ptr::copy_nonoverlapping(value.as_ptr(), place, value.len()),
            }
        }
        run.len += slot;
        run.digest = run.digest.with_value(value);
        let header = Header { len: run.len, tag: OPEN_RUN, check: self.number ^ run.digest.check() };
        // SYNC: record committed. The value is visible to the consumer that sees this header.
        span.header(at.offset).store(header.pack(), Ordering::Release);
        true
    }

    /// Begins a run for values of this length; false when there is no room for one of them.
    #[cold]
    fn open_run(&mut self, value: usize) -> bool {
        let least = WORD as usize + padded(value);
        let Some(Room { wraps, limit, .. }) = self.reserve(least, 0) else { return false };
        if wraps {
            self.wrap();
        }
        let offset = self.at.offset + WORD;
        self.span.note_write(offset, WORD);
        let word = (value as u64).to_le_bytes();
        // SAFETY: `reserve` found this range free, as in `push`.
        unsafe { std::ptr::copy_nonoverlapping(word.as_ptr(), self.span.at(offset), word.len()) };
        let limit = limit.min(LONGEST_RUN.max(least as u32));
        let value = value as u32;
        self.run = Some(OpenRun { value, len: WORD, limit, digest: Digest::of_len(value) });
        true
    }

    /// Ends the run, if there is one: the next record can follow.
    #[inline]
    pub(super) fn close_run(&mut self) {
        let Some(OpenRun { len, digest, .. }) = self.run.take() else { return };
        let next = self.at.offset + Header::total(len);
        self.span.header(next).store(0, Ordering::Relaxed);
        self.publish(Header { len, tag: RUN, check: self.number ^ digest.check() });
        self.at.offset = next;
    }
}

/// How far a consumer has come in a run.
#[derive(Debug, Default)]
pub(super) struct TakenRun {
    /// The header that it saw last; 0 at the start of a record.
    pub(super) seen: u64,
    /// How much of the payload it has taken.
    len: u32,
    /// The length of a value.
    value: u32,
    digest: Digest,
}

impl TakenRun {
    #[inline]
    pub(super) fn is_begun(&self) -> bool {
        self.len > 0
    }
}

impl Consumer {
    /// Takes what a run has grown by: how many values of what length. They are appended to `out`, and only that copy is
    /// checked.
    pub(super) fn take_run(&mut self, header: Header, out: &mut Vec<u8>) -> Result<(usize, usize), Corrupt> {
        if !self.run.is_begun() {
            let mut word = [0; WORD as usize];
            if header.len < WORD {
                return Err(Corrupt);
            }
            self.copy(0, &mut word);
            let value = u32::try_from(u64::from_le_bytes(word)).map_err(|_| Corrupt)?;
            if value > self.span.len {
                return Err(Corrupt);
            }
            self.run = TakenRun { seen: 0, len: WORD, value, digest: Digest::of_len(value) };
        }
        let TakenRun { len, value, mut digest, .. } = self.run;
        let slot = padded(value as usize);
        let grown = header.len.checked_sub(len).ok_or(Corrupt)? as usize;
        let start = out.len();
        out.resize(start + grown, 0);
        self.copy(len, &mut out[start..]);
        let slots = out[start..].chunks_exact(slot);
        let whole = slots.remainder().is_empty();
        for place in slots {
            digest = digest.with_value(&place[..value as usize]);
        }
        if !whole || header.check != (self.number ^ digest.check()) & CHECK_MASK {
            out.truncate(start);
            return Err(Corrupt);
        }
        if header.tag == OPEN_RUN {
            self.run = TakenRun { seen: header.pack(), len: header.len, value, digest };
        } else {
            self.run = TakenRun::default();
            self.advance(header.len as usize);
        }
        Ok((grown / slot, value as usize))
    }

    /// Copies a part of the payload of the record that lies ahead, which `next_header` found to lie within the span.
    fn copy(&self, from: u32, to: &mut [u8]) {
        let offset = self.at.offset + WORD + from;
        assert!(offset as usize + to.len() <= self.span.len as usize);
        self.span.note_read(offset, to.len() as u32);
        // SAFETY: the source lies within the span (just checked) and does not overlap with private memory. A peer that
        // writes there at the same time makes the bytes arbitrary, not the access invalid.
        unsafe { std::ptr::copy_nonoverlapping(self.span.at(offset), to.as_mut_ptr(), to.len()) };
    }
}
