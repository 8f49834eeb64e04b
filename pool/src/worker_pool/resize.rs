//! A pool gets more workers, or fewer.

use super::WorkerPool;
use super::processes::Processes;
use crate::error::Error;
use crate::options::{MOST_WORKERS, MoreWorkers};

/// What the pool gives to workers that it never had before.
pub(super) struct Growth {
    /// The CPUs of each. None if each worker was given CPUs of its own.
    pub(super) cpus: Option<Vec<usize>>,
    /// Their variables.
    pub(super) env: Processes,
}

impl<S> WorkerPool<S> {
    /// Sets how many workers the pool has, from 1 to 65536, while calls run or not, from any thread. Does not wait
    /// for workers.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(1)?;
    ///     let squares = square::job(&pool).map_async(0..1000);
    ///     pool.resize(4)?;
    ///     assert_eq!(pool.workers(), 4);
    ///     assert_eq!(squares.get()?[999], 999 * 999);
    ///     pool.resize(2)?;
    ///     assert_eq!(square::par_map(&pool, 0..3)?, [0, 1, 4]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// *More*: they start when tasks want them, at once if some do. [`cpu_ids`](crate::WorkerPoolBuilder::cpu_ids)
    /// that were given for all workers hold for them, too. If each worker was given CPUs of its own, the pool can
    /// have no more workers than that. The function of [`env`](crate::WorkerPoolBuilder::env) is called, in this
    /// thread, for each worker that the pool never had before.
    ///
    /// *Fewer*: the workers with the highest numbers finish the task that they run. The tasks that wait for them go
    /// to others, and none is lost or runs twice. Then they leave as at [`join`](Self::join): their exit functions
    /// run, and the results are kept. A thread of the pool waits until they have left, as for
    /// [`idle_timeout`](crate::WorkerPoolBuilder::idle_timeout).
    ///
    /// A call of [`on_each_worker`](crate::Job::on_each_worker) that is open has one task for each worker that there
    /// was at its beginning, and runs it there, even on one that then leaves; [`warm_up`](Self::warm_up) does not
    /// wait for that. With [`order_tasks`](crate::WorkerPoolBuilder::order_tasks), chunk `i` goes to worker `i`
    /// modulo the number of workers at the time when it is sent. [Insights](Self::insights) and timelines keep a line
    /// for each worker that the pool ever had, and each call takes a little longer in a pool that once had thousands.
    ///
    /// # Errors
    /// - [`Error::Option`] for a number that is not allowed, and for variables that are not.
    /// - [`Error::Closed`] after [`shutdown`](Self::shutdown), [`Error::Forked`] in a fork of the process that built
    ///   the pool.
    pub fn resize(&self, workers: usize) -> Result<(), Error> {
        let engine = self.handle.engine();
        engine.check()?;
        if !(1..=MOST_WORKERS).contains(&workers) {
            let allowed = format!("a pool has at least 1 worker, and at most {MOST_WORKERS}");
            return Err(Error::option("workers", workers, allowed));
        }
        let known = engine.known_workers();
        let mut more = MoreWorkers { from: known, ..MoreWorkers::default() };
        if workers > known {
            let Some(cpus) = &self.growth.cpus else {
                let allowed = format!(
                    "option `cpu_ids` gives CPUs to each of {known} workers, so the pool has at most as many; build it \
                     with one set of CPUs for all workers"
                );
                return Err(Error::option("workers", workers, allowed));
            };
            more.cpus = vec![cpus.clone(); workers - known];
            more.env = self.growth.env.variables(known..workers)?;
            // That was the user's code, which may have forked.
            engine.check()?;
        }
        engine.resize(workers, more)?;
        self.handle.see_to_leaving();
        Ok(())
    }
}
