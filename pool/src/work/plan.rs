//! How the engine is to carry out the tasks of a call: limits and counts, no values.

use super::RetryPlan;
use crate::ids::ProfileId;

/// The requests of one job.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The profile of the worker state that its tasks use. The engine fills it in.
    pub(crate) profile: Option<ProfileId>,
    pub(crate) chunking: Chunking,
    /// What each worker has to do, if the job is one for each of them.
    pub(crate) each_worker: Option<EachWorker>,
    /// At most this many tasks are active: sent to workers, or done with results that the caller has not taken.
    pub(crate) max_active: Option<u64>,
    /// How many bytes of results the caller may leave before no more tasks are sent.
    pub(crate) held: HeldBytes,
    /// How many tasks a worker runs before it is replaced.
    pub(crate) lifespan: Option<u64>,
    /// How often a task that failed is tried again: one whose worker died or that took too long, or whichever the
    /// caller wants if it is asked.
    pub(crate) retries: u32,
    /// More about that. Without it, nobody is asked, and no attempt waits.
    pub(crate) retry: Option<Box<RetryPlan>>,
    /// The job ends when so many of its tasks have failed.
    pub(crate) most_failed: Option<u64>,
    /// Workers fold the results of consecutive tasks into one value.
    pub(crate) folds: bool,
    pub(crate) task_limit_ns: Option<u64>,
    /// How much CPU time a task may use.
    pub(crate) cpu_limit_ns: Option<u64>,
    pub(crate) init_limit_ns: Option<u64>,
    pub(crate) exit_limit_ns: Option<u64>,
    /// The number of items in the input, if known.
    pub(crate) total: Option<u64>,
}

/// What each worker has to do for a job that concerns them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EachWorker {
    /// To run one task: that with the worker's number.
    RunsTask,
    /// To be up, and to have made the state of the job's profile. The job has no tasks: it is done with a worker then.
    WarmsUp,
}

/// How many bytes of results, as encoded, may wait for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeldBytes {
    Any,
    /// Workers are not to run further ahead of the caller than this, but none waits for the caller without having two
    /// chunks of its own. For a caller that keeps all results anyway: what is encoded beyond that is only in the way.
    About(u64),
    /// No more tasks are sent while so many wait.
    AtMost(u64),
}

/// How tasks are cut into chunks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Chunking {
    /// Sized by the time that tasks take: small at first, then up to the window, smaller again towards the end.
    Adaptive,
    /// All of one size.
    Size(u64),
    /// `splits` chunks whose sizes differ by at most one. Each chunk ends at its exact share, rounded up.
    Splits { splits: u64, total: u64 },
}

/// Splits a total into parts as MPIRE does: 10 in 6 parts are 2, 2, 1, 2, 2, 1.
pub(crate) mod splits {
    /// The number of the part that holds this index.
    pub(crate) fn number(splits: u64, total: u64, index: u64) -> u64 {
        (u128::from(index) * u128::from(splits) / u128::from(total.max(1))) as u64
    }

    /// How many parts hold this many tasks, rounded up.
    pub(crate) fn parts(splits: u64, total: u64, tasks: u64) -> u64 {
        (u128::from(tasks) * u128::from(splits)).div_ceil(u128::from(total.max(1))) as u64
    }

    /// The end of the part that holds this index.
    pub(crate) fn end(splits: u64, total: u64, index: u64) -> u64 {
        let next = u128::from(number(splits, total, index)) + 1;
        let end = (next * u128::from(total)).div_ceil(u128::from(splits)) as u64;
        end.max(index + 1)
    }
}

impl Plan {
    /// A plan without limits.
    pub(crate) fn plain() -> Self {
        Self {
            profile: None,
            chunking: Chunking::Adaptive,
            each_worker: None,
            max_active: None,
            held: HeldBytes::Any,
            lifespan: None,
            retries: 0,
            retry: None,
            most_failed: None,
            folds: false,
            task_limit_ns: None,
            cpu_limit_ns: None,
            init_limit_ns: None,
            exit_limit_ns: None,
            total: None,
        }
    }

    /// Whether the caller is asked if this task, which has failed so many times, is to be tried again.
    pub(crate) fn asks(&self, attempts: u32) -> bool {
        attempts <= self.retries && self.retry.as_ref().is_some_and(|retry| retry.asks)
    }

    /// At most this many tasks may be claimed by a worker at once; 0 means no limit. A caller that chose a chunk size
    /// expects that at most that many tasks wait behind a slow one.
    pub(crate) fn most_claimed(&self) -> u16 {
        match self.chunking {
            Chunking::Size(size) => u16::try_from(size).unwrap_or(0),
            Chunking::Adaptive | Chunking::Splits { .. } => 0,
        }
    }

    /// How many buffered items make a whole chunk.
    pub(crate) fn whole_chunk(&self) -> u64 {
        match self.chunking {
            Chunking::Adaptive => 1,
            Chunking::Size(size) => size,
            Chunking::Splits { splits, total } => total.div_ceil(splits),
        }
        .min(self.lifespan.unwrap_or(u64::MAX))
        .min(self.max_active.unwrap_or(u64::MAX))
    }
}
