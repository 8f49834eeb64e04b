//! What has come for a job and was not taken by its caller yet.

use crate::error::{EndNotes, Error, TaskErrorKind};
use crate::ids::WorkerId;

/// The arrivals of one job. Values lie as bytes on one tape; they are decoded by the caller, outside any lock.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) tape: Vec<u8>,
    pub(crate) arrivals: Vec<Arrival>,
    /// The job is over: every task has its outcome, or it failed.
    pub(crate) end: Option<Result<(), Error>>,
}

/// One task's outcome, or those of tasks that follow each other.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// The index of the first of them.
    pub(crate) index: u64,
    pub(crate) worker: WorkerId,
    pub(crate) what: Outcome,
}

#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// So many values of one length; on the tape each lies a `stride` behind the one before.
    Values {
        start: usize,
        len: usize,
        stride: usize,
        count: usize,
    },
    Failed(Box<TaskFailure>),
}

/// A task without a result.
#[derive(Debug, Clone)]
pub(crate) struct TaskFailure {
    pub(crate) attempts: u32,
    pub(crate) kind: TaskErrorKind,
    /// What ended the attempts before.
    pub(crate) earlier: Vec<TaskErrorKind>,
    /// The argument's bytes, where they were still there.
    pub(crate) item: Option<Vec<u8>>,
    /// What there is to say of its worker's end.
    pub(crate) end: EndNotes,
    /// What it counts as until the caller takes it.
    pub(crate) bytes: u64,
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.arrivals.is_empty() && self.end.is_none()
    }

    /// Empties it, but keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.tape.clear();
        self.arrivals.clear();
        self.end = None;
    }

    /// Lays down values that lie at the end of the tape since `start`.
    pub(crate) fn push(
        &mut self,
        index: u64,
        worker: WorkerId,
        start: usize,
        len: usize,
        stride: usize,
        count: usize,
    ) {
        if let Some(Arrival {
            index: first,
            worker: by,
            what: Outcome::Values { start: from, len: of, stride: _, count: so_far },
        }) = self.arrivals.last_mut()
            && (*by, *of) == (worker, len)
            && *first + *so_far as u64 == index
            && *from + *so_far * stride == start
        {
            *so_far += count;
            return;
        }
        self.arrivals.push(Arrival { index, worker, what: Outcome::Values { start, len, stride, count } });
    }

    /// Lays down that a task has no result.
    pub(crate) fn push_failure(&mut self, index: u64, worker: WorkerId, failure: TaskFailure) {
        self.arrivals.push(Arrival { index, worker, what: Outcome::Failed(Box::new(failure)) });
    }

    /// How many results there are, and how many tasks without one.
    pub(crate) fn outcomes(&self) -> (u64, u64) {
        self.arrivals.iter().fold((0, 0), |(done, failed), arrival| match &arrival.what {
            Outcome::Values { count, .. } => (done + *count as u64, failed),
            Outcome::Failed(_) => (done, failed + 1),
        })
    }

    /// Adds what came later.
    pub(crate) fn append(&mut self, later: Self) {
        let base = self.tape.len();
        self.tape.extend(later.tape);
        self.arrivals.extend(later.arrivals.into_iter().map(|mut arrival| {
            if let Outcome::Values { start, .. } = &mut arrival.what {
                *start += base;
            }
            arrival
        }));
        self.end = self.end.take().or(later.end);
    }
}

impl Arrival {
    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.what, Outcome::Failed(_))
    }
}
