//! Calls that concern every worker: a task on each of them, or their start.

use std::iter::{Empty, empty};

use super::input::add_all;
use super::*;
use crate::work::{Apart, Chunking, EachWorker, EncodedInput, Items};

impl<'p, T, S, I, E, O> Job<'p, T, S, I, E, O>
where
    T: Task + BorrowsFrom<S>,
    I: InitOf<T::State> + BorrowsFrom<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Runs the task once on every worker, each with this item, and waits; returns one outcome for each worker, in
    /// their order. For what belongs to workers and not to tasks: to look at their state, to flush or to clear it, in
    /// the midst of a pool's life.
    ///
    /// All workers are started for it. On each of them the task waits for the one that runs there, as any other would,
    /// and never goes to another worker: if its worker ends before the task has begun, or the task is tried again
    /// because of [`retries`](Self::retries), it runs on the next worker with the same number. A task that fails,
    /// panics, takes too long or ends its worker is an error in its own place, and does not end the call. The item is
    /// encoded once, and cannot be changed by one worker for the others.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use pool::{WorkerPool, worker_task};
    ///
    /// type Cache = HashMap<String, usize>;
    ///
    /// #[worker_task]
    /// fn length(#[state] cache: &mut Cache, word: &str) -> usize {
    ///     *cache.entry(word.to_owned()).or_insert(word.len())
    /// }
    ///
    /// /// How many words a worker knows, which it forgets.
    /// #[worker_task]
    /// fn forget(#[state] cache: &mut Cache) -> usize {
    ///     std::mem::take(cache).len()
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(3)?;
    ///     length::par_map(&pool, ["a", "bc", "def"])?;
    ///     let mut known = 0;
    ///     for (worker, outcome) in forget::on_each_worker(&pool, ())?.into_iter().enumerate() {
    ///         match outcome {
    ///             Ok(words) => known += words,
    ///             Err(error) => eprintln!("worker {worker}: {error}"),
    ///         }
    ///     }
    ///     assert_eq!(known, 3);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// [`chunk_size`](Self::chunk_size), [`n_splits`](Self::n_splits) and [`iterable_len`](Self::iterable_len) change
    /// nothing here: each worker gets one task. With [`max_tasks_active`](Self::max_tasks_active), at most so many
    /// workers are at it at a time.
    ///
    /// # Errors
    /// - Those of [`map_outcomes`](Self::map_outcomes). A worker that could not be started three times in a row is an
    ///   [`Error::Start`] of the whole call.
    /// - [`Error::OwnTask`] in a task that runs in a thread of this pool: it would wait for itself.
    #[track_caller]
    pub fn on_each_worker(mut self, item: T::Item<'_>) -> Result<Vec<Result<T::Output, TaskError>>, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
    {
        let pool = self.pool;
        pool.engine().check_outside_tasks("on_each_worker")?;
        self.options.check()?;
        let item = encode::<T>(pool, item);
        let call = self.open_each(EachWorker::RunsTask, Some(item))?;
        Self::collect_outcomes(pool, call, pool.workers())
    }

    /// Starts all workers, makes the state of the task in each of them that has not made it yet, and waits for that. So
    /// the first calls need not wait for it, and what is wrong with the start or with the init function shows now. A
    /// worker in which an earlier task still runs is waited for.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pool::{WorkerPool, worker_init, worker_task};
    ///
    /// struct Model(u64);
    ///
    /// #[worker_init]
    /// fn load() -> Model {
    ///     Model(3)
    /// }
    ///
    /// #[worker_task(init = load)]
    /// fn predict(#[state] model: &mut Model, x: u64) -> u64 {
    ///     model.0 * x
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     // The same as `pool.warm_up::<predict>()`, with a limit.
    ///     predict::job(&pool).worker_init_timeout(Duration::from_secs(60)).warm_up()?;
    ///     assert_eq!(predict::apply(&pool, 2)?, 6);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// Without `init = ..` the state is made by its type's `Default`, and a task without state only has the workers
    /// started. Init functions of other tasks do not run, and no task does. With
    /// [`keep_alive(false)`](crate::WorkerPoolBuilder::keep_alive) the workers end with this call, as with any other.
    ///
    /// # Errors
    /// - [`Error::Task`] of kind [`TaskErrorKind::Init`](crate::TaskErrorKind::Init) when the init function failed in
    ///   any worker.
    /// - [`Error::Start`] and others when a worker cannot be started.
    /// - [`Error::Option`] for an option whose value is not allowed.
    /// - [`Error::Cancelled`] when the call was cancelled, [`Error::Closed`] when the pool has ended.
    /// - [`Error::OwnTask`] in a task that runs in a thread of this pool: it might wait for itself.
    #[track_caller]
    pub fn warm_up(mut self) -> Result<(), Error>
    where
        I: RunsOn<S>,
    {
        let pool = self.pool;
        pool.engine().check_outside_tasks("warm_up")?;
        let mut call = self.open_each(EachWorker::WarmsUp, None)?;
        call.run(|_, _| Ok(()))?;
        drop(call);
        pool.after_call()
    }

    /// Opens a call that concerns every worker.
    #[track_caller]
    fn open_each<'i>(
        &mut self,
        each: EachWorker,
        item: Option<Result<Vec<u8>, String>>,
    ) -> Result<Call<'p, 'i, T, Empty<T::Item<'i>>>, Error> {
        let (config, workers) = (self.pool.config(), self.pool.workers());
        let mut plan = self.options.plan((workers, Some(workers)), config)?;
        // The engine says for how many workers it is.
        (plan.each_worker, plan.chunking) = (Some(each), Chunking::Adaptive);
        let input = InputBuffer::none(Source::asked(empty()), config.codec);
        self.begin(plan, input, |spec| {
            // There are no others.
            spec.input =
                Some(item.map_or_else(|| EncodedInput::Items(Box::default()), EncodedInput::OneForEach));
        })
    }
}

/// The item as the workers get it, or why it could not be encoded.
fn encode<T: Task>(pool: &PoolHandle, item: T::Item<'_>) -> Result<Vec<u8>, String> {
    let mut items = Items::default();
    add_all::<T>(pool.config().codec, &[item], &mut items);
    only(items)
}

/// The only one of these, or why it could not be encoded.
pub(super) fn only(mut items: Items) -> Result<Vec<u8>, String> {
    match items.take_apart() {
        Some(Apart::Large(item)) => Ok(item),
        Some(Apart::Failed(why)) => Err(why),
        None => items.take_alone(),
    }
}
