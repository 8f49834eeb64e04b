//! Decoding in pieces, with a look at the clock after each: what takes long must not keep anybody waiting.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::together;
use crate::codec::Codec;
use crate::error::{Error, TaskError};
use crate::ids::TaskIndex;
use crate::job::PoolHandle;
use crate::task::Task;
use crate::work::{Arrival, Inbox, Outcome};

/// After this time, the caller lets others drive, and asks helpers: it is several times what it takes to wake one.
const LONG: Duration = Duration::from_micros(100);

/// A piece takes at least about this long, which is far more than taking it, and at most four times as long, unless it
/// has one value: so nobody waits long for the last one.
const PIECE: Duration = Duration::from_micros(5);

/// Values with more bytes a microsecond are copied rather than decoded. Then memory is what takes time, and that of the
/// caller's own thread, which the allocator keeps, is faster than a helper's.
const COPIED: u128 = 2000;

/// With fewer pieces left, helpers come too late.
const LEAST_SHARED: usize = 4;

/// How fast the results of a call are decoded.
#[derive(Debug)]
pub(in crate::job) struct Pace {
    /// How many make a piece.
    piece: usize,
    /// Whether it took long the last time.
    is_slow: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { piece: 1, is_slow: false }
    }
}

impl Pace {
    /// Adapts the size of pieces to the time that one has taken.
    fn adapt(&mut self, took: Duration) {
        if took < PIECE {
            self.piece = (2 * self.piece).min(1 << 20);
        } else if took > 4 * PIECE {
            self.piece = (self.piece / 2).max(1);
        }
    }
}

/// Outcomes that follow each other: so many, from this one on of this arrival.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    arrival: usize,
    from: usize,
    pub(super) count: usize,
}

/// Decodes all outcomes and hands them to `on_outcome`, as [`decode`](super::decode) does.
pub(super) fn decode<T: Task>(
    pool: &PoolHandle,
    inbox: &mut Inbox,
    values: &mut Vec<T::Output>,
    pace: &mut Pace,
    on_outcome: &mut impl FnMut(TaskIndex, u64, Result<&mut Vec<T::Output>, TaskError>) -> Result<(), Error>,
) -> Result<(), Error> {
    let is_open = inbox.end.is_none();
    if pace.is_slow && is_open {
        pool.leave();
    }
    let was_slow = std::mem::take(&mut pace.is_slow);
    let codec = pool.config().codec;
    let began = Instant::now();
    let mut last = began;
    let mut pieces = Pieces::default();
    while let Some(piece) = pieces.next(&inbox.arrivals, pace.piece) {
        decode_piece::<T>(piece, inbox, codec, values, on_outcome)?;
        let now = Instant::now();
        pace.adapt(now - last);
        last = now;
        let took = now - began;
        if took < LONG {
            continue;
        }
        if !std::mem::replace(&mut pace.is_slow, true) && !was_slow && is_open {
            pool.leave();
        }
        let is_copied = pieces.bytes_so_far(inbox) as u128 > COPIED * took.as_micros();
        if pool.helpers().are_allowed() && !is_copied && pieces.left(inbox) >= LEAST_SHARED * pace.piece {
            let left: Vec<_> = std::iter::from_fn(|| pieces.next(&inbox.arrivals, pace.piece)).collect();
            return together::decode::<T>(pool, inbox, left, values, on_outcome);
        }
    }
    Ok(())
}

/// Decodes the outcomes of a piece and hands them on.
pub(super) fn decode_piece<T: Task>(
    piece: Piece,
    inbox: &Inbox,
    codec: Codec,
    values: &mut Vec<T::Output>,
    on_outcome: &mut impl FnMut(TaskIndex, u64, Result<&mut Vec<T::Output>, TaskError>) -> Result<(), Error>,
) -> Result<(), Error> {
    piece.parts(&inbox.arrivals).try_for_each(|(arrival, outcomes)| {
        let arrival = &inbox.arrivals[arrival];
        super::decode::<T>(arrival, outcomes, &inbox.tape, codec, values, &mut *on_outcome)
    })
}

/// Cuts arrivals into pieces.
#[derive(Default)]
struct Pieces {
    arrival: usize,
    from: usize,
}

impl Pieces {
    /// The next piece, of this length at most.
    fn next(&mut self, arrivals: &[Arrival], most: usize) -> Option<Piece> {
        let Self { arrival, from } = *self;
        let mut count = 0;
        while let Some(of) = arrivals.get(self.arrival).filter(|_| count < most) {
            let left = of.outcomes() - self.from;
            let taken = left.min(most - count);
            count += taken;
            self.from += taken;
            if taken == left {
                (self.arrival, self.from) = (self.arrival + 1, 0);
            }
        }
        (count > 0).then_some(Piece { arrival, from, count })
    }

    /// How many bytes the values before the next piece have.
    fn bytes_so_far(&self, inbox: &Inbox) -> usize {
        match inbox.arrivals.get(self.arrival).map(|arrival| &arrival.what) {
            Some(Outcome::Values { start, slots, .. }) => start + self.from * slots.stride(),
            _ => inbox.tape.len(),
        }
    }

    /// How many outcomes are left.
    fn left(&self, inbox: &Inbox) -> usize {
        inbox.arrivals.iter().skip(self.arrival).map(Arrival::outcomes).sum::<usize>() - self.from
    }
}

impl Piece {
    /// The numbers of the arrivals that it is made of, and what is in it of them.
    pub(super) fn parts(self, arrivals: &[Arrival]) -> impl Iterator<Item = (usize, Range<usize>)> {
        let Self { arrival, mut from, mut count } = self;
        (arrival..).zip(&arrivals[arrival..]).map_while(move |(number, of)| {
            let outcomes = from..of.outcomes().min(from.saturating_add(count));
            count -= outcomes.len();
            from = 0;
            (!outcomes.is_empty()).then_some((number, outcomes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::TaskErrorKind;
    use crate::ids::WorkerId;
    use crate::lane::Slots;
    use crate::work::TaskFailure;

    #[test]
    fn pieces_are_all_there_is() {
        let mut inbox = Inbox::default();
        let (mut index, mut indices) = (TaskIndex::default(), Vec::new());
        for (count, len) in [(1, 8), (5, 8), (100, 3), (1, 0), (7, 90), (33, 8)] {
            // Results of another worker come between.
            index += 1000;
            let (start, slots) = (inbox.tape.len(), Slots::Alike(len));
            inbox.tape.resize(start + count * slots.stride(), 0);
            inbox.push(index, WorkerId(0), start, slots, count);
            indices.extend((0..count as u64).map(|place| (index + place, len)));
            inbox.push_failure(index + 500, WorkerId(1), TaskFailure::of(TaskErrorKind::Cancelled, 0));
            indices.push((index + 500, 0));
        }
        for piece in [1, 2, 5, 16, 1000] {
            let mut pieces = Pieces::default();
            let mut seen = Vec::new();
            while let Some(next) = pieces.next(&inbox.arrivals, piece) {
                let before = seen.len();
                for (arrival, outcomes) in next.parts(&inbox.arrivals) {
                    let arrival = &inbox.arrivals[arrival];
                    assert!(outcomes.end <= arrival.outcomes());
                    let len = match arrival.what {
                        Outcome::Values { slots, .. } => slots.bytes_each(),
                        Outcome::Failed(_) => 0,
                    };
                    seen.extend(outcomes.map(|place| (arrival.index + place as u64, len)));
                }
                assert_eq!(seen.len() - before, next.count);
                assert!(next.count == piece || pieces.left(&inbox) == 0);
                assert_eq!(pieces.left(&inbox), indices.len() - seen.len());
                assert!(pieces.bytes_so_far(&inbox) <= inbox.tape.len());
            }
            assert_eq!(seen, indices, "in pieces of {piece}");
            assert_eq!(pieces.bytes_so_far(&inbox), inbox.tape.len());
        }
    }
}
