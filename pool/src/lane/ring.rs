//! A ring of records of any length between one producer and one consumer, usually in two processes.
//!
//! A record is a header word and a payload, padded to whole words. The producer fills the payload, zeroes the header of
//! the next record, and then stores this record's header, which was zero until then. So the consumer polls no index:
//! flag and payload of a small record share a cache line. Whenever a producer dies, the consumer can read the committed
//! records, and nothing else looks committed.
//!
//! Records are contiguous. If the next one does not fit before the end, a `WRAP` record sends the consumer back to the
//! start. The producer wraps early once it is past the first [`HOT_BYTES`] and the start is free again: so small
//! records go round in memory that stays in the caches, and large ones use the whole ring. Past that part it asks how
//! far the consumer has read before each record or run ([`Producer::is_stale`]), to go back as soon as it can.
//!
//! A producer that has needed more than the hot part, and needs it no more, gives the memory back
//! ([`Producer::give_back`]).
//!
//! A [run] is a record that grows by one small value at a time.
//!
//! The producer's owner tells it which space is free, since the owner learns that differently in each direction:
//! [`Producer::free_up_to`].

mod consumer;
mod digest;
mod producer;
mod run;
mod slots;
#[cfg(all(test, not(loom)))]
mod tests;

use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::Ordering;

use super::sync::Span;
use digest::{digest, fold};
use run::{Lengths, OpenRun, RunProgress, is_run};
use slots::SHORT_BYTES;

pub(super) use consumer::{Consumer, Received};
pub(super) use producer::{Producer, Reservation};
pub(crate) use slots::{Slots, padded};

/// The part of a ring in which small records stay: it fits into a core's L2 cache beside the task's own data.
pub(super) const HOT_BYTES: u32 = if cfg!(all(loom, test)) { 24 } else { 64 << 10 };
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
