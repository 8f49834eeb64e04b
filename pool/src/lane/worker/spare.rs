//! When a worker gives back the memory that large messages, or many small replies, have left behind.

/// From this length on, an order or a reply leaves memory behind that is worth giving back: in the ring, in buffers,
/// and in the allocator.
pub(super) const LARGE: usize = 256 << 10;

/// For how long memory for large messages is kept although none has come: a worker that gets one after another reuses
/// it. Taking it anew costs about as much as a copy of the message. No model waits that long.
const SPARE_NS: u64 = if cfg!(all(loom, test)) { 1 << 62 } else { 100_000_000 };

/// The memory that was left behind.
#[derive(Debug, Default)]
pub(super) struct Spare {
    /// There is some, as far as is known.
    is_there: bool,
    /// Some of it may be in buffers and in the allocator, not only in the ring.
    in_heap: bool,
    /// When it was last needed, or could last not be given back.
    since: u64,
    /// How often it could not.
    attempts: u32,
}

impl Spare {
    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// Notes that a large message has come or gone.
    pub(super) fn note_large(&mut self, now: u64) {
        *self = Self { is_there: true, in_heap: true, since: now, attempts: 0 };
    }

    /// Notes that much of the ring was needed.
    pub(super) fn note_ring(&mut self, now: u64) {
        *self = Self { is_there: true, in_heap: self.in_heap, since: now, attempts: 0 };
    }

    /// Whether some may be in the heap, from which the caller gives it back.
    pub(super) fn take_in_heap(&mut self) -> bool {
        std::mem::take(&mut self.in_heap)
    }

    /// Notes that memory was given back, and whether some is still there.
    pub(super) fn note_attempt(&mut self, now: u64, is_there: bool) {
        *self = Self { is_there, in_heap: self.in_heap, since: now, attempts: self.attempts + 1 };
    }

    /// In how many nanoseconds it should be given back, if there is any. Attempts become rarer: up to three seconds
    /// apart.
    pub(super) fn due_in(&self, now: u64) -> Option<u64> {
        let due = self.since.saturating_add(SPARE_NS << self.attempts.min(5));
        self.is_there.then(|| due.saturating_sub(now))
    }
}
