//! The options of a job, and the plan that follows from them.

use std::panic::Location;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::arg::Constants;
use super::cancel::CallSlot;
use super::deadline::Deadline;
use super::retry::Retry;
use crate::error::Error;
use crate::observe::progress::BarRequest;
use crate::options::PoolConfig;
use crate::wire::Folding;
use crate::work::{Chunking, HeldBytes, Plan};

#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(super) chunk_size: Option<usize>,
    pub(super) n_splits: Option<usize>,
    pub(super) iterable_len: Option<usize>,
    pub(super) max_tasks_active: Option<usize>,
    pub(super) worker_lifespan: Option<usize>,
    pub(super) task_timeout: Option<Duration>,
    pub(super) worker_init_timeout: Option<Duration>,
    pub(super) worker_exit_timeout: Option<Duration>,
    /// What few calls set.
    pub(super) extra: Option<Box<Extra>>,
    pub(super) deadline: Option<Deadline>,
    /// The number from which the seeds of tasks are derived.
    pub(super) seed: Option<u64>,
    pub(super) progress: Option<BarRequest>,
    /// What the caller calls the call.
    pub(super) label: Option<Arc<str>>,
    /// Where the call was made, if its method does not run there.
    pub(super) called_at: Option<&'static Location<'static>>,
    /// Whether `concatenate` was called with `true`, which is an error.
    pub(super) concatenate: bool,
    /// Whether the results are folded, and with which task.
    pub(super) folding: Folding,
    /// Whether the call, before it returns, waits until no worker is at work on it.
    pub(super) quiesces: bool,
    /// The call, if somebody may cancel it.
    pub(super) cancel: OnceLock<Arc<CallSlot>>,
}

/// Options that few calls set.
#[derive(Debug, Clone)]
pub(crate) struct Extra {
    pub(super) retry: Retry,
    pub(super) give_up_after: Option<usize>,
    /// What the call gives to functions with `#[arg]`.
    pub(super) constants: Constants,
    pub(super) cpu_limit: Option<Duration>,
}

impl Default for Extra {
    fn default() -> Self {
        Self { retry: Retry::times(0), give_up_after: None, constants: Constants::default(), cpu_limit: None }
    }
}

impl Options {
    pub(super) fn cpu_limit(&self) -> Option<Duration> {
        self.extra.as_ref()?.cpu_limit
    }

    pub(super) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Makes the plan of a call over an input whose iterator gives this size hint.
    pub(super) fn plan(&self, hint: (usize, Option<usize>), pool: &PoolConfig) -> Result<Box<Plan>, Error> {
        self.check()?;
        for (name, limit) in [
            ("task_timeout", self.task_timeout),
            ("cpu_limit", self.cpu_limit()),
            ("worker_init_timeout", self.worker_init_timeout),
            ("worker_exit_timeout", self.worker_exit_timeout),
        ] {
            match limit {
                Some(Duration::ZERO) => {
                    return Err(Error::option(name, Duration::ZERO, "it must be longer than nothing"));
                }
                Some(limit) if !pool.method.is_process() => {
                    return Err(Error::option(
                        name,
                        limit,
                        "StartMethod::Threads cannot end a thread that takes too long; use a start method that \
                         has processes",
                    ));
                }
                _ => {}
            }
        }
        let exact = hint.1.filter(|upper| *upper == hint.0);
        let total = match (self.iterable_len, exact) {
            (Some(len), Some(exact)) => Some(len.min(exact) as u64),
            (len, exact) => len.or(exact).map(|total| total as u64),
        };
        let chunking = match (self.chunk_size, self.n_splits, total) {
            (Some(size), ..) => Chunking::Size(size as u64),
            (None, None, _) => Chunking::Adaptive,
            (None, Some(splits), Some(total)) => Chunking::Splits { splits: splits as u64, total },
            (None, Some(splits), None) => {
                return Err(Error::option(
                    "n_splits",
                    splits,
                    "the input has no known length to split: give `iterable_len(..)` or use `chunk_size(..)`",
                ));
            }
        };
        let nanos =
            |limit: Option<Duration>| limit.map(|limit| limit.as_nanos().min(u128::from(u64::MAX)) as u64);
        Ok(Box::new(Plan {
            profile: None,
            chunking,
            each_worker: None,
            max_active: self.max_tasks_active.map(|most| most as u64),
            held: HeldBytes::Any,
            lifespan: self.worker_lifespan.map(|tasks| tasks as u64),
            retries: self.extra.as_ref().map_or(0, |extra| extra.retry.most()),
            retry: None,
            most_failed: self.extra.as_ref().and_then(|extra| extra.give_up_after).map(|most| most as u64),
            folds: matches!(self.folding, Folding::Results(_)),
            task_limit_ns: nanos(self.task_timeout),
            cpu_limit_ns: nanos(self.cpu_limit()),
            init_limit_ns: nanos(self.worker_init_timeout),
            exit_limit_ns: nanos(self.worker_exit_timeout),
            total,
        }))
    }

    /// Rejects counts of zero, and delays that are none.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.extra.as_ref().map_or(Ok(()), |extra| extra.retry.check())?;
        for (name, value) in [
            ("chunk_size", self.chunk_size),
            ("n_splits", self.n_splits),
            ("max_tasks_active", self.max_tasks_active),
            ("worker_lifespan", self.worker_lifespan),
            ("give_up_after", self.extra.as_ref().and_then(|extra| extra.give_up_after)),
        ] {
            if value == Some(0) {
                return Err(Error::option(name, 0, "it must be at least 1"));
            }
        }
        Ok(())
    }

    /// Returns how many items to take from the input at most.
    pub(super) fn max_items(&self) -> u64 {
        self.iterable_len.map_or(u64::MAX, |len| len as u64)
    }
}
