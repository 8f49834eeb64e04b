//! Results on their way to a caller: the engine has received them, and the caller has not taken them yet.

use crate::error::{EndNotes, Error, TaskErrorKind};
use crate::ids::{TaskIndex, WorkerId};
use crate::lane::Slots;

/// The results of one job that its caller has not taken. Encoded values follow each other on the tape. The caller
/// decodes them, outside any lock.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) tape: Vec<u8>,
    pub(crate) arrivals: Vec<Arrival>,
    /// Failures about which the caller is asked.
    pub(crate) asked: Vec<Asked>,
    /// How the job ended, once it has: every task has its outcome, or the job failed.
    pub(crate) end: Option<Result<(), Error>>,
}

/// The outcome of one task, or of several consecutive ones.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// The index of the first of these tasks.
    pub(crate) index: TaskIndex,
    pub(crate) worker: WorkerId,
    pub(crate) what: Outcome,
}

#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// `count` values, in slots from `start` of the tape on.
    Values {
        start: usize,
        slots: Slots,
        count: usize,
    },
    Failed(Box<TaskFailure>),
}

/// A failed attempt at a task, which is tried again if the caller says so. It does so by handing this back.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) index: TaskIndex,
    pub(crate) worker: WorkerId,
    /// Its encoded argument is there whenever it was at hand, to be sent again.
    pub(crate) failure: Box<TaskFailure>,
    /// Whether the argument can be shown.
    pub(crate) shows_item: bool,
}

impl Asked {
    /// The encoded argument, if it can be shown.
    pub(crate) fn shown_item(&self) -> Option<&[u8]> {
        self.failure.item.as_deref().filter(|_| self.shows_item)
    }
}

/// Why a task has no result.
#[derive(Debug, Clone)]
pub(crate) struct TaskFailure {
    pub(crate) attempts: u32,
    pub(crate) kind: TaskErrorKind,
    /// The errors of its earlier attempts.
    pub(crate) earlier: Vec<TaskErrorKind>,
    /// The encoded argument, if it was still at hand and can be shown.
    pub(crate) item: Option<Vec<u8>>,
    /// Details of its worker's end.
    pub(crate) end: EndNotes,
    /// How many bytes it counts against the limit on results not yet taken.
    pub(crate) bytes: u64,
}

impl TaskFailure {
    /// Of a task that was tried once, without details.
    pub(crate) fn of(kind: TaskErrorKind, bytes: u64) -> Self {
        Self { attempts: 1, kind, earlier: Vec::new(), item: None, end: EndNotes::default(), bytes }
    }
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.arrivals.is_empty() && self.asked.is_empty() && self.end.is_none()
    }

    /// Empties it, and keeps its memory unless that is much.
    pub(crate) fn clear(&mut self) {
        empty(&mut self.tape);
        empty(&mut self.arrivals);
        self.asked.clear();
        self.end = None;
    }

    /// Adds values whose bytes are already on the tape, from `start` to its end. Extends the last arrival if they
    /// continue it.
    pub(crate) fn push(
        &mut self,
        index: TaskIndex,
        worker: WorkerId,
        start: usize,
        slots: Slots,
        count: usize,
    ) {
        if let Some(Arrival {
            index: first,
            worker: by,
            what: Outcome::Values { start: from, slots: of, count: so_far },
        }) = self.arrivals.last_mut()
            && (*by, *of) == (worker, slots)
            && *first + *so_far as u64 == index
            && *from + *so_far * slots.stride() == start
        {
            *so_far += count;
            return;
        }
        self.arrivals.push(Arrival { index, worker, what: Outcome::Values { start, slots, count } });
    }

    /// Puts a large value on the tape, padded to `padded` bytes. False, and the tape is as it was, if there is no
    /// memory for that.
    pub(crate) fn put_on_tape(&mut self, mut value: Vec<u8>, padded: usize) -> bool {
        let tape = &mut self.tape;
        let end = tape.len() + padded;
        if tape.is_empty() {
            if value.try_reserve(padded - value.len()).is_err() {
                return false;
            }
            *tape = value;
        } else {
            if tape.try_reserve(padded).is_err() {
                return false;
            }
            tape.extend_from_slice(&value);
        }
        tape.resize(end, 0);
        true
    }

    /// Adds the failure of a task.
    pub(crate) fn push_failure(&mut self, index: TaskIndex, worker: WorkerId, failure: TaskFailure) {
        self.arrivals.push(Arrival { index, worker, what: Outcome::Failed(Box::new(failure)) });
    }

    /// The numbers of results and of failed tasks.
    pub(crate) fn outcomes(&self) -> (u64, u64) {
        self.arrivals.iter().fold((0, 0), |(done, failed), arrival| match &arrival.what {
            Outcome::Values { count, .. } => (done + *count as u64, failed),
            Outcome::Failed(_) => (done, failed + 1),
        })
    }

    /// Appends the results that came after these. Where there is no memory for their values, the first task of each
    /// arrival fails instead, which ends a call that keeps its results here.
    pub(crate) fn append(&mut self, later: Self) {
        let base = self.tape.len();
        let bytes = later.tape.len();
        let fits = if base == 0 {
            self.tape = later.tape;
            true
        } else {
            let fits = self.tape.try_reserve(bytes).is_ok();
            self.tape.extend_from_slice(if fits { &later.tape } else { &[] });
            fits
        };
        self.arrivals.extend(later.arrivals.into_iter().map(|mut arrival| {
            match &mut arrival.what {
                Outcome::Values { start, .. } if fits => *start += base,
                Outcome::Values { .. } => {
                    let kind = TaskErrorKind::Decode(no_memory(bytes));
                    arrival.what = Outcome::Failed(Box::new(TaskFailure::of(kind, 0)));
                }
                Outcome::Failed(_) => {}
            }
            arrival
        }));
        self.end = self.end.take().or(later.end);
    }
}

/// A vector that takes at most this many bytes is kept for reuse.
const SPARE_BYTES: usize = 4 << 20;

/// A vector of up to this many bytes is kept, too, if a quarter of it was used: results of a mebibyte come by the
/// dozen, and each page that is taken anew costs as much as the copy of a page. A larger one is worth nothing: larger
/// results come in vectors of their own.
const MOST_SPARE_BYTES: usize = 16 << 20;

/// Empties a vector, and keeps its memory unless that is much.
fn empty<T>(values: &mut Vec<T>) {
    let bytes = values.capacity().saturating_mul(size_of::<T>());
    let is_used = bytes <= MOST_SPARE_BYTES && values.len() >= values.capacity() / 4;
    values.clear();
    if bytes > SPARE_BYTES && !is_used {
        *values = Vec::new();
    }
}

/// Says that there is no memory for results of this length.
pub(crate) fn no_memory(bytes: usize) -> String {
    format!("there is no memory for a result of {bytes} bytes: the system gives no more memory")
}

impl Arrival {
    /// How many outcomes it has.
    pub(crate) fn outcomes(&self) -> usize {
        match self.what {
            Outcome::Values { count, .. } => count,
            Outcome::Failed(_) => 1,
        }
    }

    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.what, Outcome::Failed(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_memory_is_not_kept() {
        for (used, capacity, is_kept) in [
            (0, SPARE_BYTES, true),
            (0, SPARE_BYTES + 1, false),
            (SPARE_BYTES, 4 * SPARE_BYTES, true),
            (SPARE_BYTES - 1, 4 * SPARE_BYTES, false),
            (MOST_SPARE_BYTES, MOST_SPARE_BYTES + 1, false),
        ] {
            let mut inbox = Inbox { tape: Vec::with_capacity(capacity), ..Inbox::default() };
            inbox.tape.resize(used, 1);
            inbox.arrivals.reserve_exact(SPARE_BYTES);
            inbox.clear();
            assert_eq!(inbox.tape.capacity(), if is_kept { capacity } else { 0 }, "{used} of {capacity}");
            assert_eq!((inbox.tape.len(), inbox.arrivals.capacity()), (0, 0));
        }
    }
}
