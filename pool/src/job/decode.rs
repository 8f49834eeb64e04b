//! Decodes what has come to a call, outside any lock: results are bytes until here, and `Deserialize` is code of the
//! user's.

mod paced;
mod together;

use std::ops::Range;

use super::PoolHandle;
use super::retry::GivingUp;
use crate::codec::Codec;
use crate::error::{CallSite, Error, TaskError, TaskErrorKind};
use crate::ids::{TaskIndex, WorkerId};
use crate::lane::Slots;
use crate::task::{Output, Task, show};
use crate::work::{Arrival, Inbox, Outcome, TaskFailure};
use crate::{text, unwind};
pub(super) use paced::Pace;

/// What a turn has brought to a call.
pub(super) struct News<'n, T: Task> {
    pool: &'n PoolHandle,
    /// Where the call was made.
    site: &'n CallSite,
    inbox: &'n mut Inbox,
    /// The results of one arrival; kept between turns for its allocation.
    values: &'n mut Vec<T::Output>,
    pace: &'n mut Pace,
    giving_up: Option<&'n mut GivingUp>,
    /// How many tasks have a result, and how many have failed, of those that were decoded.
    done: u64,
    failed: u64,
}

impl<'n, T: Task> News<'n, T> {
    pub(super) fn new(
        pool: &'n PoolHandle,
        site: &'n CallSite,
        inbox: &'n mut Inbox,
        values: &'n mut Vec<T::Output>,
        pace: &'n mut Pace,
        giving_up: Option<&'n mut GivingUp>,
    ) -> Self {
        Self { pool, site, inbox, values, pace, giving_up, done: 0, failed: 0 }
    }

    /// The error of the call, if too many of its tasks have failed.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.giving_up.as_ref().map_or(Ok(()), |giving_up| giving_up.check())
    }

    /// How many tasks have a result, and how many have failed, of those that were decoded.
    pub(super) fn outcomes(&self) -> (u64, u64) {
        (self.done, self.failed)
    }

    /// Decodes all outcomes and hands them to `on_outcome`, as [`decode`] does.
    pub(super) fn decode(
        &mut self,
        mut on_outcome: impl FnMut(TaskIndex, u64, Result<&mut Vec<T::Output>, TaskError>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Self { pool, site, inbox, values, pace, giving_up, done, failed } = self;
        let mut on_outcome = |index, bytes, outcome: Result<&mut Vec<T::Output>, _>| {
            let outcome = outcome.map_err(|error: TaskError| error.called(site));
            match &outcome {
                Ok(values) => *done += Output::tasks(values),
                Err(error) => {
                    *failed += 1;
                    giving_up.iter_mut().for_each(|giving_up| giving_up.count(error));
                }
            }
            on_outcome(index, bytes, outcome)
        };
        match &inbox.arrivals[..] {
            // Nothing waits for the caller any more, and the clock would be a part of the time of a short call.
            [only] if inbox.end.is_some() => {
                decode::<T>(only, 0..only.outcomes(), &inbox.tape, pool.config().codec, values, on_outcome)
            }
            _ => paced::decode::<T>(pool, inbox, values, pace, &mut on_outcome),
        }
    }

    /// Decodes each result into the slot of its task, up to the first failed task.
    ///
    /// # Errors
    /// That of this task.
    pub(super) fn decode_into(&mut self, results: &mut [T::Output]) -> Result<(), Error> {
        let Self { inbox, done, .. } = self;
        let codec = self.pool.config().codec;
        for arrival in &inbox.arrivals {
            let error = match &arrival.what {
                Outcome::Values { start, slots, count } => {
                    let encoded = in_slots(&inbox.tape, *start, *slots, 0..*count);
                    let encoded = encoded.chunks_exact(slots.stride()).map(|slot| slots.value(slot));
                    let results = &mut results[arrival.index.as_usize()..][..*count];
                    let mut decoded = 0;
                    let why = decode_each_into(codec, encoded, results, &mut decoded);
                    *done += decoded;
                    let Some(why) = why else { continue };
                    undecodable::<T>(arrival, arrival.index + decoded, why)
                }
                Outcome::Failed(failure) => failed::<T>(arrival, failure, codec),
            };
            self.failed += 1;
            return Err(error.called(self.site).into());
        }
        Ok(())
    }
}

/// Decodes these outcomes of an arrival and hands them to `on_outcome`: the index of a task, the bytes that each of its
/// outcomes counts as, and either the results of this task and those that follow it, or its error. Results that
/// `on_outcome` leaves in the vector are dropped.
pub(super) fn decode<T: Task>(
    arrival: &Arrival,
    outcomes: Range<usize>,
    tape: &[u8],
    codec: Codec,
    values: &mut Vec<T::Output>,
    mut on_outcome: impl FnMut(TaskIndex, u64, Result<&mut Vec<T::Output>, TaskError>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut index = arrival.index + outcomes.start as u64;
    match &arrival.what {
        Outcome::Values { start, slots, .. } => {
            let mut encoded = in_slots(tape, *start, *slots, outcomes);
            let bytes_each = slots.bytes_each() as u64;
            loop {
                values.clear();
                let failed = decode_each(codec, *slots, &mut encoded, values);
                let count = values.len() as u64;
                on_outcome(index, bytes_each, Ok(values))?;
                let Some(why) = failed else { return Ok(()) };
                index += count;
                on_outcome(index, bytes_each, Err(undecodable::<T>(arrival, index, why)))?;
                index += 1;
            }
        }
        Outcome::Failed(failure) => {
            on_outcome(index, failure.bytes, Err(failed::<T>(arrival, failure, codec)))
        }
    }
}

/// The slots of these encoded values of an arrival, of which the first one is at `start`.
fn in_slots(tape: &[u8], start: usize, slots: Slots, outcomes: Range<usize>) -> &[u8] {
    let stride = slots.stride();
    &tape[start + outcomes.start * stride..][..outcomes.len() * stride]
}

/// So many values are worth the question whether they are numbers that can be decoded at once.
const LEAST_AT_ONCE: usize = 16;

/// Decodes the values in these slots up to the first that cannot be decoded, and returns why not. A worker may have
/// written anything: decoding can fail, or make a `Deserialize` impl panic. Leaves the slots after these.
fn decode_each<R: Output>(
    codec: Codec,
    slots: Slots,
    encoded: &mut &[u8],
    values: &mut Vec<R>,
) -> Option<String> {
    let stride = slots.stride();
    let count = encoded.len() / stride;
    values.reserve(count);
    if let Slots::Alike(len) = slots
        && count >= LEAST_AT_ONCE
        && R::decode_plain(codec, encoded, (len, stride), values)
    {
        *encoded = &[];
        return None;
    }
    until_undecodable(|| {
        while let Some((slot, rest)) = encoded.split_at_checked(stride) {
            *encoded = rest;
            let value = slots.value(slot);
            check_memory(value.len())?;
            values.push(R::decode(codec, value)?);
        }
        Ok(())
    })
}

/// The same, but each value goes into its place. Counts in `decoded` how many did.
fn decode_each_into<'v, R: Output>(
    codec: Codec,
    encoded: impl Iterator<Item = &'v [u8]>,
    results: &mut [R],
    decoded: &mut u64,
) -> Option<String> {
    until_undecodable(|| {
        for (value, result) in encoded.zip(results) {
            check_memory(value.len())?;
            R::decode_into(codec, value, result)?;
            *decoded += 1;
        }
        Ok(())
    })
}

fn until_undecodable(decode: impl FnOnce() -> Result<(), String>) -> Option<String> {
    let decoded = unwind::catch(decode);
    decoded.unwrap_or_else(|_| Err("its `Deserialize` implementation panicked".into())).err()
}

/// The error of a task of this arrival whose result cannot be decoded.
#[cold]
fn undecodable<T: Task>(arrival: &Arrival, index: TaskIndex, why: String) -> TaskError {
    let kind = TaskErrorKind::Decode(text::cut(why));
    TaskError::new(T::name(), index.as_usize(), arrival.worker.0, 1, None, kind)
}

/// The error of the failed task that arrived.
#[cold]
fn failed<T: Task>(arrival: &Arrival, failure: &TaskFailure, codec: Codec) -> TaskError {
    error_of::<T>(arrival.index, arrival.worker, failure, failure.item.as_deref(), codec)
}

/// The error of a task that failed, with this argument.
#[cold]
pub(super) fn error_of<T: Task>(
    index: TaskIndex,
    worker: WorkerId,
    failure: &TaskFailure,
    item: Option<&[u8]>,
    codec: Codec,
) -> TaskError {
    let TaskFailure { attempts, kind, earlier, end, .. } = failure;
    // Without memory to decode it again, the argument is not shown.
    let item = item.filter(|item| check_memory(item.len()).is_ok());
    let argument = item.and_then(|item| show::<T>(codec, item));
    let error = TaskError::new(T::name(), index.as_usize(), worker.0, *attempts, argument, kind.clone());
    error.after(earlier.clone()).with_end_notes(end.clone())
}

/// From this size on, memory is tried before a result is decoded: types allocate without asking, and a failed
/// allocation aborts the program.
const LARGE: usize = 1 << 20;

#[inline]
fn check_memory(bytes: usize) -> Result<(), String> {
    if bytes < LARGE { Ok(()) } else { try_reserve(bytes) }
}

#[cold]
fn try_reserve(bytes: usize) -> Result<(), String> {
    let mut copy = Vec::<u8>::new();
    copy.try_reserve_exact(bytes)
        .map_err(|error| format!("there is no memory to decode a result of {bytes} bytes: {error}"))
}
