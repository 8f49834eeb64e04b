//! Where the workers' time went.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Called;

/// The number of slowest tasks that are kept.
pub(crate) const MAX_SLOWEST: usize = 5;

/// Where the time of a pool's workers went; from [`WorkerPool::insights`](crate::WorkerPool::insights).
///
/// `Display` gives a table. It can also be serialized.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Insights {
    /// One for each worker that the pool has or had, by its number. Empty if the pool was built without
    /// `insights(true)`.
    pub workers: Vec<WorkerInsights>,
    /// The five slowest tasks, the slowest first. A task that was less than a tenth slower than those before it may be
    /// left out.
    pub slowest: Vec<SlowTask>,
}

/// A task that took long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlowTask {
    /// The function's name.
    pub task: String,
    /// The index of its item in the call's input.
    pub index: usize,
    /// The worker's number.
    pub worker: usize,
    /// How long the function ran.
    pub took: Duration,
    /// The argument's `Debug`, where its type has one; up to 200 characters.
    pub argument: Option<String>,
    /// The label of its [call](crate::Job::label), as it is shown.
    #[serde(default)]
    pub label: Option<String>,
    /// Where the call was made, as `file:line:column`.
    #[serde(default)]
    pub called_at: Option<String>,
}

/// Adds a task, and keeps the slowest ones.
pub(crate) fn note_slow(slowest: &mut Vec<SlowTask>, task: SlowTask) {
    let place = slowest.partition_point(|known| known.took >= task.took);
    slowest.insert(place, task);
    slowest.truncate(MAX_SLOWEST);
}

/// Where the time of one worker went, over all processes or threads that it has been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerInsights {
    /// Tasks that it has answered, failed ones included.
    pub tasks: u64,
    /// How often it was started.
    pub starts: u32,
    /// How often it ended without being told to.
    pub deaths: u32,
    /// How many of its tasks were tried again, by any worker.
    pub retries: u32,
    /// Chunks that were sent to it.
    pub chunks: u64,
    /// The number of tasks in the largest of them.
    pub largest_chunk: u64,
    /// Bytes of orders: arguments, and a few bytes around them.
    pub bytes_sent: u64,
    /// Bytes of results.
    pub bytes_received: u64,
    /// From its start until it was ready.
    pub start_up: Duration,
    /// In init functions.
    pub init: Duration,
    /// Waiting for tasks.
    pub waiting: Duration,
    /// At tasks, which includes decoding arguments and encoding results.
    pub working: Duration,
    /// In exit functions.
    pub exit: Duration,
}

impl WorkerInsights {
    /// The sum of its times.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.start_up + self.init + self.waiting + self.working + self.exit
    }

    /// The share of its time that it worked, from 0 to 1.
    #[must_use]
    pub fn working_ratio(&self) -> f64 {
        self.ratio(self.working)
    }

    /// The share of its time that `time` is, from 0 to 1.
    #[must_use]
    pub fn ratio(&self, time: Duration) -> f64 {
        let total = self.total();
        if total.is_zero() { 0.0 } else { time.as_secs_f64() / total.as_secs_f64() }
    }

    /// Adds what another process or thread of the worker, or another worker, did.
    pub(crate) fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.starts += other.starts;
        self.deaths += other.deaths;
        self.retries += other.retries;
        self.chunks += other.chunks;
        self.largest_chunk = self.largest_chunk.max(other.largest_chunk);
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.start_up += other.start_up;
        self.init += other.init;
        self.waiting += other.waiting;
        self.working += other.working;
        self.exit += other.exit;
    }
}

impl Insights {
    /// All workers together.
    #[must_use]
    pub fn total(&self) -> WorkerInsights {
        self.workers.iter().fold(WorkerInsights::default(), |mut total, worker| {
            total.add(worker);
            total
        })
    }

    /// The mean of one kind of time over all workers, and its standard deviation.
    ///
    /// ```
    /// # #[pool::worker_task]
    /// # fn square(x: u64) -> u64 {
    /// #     x * x
    /// # }
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = pool::WorkerPool::builder().workers(2).insights(true).build()?;
    ///     square::par_map(&pool, 0..1000)?;
    ///     let (mean, deviation) = pool.insights().mean_and_deviation(|worker| worker.working);
    ///     println!("{mean:?} at work, ± {deviation:?}");
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn mean_and_deviation(&self, time: impl Fn(&WorkerInsights) -> Duration) -> (Duration, Duration) {
        let times: Vec<f64> = self.workers.iter().map(|worker| time(worker).as_secs_f64()).collect();
        let count = times.len().max(1) as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / count;
        (Duration::from_secs_f64(mean), Duration::from_secs_f64(variance.sqrt()))
    }
}

/// The kinds of time, in the order of a worker's life.
const TIMES: [(&str, fn(&WorkerInsights) -> Duration); 5] = [
    ("start-up", |worker| worker.start_up),
    ("init", |worker| worker.init),
    ("waiting", |worker| worker.waiting),
    ("working", |worker| worker.working),
    ("exit", |worker| worker.exit),
];

impl fmt::Display for Insights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.workers.is_empty() {
            return f.write_str("no insights: build the pool with `insights(true)`");
        }
        let heads = TIMES.map(|(head, _)| format!(" {head:>10}")).concat();
        write!(
            f,
            "worker      tasks  chunks  largest starts deaths retries{heads}      bytes in     bytes out"
        )?;
        let numbered = self.workers.iter().enumerate().map(|(id, worker)| (id.to_string(), *worker));
        for (name, worker) in numbered.chain([("all".into(), self.total())]) {
            let WorkerInsights { tasks, chunks, largest_chunk, starts, deaths, retries, .. } = worker;
            write!(
                f,
                "\n{name:>6} {tasks:>10} {chunks:>7} {largest_chunk:>8} {starts:>6} {deaths:>6} {retries:>7}"
            )?;
            for (_, time) in TIMES {
                write!(f, " {:>10}", short(time(&worker)))?;
            }
            write!(f, " {:>13} {:>13}", worker.bytes_sent, worker.bytes_received)?;
        }
        const PLACE: usize = 55;
        let mut line = |name: &str, of: &dyn Fn(fn(&WorkerInsights) -> Duration) -> String| {
            write!(f, "\n{name:<PLACE$}")?;
            TIMES.iter().try_for_each(|(_, time)| write!(f, " {:>10}", of(*time)))
        };
        let total = self.total();
        line("  mean", &|time| short(self.mean_and_deviation(time).0))?;
        line("  standard deviation", &|time| short(self.mean_and_deviation(time).1))?;
        line("  share of the time", &|time| format!("{:.1}%", total.ratio(time(&total)) * 100.0))?;
        for (place, slow) in self.slowest.iter().enumerate() {
            let SlowTask { task, index, worker, took, argument, label, called_at } = slow;
            let head = if place == 0 { "\nslowest tasks" } else { "" };
            write!(f, "{head}\n{:>10}  {task} {index} on worker {worker}", short(*took))?;
            if let Some(argument) = argument {
                write!(f, ": {argument}")?;
            }
            if label.is_some() || called_at.is_some() {
                let (label, at) = (label.as_deref(), called_at.as_deref());
                write!(f, "; {}", Called { label, at })?;
            }
        }
        Ok(())
    }
}

fn short(time: Duration) -> String {
    format!("{time:.1?}")
}
