//! The options of workers that are idle, and their checks.

use std::time::Duration;

use super::WorkerPoolBuilder;
use crate::error::Error;
use crate::options::IdlePolicy;

/// The options of idle workers as they were given.
#[derive(Clone, Copy, Default)]
pub(super) struct IdleOptions {
    least: Option<usize>,
    timeout: Option<Duration>,
}

impl<S: Send + Sync + 'static> WorkerPoolBuilder<S> {
    /// Lets workers leave that have had nothing to do for this long, down to [`min_workers`](Self::min_workers), and
    /// frees what they hold. Default: workers stay for as long as the pool.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pool::{WorkerPool, worker_exit, worker_task};
    ///
    /// #[worker_exit]
    /// fn count(#[state] squares: u64) -> u64 {
    ///     squares
    /// }
    ///
    /// #[worker_task(exit = count)]
    /// fn square(#[state] squares: &mut u64, x: u64) -> u64 {
    ///     *squares += 1;
    ///     x * x
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::builder()
    ///         .workers(8)
    ///         .min_workers(1)
    ///         .idle_timeout(Duration::from_secs(60))
    ///         .build()?;
    ///     square::par_map(&pool, 0..1000)?;
    ///     // A minute later, one worker is left. This call starts the others again.
    ///     square::par_map(&pool, 0..1000)?;
    ///     assert_eq!(pool.join()?.exit_results::<count>()?.iter().sum::<u64>(), 2000);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// A worker leaves as at [`join`](crate::WorkerPool::join): its exit functions run, and their results and errors
    /// are kept for that. It gives up its state, and its successor makes it anew. Of several that have been idle long
    /// enough, those with the highest numbers leave first; tasks go to those with the lowest ones. Workers come back
    /// when tasks want them, and for [`warm_up`](crate::WorkerPool::warm_up) and
    /// [`on_each_worker`](crate::Job::on_each_worker). [Insights](crate::WorkerPool::insights) keep what they have
    /// done.
    ///
    /// They also leave while nobody calls the pool, and in the midst of a call that has nothing for them. A thread of
    /// the pool sees to that. It sleeps, ends once no more worker may leave, and does not keep the program from being
    /// forked by [`StartMethod::Fork`](crate::StartMethod::Fork). If no thread can be started, idle workers stay until
    /// the next call. The server of a [`StartMethod::ForkServer`](crate::StartMethod::ForkServer) stays in any case.
    ///
    /// A worker may leave a sixteenth of this time late, or a millisecond. A time of zero is an error:
    /// [`keep_alive(false)`](Self::keep_alive) ends workers with each call.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle.timeout = Some(timeout);
        self
    }

    /// Sets how many workers stay although they are idle, up to the number of [`workers`](Self::workers). Default: 0:
    /// with [`idle_timeout`](Self::idle_timeout), all may leave. Without that, all stay in any case.
    ///
    /// Workers start on demand: a pool that never had so many does not start them for this. One that is
    /// [resized](crate::WorkerPool::resize) to fewer has no more than those.
    pub fn min_workers(mut self, workers: usize) -> Self {
        self.idle.least = Some(workers);
        self
    }
}

impl IdleOptions {
    /// When workers leave, if they do, or an error that says what is wrong with an option.
    pub(super) fn check(self, workers: usize) -> Result<Option<IdlePolicy>, Error> {
        let least = self.least.unwrap_or(0);
        if least > workers {
            let allowed = format!("the pool has {workers} workers in all (option `workers`)");
            return Err(Error::option("min_workers", least, allowed));
        }
        if self.timeout == Some(Duration::ZERO) {
            let allowed =
                "it must be longer than zero; to end workers with each call, use `keep_alive(false)`";
            return Err(Error::option("idle_timeout", Duration::ZERO, allowed));
        }
        let policy = |timeout: Duration| {
            let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            IdlePolicy { timeout_ns, least }
        };
        Ok(self.timeout.map(policy))
    }
}
