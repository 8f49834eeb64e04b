//! What workers have spent their time on.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the time of a pool's workers went; from [`WorkerPool::insights`](crate::WorkerPool::insights).
///
/// `Display` gives a table, serde whatever its formats give.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Insights {
    /// One for each worker, by its number; none where the pool was built without `insights(true)`.
    pub workers: Vec<WorkerInsights>,
}

/// Where the time of one worker went, over all processes or threads that have had its number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerInsights {
    /// Tasks that it has answered, failed ones included.
    pub tasks: u64,
    /// How many times it was started.
    pub starts: u32,
    /// How many times it ended other than by being told to.
    pub deaths: u32,
    /// From being started to being up.
    pub start_up: Duration,
    /// In init functions.
    pub init: Duration,
    /// Waiting for tasks.
    pub waiting: Duration,
    /// At tasks, with what decodes their arguments and encodes their results.
    pub working: Duration,
    /// In exit functions.
    pub exit: Duration,
}

impl WorkerInsights {
    /// What share of its time it was at tasks, from 0 to 1.
    #[must_use]
    pub fn working_ratio(&self) -> f64 {
        let all = self.start_up + self.init + self.waiting + self.working + self.exit;
        if all.is_zero() { 0.0 } else { self.working.as_secs_f64() / all.as_secs_f64() }
    }

    /// Adds what another process or thread of the same number has done.
    pub(crate) fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.starts += other.starts;
        self.deaths += other.deaths;
        self.start_up += other.start_up;
        self.init += other.init;
        self.waiting += other.waiting;
        self.working += other.working;
        self.exit += other.exit;
    }
}

impl fmt::Display for Insights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.workers.is_empty() {
            return f.write_str("no insights: build the pool with `insights(true)`");
        }
        let heads = ["start-up", "init", "waiting", "working", "exit"].map(|head| format!(" {head:>10}"));
        write!(f, "worker      tasks starts deaths{} at work", heads.concat())?;
        for (id, worker) in self.workers.iter().enumerate() {
            let WorkerInsights { tasks, starts, deaths, start_up, init, waiting, working, exit } = worker;
            write!(f, "\n{id:>6} {tasks:>10} {starts:>6} {deaths:>6}")?;
            for time in [start_up, init, waiting, working, exit] {
                write!(f, " {:>10}", format!("{time:.1?}"))?;
            }
            write!(f, " {:>6.1}%", worker.working_ratio() * 100.0)?;
        }
        Ok(())
    }
}
