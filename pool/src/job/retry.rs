//! What becomes of tasks that fail: whether they are tried again, and when their call gives up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::callbacks::Notice;
use super::decode::error_of;
use super::{Job, Options};
use crate::engine::Engine;
use crate::error::{CallSite, Error, TaskError};
use crate::ids::{JobId, TaskIndex};
use crate::task::Task;
use crate::work::{Asked, RetryPlan};

/// Which failed tasks are tried again, how often and when, for [`Job::retry`].
///
/// ```
/// use std::time::Duration;
/// use pool::{Retry, TaskErrorKind, WorkerPool, shared::SharedCounter, worker_task};
///
/// #[worker_task(fallible)]
/// fn fetch(#[shared] requests: &SharedCounter, page: &str) -> Result<usize, String> {
///     match page {
///         "gone" => Err("404 not found".into()),
///         // A service that is busy at first.
///         _ if requests.fetch_add(1) < 2 => Err("503 try again later".into()),
///         _ => Ok(page.len()),
///     }
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), pool::Error> {
///     let pool = WorkerPool::builder().workers(2).shared(SharedCounter::new(0)?).build()?;
///     let retry = Retry::times(5)
///         .delay(Duration::from_millis(10), Duration::from_secs(1))
///         .jitter()
///         .on(|error| matches!(error.kind(), TaskErrorKind::Failed(why) if why.to_string().contains("503")));
///     let pages = fetch::job(&pool).retry(retry).map_outcomes(["index", "gone", "about"])?;
///     assert_eq!(pages[0], Ok(5));
///     assert_eq!(pages[1].as_ref().unwrap_err().attempts(), 1);
///     assert_eq!(pages[2], Ok(5));
///     Ok(())
/// }
/// ```
#[derive(Clone)]
#[must_use = "give it to `Job::retry`"]
pub struct Retry {
    times: u32,
    first: Duration,
    most: Duration,
    jitter: bool,
    on: Option<Arc<dyn Fn(&TaskError) -> bool + Send + Sync>>,
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { times, first, most, jitter, on } = self;
        f.debug_struct("Retry")
            .field("times", times)
            .field("delay", &(first, most))
            .field("jitter", jitter)
            .field("on", &on.as_ref().map(|_| ".."))
            .finish()
    }
}

impl Retry {
    /// Tries a failed task again, up to `times` times: it is started at most `times + 1` times. As
    /// [`retries(times)`](Job::retries): at once, and only if its worker died or it took too long.
    pub fn times(times: u32) -> Self {
        Self { times, first: Duration::ZERO, most: Duration::ZERO, jitter: false, on: None }
    }

    /// Lets a failed task wait before it is tried again: this long after its first failure, and twice as long after
    /// each further one, up to `most`. Default: no delay. A first delay that is longer than `most` is an error of the
    /// call.
    ///
    /// A task that waits keeps no worker and no other task from anything. But it counts as active for
    /// [`max_tasks_active`](Job::max_tasks_active) and for what bounds an iterator without it, and its argument stays
    /// in memory.
    pub fn delay(mut self, first: Duration, most: Duration) -> Self {
        (self.first, self.most) = (first, most);
        self
    }

    /// Varies the delays at random: each is between half of its time and all of it. So tasks that failed together, as
    /// when a service was down, do not come back together. Default: delays are exact. Calls with the same
    /// [`seed`](Job::seed) have the same delays.
    pub fn jitter(mut self) -> Self {
        self.jitter = true;
        self
    }

    /// Tries those failed tasks again for which this returns true, whatever their failure: also one that panicked, or
    /// that [returned an error](crate::TaskErrorKind::Failed). Default: those whose worker died, and those that took
    /// too long. It is asked after each failure as long as attempts are left.
    ///
    /// An argument that could not be encoded, and a result that the caller cannot decode, are not tried again: nothing
    /// would be different.
    ///
    /// It runs in this process, in the thread that takes the results: the caller's, or for calls in the background one
    /// of those that run [callbacks](crate::AsyncResult::on_success). So an iterator whose owner does something else
    /// asks when it is asked for a result again. Meanwhile all other tasks go on that were taken from the input. It may
    /// make other calls, but not wait for its own: neither its result nor [`wait_idle`](crate::WorkerPool::wait_idle)
    /// comes before it has decided, even if the call is cancelled. A panic in it goes through the call, or is ignored
    /// in the background; its task is not tried again.
    pub fn on(mut self, wants: impl Fn(&TaskError) -> bool + Send + Sync + 'static) -> Self {
        self.on = Some(Arc::new(wants));
        self
    }

    /// How many more attempts there may be.
    pub(super) fn most(&self) -> u32 {
        self.times
    }

    /// What the engine is to know beyond that, if it is anything. `seed` is the call's.
    pub(super) fn plan(&self, seed: u64) -> Option<Box<RetryPlan>> {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (first_ns, most_ns, asks) = (ns(self.first), ns(self.most), self.on.is_some());
        let jitter = self.jitter.then_some(seed);
        (first_ns > 0 || asks).then(|| Box::new(RetryPlan { first_ns, most_ns, jitter, asks }))
    }

    /// An error if the delays are none.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Self { first, most, .. } = self;
        if first <= most {
            return Ok(());
        }
        Err(Error::option("retry", self, "the first delay must not be longer than the longest one"))
    }

    /// Whether it and the other one treat tasks alike.
    fn is_like(&self, other: &Self) -> bool {
        let is_same_function = match (&self.on, &other.on) {
            (None, None) => true,
            (Some(on), Some(of)) => Arc::ptr_eq(on, of),
            _ => false,
        };
        let delays = |of: &Self| (of.times, of.first, of.most, of.jitter);
        is_same_function && delays(self) == delays(other)
    }
}

/// Decides whether a task that failed is tried again. Its error is made out as one of the task with this index.
#[derive(Clone)]
pub(super) struct Judge {
    retry: Retry,
    decide: Arc<dyn Fn(TaskIndex, &Asked) -> bool + Send + Sync>,
}

impl Judge {
    /// Whether it and the other one treat tasks alike.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.retry.is_like(&other.retry)
    }

    /// Decides, and tells the engine. Runs the user's code, so not under any lock; if that panics, the task is not
    /// tried again.
    pub(super) fn judge(&self, engine: &Engine, job: JobId, index: TaskIndex, asked: Asked) {
        let mut verdict = Verdict { engine, job, asked: Some(asked), tries_again: false };
        verdict.tries_again = verdict.asked.as_ref().is_some_and(|asked| (self.decide)(index, asked));
    }

    /// The same, later and elsewhere. `index` is that of the task for its caller.
    pub(super) fn notice(
        &self,
        engine: &Arc<Engine>,
        job: JobId,
        asked: Vec<Asked>,
        index: impl Fn(TaskIndex) -> TaskIndex,
    ) -> Vec<Notice> {
        let notice = |asked: Asked| {
            let (judge, engine, index) = (self.clone(), Arc::downgrade(engine), index(asked.index));
            Notice::Run(Box::new(move || {
                if let Some(engine) = engine.upgrade() {
                    judge.judge(&engine, job, index, asked);
                }
            }))
        };
        asked.into_iter().map(notice).collect()
    }
}

/// What is decided about a task. The engine gets to know it in any case.
struct Verdict<'e> {
    engine: &'e Engine,
    job: JobId,
    asked: Option<Asked>,
    tries_again: bool,
}

impl Drop for Verdict<'_> {
    fn drop(&mut self) {
        // The user's code may have forked. The child has no workers.
        if let Some(asked) = self.asked.take().filter(|_| self.engine.is_here()) {
            self.engine.decide(self.job, asked, self.tries_again);
        }
    }
}

/// Ends a call that has too many failed tasks.
pub(super) struct GivingUp {
    most: u64,
    failed: u64,
    first: Option<TaskError>,
}

impl GivingUp {
    pub(super) fn after(most: u64) -> Self {
        Self { most, failed: 0, first: None }
    }

    /// Counts a failed task.
    pub(super) fn count(&mut self, error: &TaskError) {
        self.failed += 1;
        self.first.get_or_insert_with(|| error.clone());
    }

    /// The error of the call, if it is to end.
    pub(super) fn check(&self) -> Result<(), Error> {
        let is_over = self.failed >= self.most;
        self.first.clone().filter(|_| is_over).map_or(Ok(()), |first| Err(first.into()))
    }
}

impl Options {
    /// Decides which tasks of this call are tried again, if the engine does not do so alone.
    pub(super) fn judge<T: Task>(&self, codec: crate::codec::Codec, site: &CallSite) -> Option<Judge> {
        let retry = self.extra.as_ref()?.retry.clone();
        let (on, site) = (retry.on.clone()?, site.clone());
        let decide = Arc::new(move |index, asked: &Asked| {
            let Asked { worker, failure, .. } = asked;
            on(&error_of::<T>(index, *worker, failure, asked.shown_item(), codec).called(&site))
        });
        Some(Judge { retry, decide })
    }
}

impl<T: Task, S, I, E, O> Job<'_, T, S, I, E, O> {
    /// Tries failed tasks again as this says: how often, after which delays, and which of them. Default: never.
    /// [`retries(n)`](Self::retries) is short for [`Retry::times(n)`](Retry::times), where there is an example of all
    /// that can be said; the last of both counts.
    ///
    /// Each attempt is an error of its own in
    /// [`TaskError::earlier_attempts`](crate::TaskError::earlier_attempts). A task that waits to be tried again ends
    /// with its call: when that is cancelled, at its [`deadline`](Self::deadline), and with the pool.
    ///
    /// A retry repeats all that the task has done to the world outside of it. It may run on any worker, so also on one
    /// whose state the last attempt has changed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pool::{Retry, TaskErrorKind, WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn always_fails(x: u32) -> u32 {
    ///     panic!("no {x}")
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let delays = (Duration::from_millis(1), Duration::from_millis(4));
    ///     let panicked = |kind: &TaskErrorKind| matches!(kind, TaskErrorKind::Panicked(_));
    ///     let retry = Retry::times(2).delay(delays.0, delays.1).on(move |error| panicked(error.kind()));
    ///     let error = always_fails::job(&pool).retry(retry).apply(7).unwrap_err();
    ///     assert_eq!(error.task().unwrap().attempts(), 3);
    ///     Ok(())
    /// }
    /// ```
    pub fn retry(mut self, retry: Retry) -> Self {
        self.options.extra_mut().retry = retry;
        self
    }

    /// Ends the call when this many of its tasks have failed, each after all of its attempts; at least 1. Default:
    /// never.
    ///
    /// The call then ends with the first of these failures, and what is done is kept where a call has more than one
    /// outcome. [`map_outcomes`](Self::map_outcomes), `chunks_mut_outcomes` and the like return what there is: a task
    /// without an outcome gets [`TaskErrorKind::Cancelled`](crate::TaskErrorKind::Cancelled). So do items that were not
    /// pulled from the input, if it knows its length and is not enormous; otherwise they get none.
    /// [`imap`](Self::imap) and streams give the results that have come, the same error in place of each that is
    /// missing before them, and the first failure as the last item. For `map` and others that end with the first failed
    /// task anyway, this changes nothing.
    ///
    /// Tasks that have begun have half a second to end, as after a cancel, so a few more may fail.
    ///
    /// ```
    /// use pool::{TaskErrorKind, WorkerPool, worker_task};
    ///
    /// #[worker_task(fallible)]
    /// fn insert(row: u32) -> Result<u32, String> {
    ///     Err(format!("row {row}: the database is down"))
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let outcomes = insert::job(&pool).give_up_after(5).map_outcomes(0..1000)?;
    ///     let failed = |error: &TaskErrorKind| matches!(error, TaskErrorKind::Failed(_));
    ///     let failures = outcomes.iter().filter(|row| row.as_ref().is_err_and(|error| failed(error.kind())));
    ///     assert!((5..100).contains(&failures.count()));
    ///     assert_eq!(outcomes.len(), 1000);
    ///     Ok(())
    /// }
    /// ```
    pub fn give_up_after(mut self, failures: usize) -> Self {
        self.options.extra_mut().give_up_after = Some(failures);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_vary_by_the_seed_of_the_call() {
        let retry = || Retry::times(3).delay(Duration::from_nanos(100), Duration::MAX);
        let plan =
            |retry: Retry, seed| retry.plan(seed).map(|plan| (plan.first_ns, plan.most_ns, plan.jitter));
        assert_eq!(plan(retry(), 7), Some((100, u64::MAX, None)));
        assert_eq!(plan(retry().jitter(), 7), Some((100, u64::MAX, Some(7))));
        assert_eq!(plan(Retry::times(3).jitter(), 7), None, "there is nothing to vary");
        assert!(Retry::times(3).on(|_| true).plan(7).is_some_and(|plan| plan.asks));
    }

    #[test]
    fn policies_that_are_alike() {
        let on = Retry::times(1).on(|_| true);
        let delayed = || Retry::times(1).delay(Duration::ZERO, Duration::MAX);
        assert!(on.is_like(&on.clone()) && delayed().is_like(&delayed()));
        assert!(!on.is_like(&Retry::times(1)) && !on.is_like(&Retry::times(1).on(|_| true)));
        assert!(!delayed().is_like(&delayed().jitter()) && !delayed().is_like(&Retry::times(1)));
    }
}
