//! `reduce`: the results of tasks are folded into one.
//!
//! 1. Workers run the tasks of the call, and fold the results of each chunk where they are made (`task/run/fold.rs`).
//!    One value a chunk comes back, and answers all of its tasks. The supervisor knows which those are; what it
//!    promises about tasks holds: each counts exactly once, and the one that kills its worker is the one that fails.
//! 2. The values, still encoded, go out again in a call of their own, in which workers fold them: several neighbours
//!    into one, until one is left.
//!
//! So the reducing function never runs in the caller's process: a crash in it costs a worker, like one in a task. Each
//! round leaves the values of neighbours in their order, so the function must be associative, but not commutative.

use std::marker::PhantomData;

use super::source::Source;
use super::{Job, Mode, Options};
use crate::error::{Error, TaskError, TaskErrorKind};
use crate::ids::TaskIndex;
use crate::task::chunk::{Chunk, Slices};
use crate::task::fold::{Encoded, Folded, FoldedTask, Reduces, Values, ValuesOf};
use crate::task::{BorrowsFrom, ByDefault, ExitOf, InitOf, NoExit, Output, RunsOn, Task};
use crate::wire::Folding;
use crate::{text, unwind};

/// Values are folded further as soon as there are so many of them, or so many bytes, so that their memory is bounded.
const MOST_VALUES: usize = 4096;
const MOST_BYTES: usize = 32 << 20;
/// At least this many values are folded together: fewer would not be worth their passage.
const LEAST_TOGETHER: usize = 4;

impl<'p, T, S, I, E, O> Job<'p, T, S, I, E, O>
where
    T: Task + BorrowsFrom<S>,
    I: InitOf<T::State> + BorrowsFrom<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Runs the task over the items, waits, and folds the results into one with the task `G`; `None` if there are no
    /// items.
    ///
    /// Workers fold results where they make them, so large results need not come back one by one. `G` must be
    /// associative: the results are folded in input order, but grouped in any way. It is a worker task with two
    /// parameters of the result's type, which it returns; it may have `#[shared]` and `#[worker_id]`, but no state.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn words(text: &str) -> u64 {
    ///     text.split_whitespace().count() as u64
    /// }
    ///
    /// #[worker_task]
    /// fn add(a: u64, b: u64) -> u64 {
    ///     a + b
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     assert_eq!(words::job(&pool).reduce::<add>(["a b", "c"])?, Some(3));
    ///     assert_eq!(words::job(&pool).reduce::<add>([])?, None);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// As in [`map`](Self::map), the first failed task ends the call, also one whose worker died. The results that a
    /// worker has folded and not handed over die with it: with [`retries`](Self::retries), and when a worker dies of
    /// anything but a task, the tasks that made them run again. Each result counts exactly once all the same. A worker
    /// hands over at the end of each chunk, and after 50 ms at the latest, or else after the task that it is in.
    ///
    /// Against [`task_timeout`](Self::task_timeout) and [`cpu_limit`](Self::cpu_limit) counts the time of a task
    /// together with that of folding its result.
    ///
    /// # Errors
    /// As for [`map`](Self::map). A failure of `G` is one of the task whose result it was folding; or, where it folds
    /// the values of chunks further, one of `G`, with the index of the first task whose result was among them.
    ///
    /// # Panics
    /// When `items` panics, as [`map`](Self::map) does.
    #[track_caller]
    pub fn reduce<'i, G>(
        mut self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> Result<Option<T::Output>, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        G: Reduces<T::Output> + BorrowsFrom<S>,
    {
        let pool = self.pool;
        let reducer = pool.functions::<G, ByDefault, NoExit>(None)?.0;
        self.options.folding = Folding::Results(reducer.index);
        let site = self.site();
        let rounds = Options {
            folding: Folding::Values,
            extra: self.options.extra.as_ref().map(|extra| Box::new(extra.for_rounds())),
            chunk_size: Some(1),
            label: site.label.clone(),
            called_at: Some(site.at),
            ..Options::default()
        };
        let fold = |values: &[Partial], runs: usize| {
            let job = Job { pool, options: rounds.clone(), functions: PhantomData };
            Job::<ValuesOf<G>, S, ByDefault, NoExit>::fold_values(job, values, values.len().div_ceil(runs))
        };
        let mut job =
            Job::<FoldedTask<T>, S, I, E, O> { pool, options: self.options, functions: PhantomData };
        // Stays open until the end, so that the workers do, too.
        let mut call = job.open(Source::of(items), Mode::FailFast)?;
        let mut values = Partials::default();
        call.run(|first, came| {
            values.add(first, came?);
            if values.are_many() { values.shrink(|values| fold(values, 1)) } else { Ok(()) }
        })?;
        let mut values = values.into_all();
        while values.len() > 1 {
            values = fold(&values, (values.len() / LEAST_TOGETHER).clamp(1, pool.workers()))?;
        }
        drop(call);
        pool.after_call()?;
        let codec = pool.config().codec;
        let decode = |value: Partial| {
            let decoded = unwind::catch(|| T::Output::decode(codec, &value.bytes));
            let decoded = decoded.unwrap_or_else(|_| Err("its `Deserialize` implementation panicked".into()));
            decoded.map_err(|why| {
                let kind = TaskErrorKind::Decode(text::cut(why));
                let error = TaskError::on_no_worker(T::name(), value.first.as_usize(), kind);
                Error::Task(error.called(&site))
            })
        };
        values.pop().map(decode).transpose()
    }

    /// Like [`reduce`](Self::reduce), for a task that takes chunks: cuts the input into chunks as
    /// [`map_slice`](Self::map_slice) does, and folds their results.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn sum(#[chunk] rows: &[u64]) -> u64 {
    ///     rows.iter().sum()
    /// }
    ///
    /// #[worker_task]
    /// fn add(a: u64, b: u64) -> u64 {
    ///     a + b
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let numbers: Vec<u64> = (1..=1000).collect();
    ///     assert_eq!(sum::job(&pool).reduce_slice::<add, _>(&numbers)?, Some(500_500));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`map_slice`](Self::map_slice) and [`reduce`](Self::reduce).
    #[track_caller]
    pub fn reduce_slice<'i, G, X: 'i>(mut self, rows: impl Slices<'i, X>) -> Result<Option<T::Output>, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        T: for<'x> Task<Item<'x> = Chunk<'x, X>>,
        G: Reduces<T::Output> + BorrowsFrom<S>,
    {
        self.pool.engine().check()?;
        self.check_outputs()?;
        let source = rows.lend()?;
        self.options.quiesces = source.is_on_loan();
        let ranges = self.chunk_ranges(source.len())?;
        self.reduce::<G>(ranges.map(|rows| source.chunk(rows)))
    }
}

impl<G, S> Job<'_, ValuesOf<G>, S, ByDefault, NoExit>
where
    G: Task + BorrowsFrom<S>,
    S: 'static,
{
    /// Folds runs of this many neighbours into one value each.
    fn fold_values(mut self, values: &[Partial], together: usize) -> Result<Vec<Partial>, Error> {
        // The limit is for each value, and a run is one task.
        let times = u32::try_from(together).unwrap_or(u32::MAX);
        if let Some(extra) = &mut self.options.extra {
            let limits = [&mut extra.task_timeout, &mut extra.cpu_limit];
            limits.into_iter().flatten().for_each(|limit| *limit = limit.saturating_mul(times));
        }
        let runs = values.chunks(together);
        let items = runs.clone().map(|run| Values(run.iter().map(|value| &*value.bytes).collect()));
        let folded = self.map(items).map_err(|error| match error {
            Error::Task(error) => {
                Error::Task(error.at_first_of(|run| values[run * together].first.as_usize()))
            }
            error => error,
        })?;
        Ok(runs.zip(folded).map(|(run, Encoded(bytes))| Partial::of(run, bytes)).collect())
    }
}

/// The folded results of consecutive tasks.
struct Partial {
    /// The first of the tasks.
    first: TaskIndex,
    /// How many they are.
    tasks: u64,
    bytes: Vec<u8>,
}

impl Partial {
    /// The value into which this run of neighbours is folded.
    fn of(run: &[Self], bytes: Vec<u8>) -> Self {
        Self { first: run[0].first, tasks: run.iter().map(|value| value.tasks).sum(), bytes }
    }

    fn end(&self) -> TaskIndex {
        self.first + self.tasks
    }
}

/// Values in any order.
#[derive(Default)]
struct Partials {
    values: Vec<Partial>,
    bytes: usize,
    /// How many values, and bytes, were left when they were last folded.
    left: (usize, usize),
}

impl Partials {
    /// Adds values. The tasks of the first begin with this one.
    fn add(&mut self, mut first: TaskIndex, came: &mut Vec<Folded>) {
        for Folded { tasks, bytes } in came.drain(..) {
            self.bytes += bytes.len();
            self.values.push(Partial { first, tasks: tasks.into(), bytes });
            first += u64::from(tasks);
        }
    }

    /// Whether there are so many that they should be folded at once; and many more than that has left before.
    fn are_many(&self) -> bool {
        self.values.len() >= MOST_VALUES.max(2 * self.left.0) || self.bytes >= MOST_BYTES.max(2 * self.left.1)
    }

    /// Folds each run of neighbours into one value.
    fn shrink(&mut self, fold: impl Fn(&[Partial]) -> Result<Vec<Partial>, Error>) -> Result<(), Error> {
        self.values.sort_unstable_by_key(|value| value.first);
        let mut left = Vec::new();
        for run in self.values.chunk_by(|value, next| value.end() == next.first) {
            if let [value] = run {
                let Partial { first, tasks, .. } = *value;
                left.push(Partial { first, tasks, bytes: value.bytes.clone() });
            } else {
                left.append(&mut fold(run)?);
            }
        }
        self.bytes = left.iter().map(|value| value.bytes.len()).sum();
        self.left = (left.len(), self.bytes);
        self.values = left;
        Ok(())
    }

    /// The values of all tasks in order.
    fn into_all(mut self) -> Vec<Partial> {
        self.values.sort_unstable_by_key(|value| value.first);
        let mut end = TaskIndex::default();
        for value in &self.values {
            assert_eq!(value.first, end, "each task is in one value");
            end = value.end();
        }
        self.values
    }
}
