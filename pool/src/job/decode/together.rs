//! Decoding by several threads.
//!
//! The caller has cut into pieces what takes it long, and shares them. Whoever takes part decodes the next piece until
//! none is left, and keeps its results with the piece. The caller waits until all others are done, and hands the
//! results on in order. So order, the first failed task and the number of outcomes are the same as without help.
//!
//! Each value is decoded once. If a helper has left a piece undecoded, the caller does that in the end.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::paced::{Piece, decode_piece};
use super::{decode_each, in_slots, undecodable};
use crate::codec::Codec;
use crate::error::{Error, TaskError};
use crate::ids::TaskIndex;
use crate::job::PoolHandle;
use crate::job::helpers::Work;
use crate::task::{Output, Task};
use crate::work::{Inbox, Outcome};

/// The values of a piece, and where they belong.
struct Decoded<R> {
    values: Vec<R>,
    runs: Vec<Run>,
}

/// Values of an arrival that follow each other.
struct Run {
    arrival: usize,
    outcomes: Range<usize>,
    /// Why the value after them cannot be decoded.
    failed: Option<String>,
}

/// Decodes these pieces and hands their outcomes to `on_outcome`.
pub(super) fn decode<T: Task>(
    pool: &PoolHandle,
    inbox: &mut Inbox,
    pieces: Vec<Piece>,
    values: &mut Vec<T::Output>,
    on_outcome: &mut impl FnMut(TaskIndex, u64, Result<&mut Vec<T::Output>, TaskError>) -> Result<(), Error>,
) -> Result<(), Error> {
    let codec = pool.config().codec;
    // The caller decodes as many as each of them.
    let wanted = pieces.len() / 2;
    let shared = Arc::new(Shared::<T> {
        inbox: std::mem::take(inbox),
        codec,
        pieces: pieces.into_iter().map(|piece| (piece, Mutex::new(None))).collect(),
        next: AtomicUsize::new(0),
        task: PhantomData,
    });
    pool.helpers().share(&(Arc::clone(&shared) as Arc<dyn Work>), wanted);
    let Some(shared) = Arc::into_inner(shared) else {
        // User code has forked. In the child, helpers are gone with what they had.
        pool.engine().check()?;
        unreachable!("all helpers have left");
    };
    *inbox = shared.inbox;
    for (piece, decoded) in shared.pieces {
        match decoded.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(decoded) => decoded.hand_on::<T>(inbox, codec, values, on_outcome)?,
            None => decode_piece::<T>(piece, inbox, codec, values, on_outcome)?,
        }
    }
    Ok(())
}

/// Pieces that several threads decode.
struct Shared<T: Task> {
    inbox: Inbox,
    codec: Codec,
    pieces: Vec<(Piece, Mutex<Option<Decoded<T::Output>>>)>,
    next: AtomicUsize,
    task: PhantomData<fn() -> T>,
}

impl<T: Task> Work for Shared<T> {
    fn help(&self) {
        // Each number goes to one thread. What the threads make is ordered by the locks.
        while let Some((piece, decoded)) = self.pieces.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let made = Decoded::of(*piece, &self.inbox, self.codec);
            *decoded.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        }
    }
}

impl<R: Output> Decoded<R> {
    fn of(piece: Piece, inbox: &Inbox, codec: Codec) -> Self {
        let mut decoded = Self { values: Vec::with_capacity(piece.count), runs: Vec::new() };
        for (number, outcomes) in piece.parts(&inbox.arrivals) {
            let Outcome::Values { start, slots, .. } = inbox.arrivals[number].what else {
                // The caller makes its error.
                decoded.runs.push(Run { arrival: number, outcomes, failed: None });
                continue;
            };
            let mut from = outcomes.start;
            let mut encoded = in_slots(&inbox.tape, start, slots, outcomes);
            loop {
                let before = decoded.values.len();
                let failed = decode_each(codec, slots, &mut encoded, &mut decoded.values);
                let to = from + decoded.values.len() - before;
                let is_over = failed.is_none();
                decoded.runs.push(Run { arrival: number, outcomes: from..to, failed });
                from = to + 1;
                if is_over {
                    break;
                }
            }
        }
        decoded
    }

    /// Hands on the outcomes.
    fn hand_on<T: Task<Output = R>>(
        self,
        inbox: &Inbox,
        codec: Codec,
        values: &mut Vec<R>,
        on_outcome: &mut impl FnMut(TaskIndex, u64, Result<&mut Vec<R>, TaskError>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut all = self.values.into_iter();
        for Run { arrival, outcomes, failed } in self.runs {
            let arrival = &inbox.arrivals[arrival];
            let Outcome::Values { slots, .. } = arrival.what else {
                super::decode::<T>(arrival, outcomes, &inbox.tape, codec, values, &mut *on_outcome)?;
                continue;
            };
            let bytes_each = slots.bytes_each() as u64;
            values.clear();
            values.extend(all.by_ref().take(outcomes.len()));
            on_outcome(arrival.index + outcomes.start as u64, bytes_each, Ok(values))?;
            if let Some(why) = failed {
                let index = arrival.index + outcomes.end as u64;
                on_outcome(index, bytes_each, Err(undecodable::<T>(arrival, index, why)))?;
            }
        }
        Ok(())
    }
}
