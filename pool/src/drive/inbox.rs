//! What has come for a job and was not taken by its caller yet.

use crate::error::{Error, TaskErrorKind};

/// The arrivals of one job. Values lie as bytes on one tape; they are decoded by the caller, outside any lock.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) tape: Vec<u8>,
    pub(crate) arrivals: Vec<Arrival>,
    /// The job is over: every task has its outcome, or it failed.
    pub(crate) end: Option<Result<(), Error>>,
}

/// One task's outcome.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) index: u64,
    pub(crate) worker: usize,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// The value's bytes on the tape.
    Value {
        start: usize,
        len: usize,
    },
    Failed(Box<Loss>),
}

/// A task without a result.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    pub(crate) attempts: u32,
    pub(crate) kind: TaskErrorKind,
    /// What ended the attempts before.
    pub(crate) earlier: Vec<TaskErrorKind>,
    /// The argument's bytes, where they were still there.
    pub(crate) item: Option<Vec<u8>>,
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
}

impl Arrival {
    pub(crate) fn is_failed(&self) -> bool {
        matches!(self.what, What::Failed(_))
    }
}

impl Inbox {
    /// Whether a task failed.
    pub(crate) fn failed(&self) -> bool {
        self.arrivals.iter().any(Arrival::is_failed)
    }

    /// Adds what came later.
    pub(crate) fn append(&mut self, later: Self) {
        let base = self.tape.len();
        self.tape.extend(later.tape);
        self.arrivals.extend(later.arrivals.into_iter().map(|mut arrival| {
            if let What::Value { start, .. } = &mut arrival.what {
                *start += base;
            }
            arrival
        }));
        self.end = self.end.take().or(later.end);
    }
}
