//! The time by which a call is to end.

use std::time::{Duration, Instant};

use super::Job;
use crate::sys::clock::now_ns;
use crate::task::Task;

/// The time by which a call is to end, for [`Job::deadline`]: an [`Instant`], or a [`Duration`] from when the call is
/// made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Until);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    At(Instant),
    After(Duration),
}

impl From<Instant> for Deadline {
    fn from(at: Instant) -> Self {
        Self(Until::At(at))
    }
}

impl From<Duration> for Deadline {
    fn from(after: Duration) -> Self {
        Self(Until::After(after))
    }
}

impl Deadline {
    /// The time of a call that is made now, in nanoseconds as the engine counts them.
    pub(super) fn in_ns(self) -> u64 {
        let left = match self.0 {
            Until::At(at) => at.saturating_duration_since(Instant::now()),
            Until::After(left) => left,
        };
        now_ns().saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl<T: Task, S, I, E, O> Job<'_, T, S, I, E, O> {
    /// Ends the call at this time, whatever its tasks do: at an [`Instant`], or after a [`Duration`] from when the call
    /// is made. Default: never. (A limit for each task is [`task_timeout`](Self::task_timeout).)
    ///
    /// The call then ends with [`Error::DeadlineExceeded`](crate::Error::DeadlineExceeded), and what is done is kept
    /// where a call has more than one outcome. [`map_outcomes`](Self::map_outcomes), `chunks_mut_outcomes` and the like
    /// return what there is: a task without an outcome gets
    /// [`TaskErrorKind::Cancelled`](crate::TaskErrorKind::Cancelled). So do items that were not pulled from the input,
    /// if it knows its length and is not enormous; otherwise they get none. Tasks need not begin in the order of their
    /// items. [`imap`](Self::imap) and streams give the results that have come, the same error in place of each that is
    /// missing before them, and `DeadlineExceeded` as the last item.
    ///
    /// Tasks that have begun have half a second to end, as after a cancel. Then their workers are killed and replaced;
    /// a thread goes on until its task ends. Until then these workers serve no other call:
    /// [`wait_idle`](crate::WorkerPool::wait_idle) waits for that. The time goes on while this program is stopped, as
    /// by Ctrl-Z. A call that is made too late runs no task. An input that blocks keeps its caller beyond the deadline,
    /// but no worker.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pool::{Error, WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn solve(size: u64) -> u64 {
    ///     if size > 100 {
    ///         std::thread::sleep(Duration::from_secs(3600));
    ///     }
    ///     size * size
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), Error> {
    ///     let pool = WorkerPool::new(1)?;
    ///     let in_time = || solve::job(&pool).chunk_size(1).deadline(Duration::from_millis(300));
    ///     let outcomes = in_time().map_outcomes([3, 4, 1000])?;
    ///     let done: Vec<u64> = outcomes.into_iter().flatten().collect();
    ///     assert_eq!(done, [9, 16]);
    ///     assert!(matches!(in_time().map([3, 1000]), Err(Error::DeadlineExceeded)));
    ///     Ok(())
    /// }
    /// ```
    pub fn deadline(mut self, until: impl Into<Deadline>) -> Self {
        self.options.extra_mut().deadline = Some(until.into());
        self
    }
}
