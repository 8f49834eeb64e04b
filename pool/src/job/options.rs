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
use crate::options::{PoolConfig, StartMethod};
use crate::wire::Folding;
use crate::work::{Chunking, Plan};

#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(super) chunk_size: Option<usize>,
    pub(super) iterable_len: Option<usize>,
    pub(super) max_tasks_active: Option<usize>,
    /// The number from which the seeds of tasks are derived.
    pub(super) seed: Option<u64>,
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
    /// Apart, so that a short call does not move them about.
    pub(super) extra: Option<Box<Extra>>,
}

/// Options that few calls set.
#[derive(Debug, Clone)]
pub(crate) struct Extra {
    pub(super) n_splits: Option<usize>,
    pub(super) worker_lifespan: Option<usize>,
    pub(super) task_timeout: Option<Duration>,
    pub(super) cpu_limit: Option<Duration>,
    pub(super) worker_init_timeout: Option<Duration>,
    pub(super) worker_exit_timeout: Option<Duration>,
    pub(super) deadline: Option<Deadline>,
    pub(super) retry: Retry,
    pub(super) give_up_after: Option<usize>,
    /// What the call gives to functions with `#[arg]`.
    pub(super) constants: Constants,
    pub(super) progress: Option<BarRequest>,
}

impl Default for Extra {
    fn default() -> Self {
        Self {
            n_splits: None,
            worker_lifespan: None,
            task_timeout: None,
            cpu_limit: None,
            worker_init_timeout: None,
            worker_exit_timeout: None,
            deadline: None,
            retry: Retry::times(0),
            give_up_after: None,
            constants: Constants::default(),
            progress: None,
        }
    }
}

impl Options {
    /// One of the options that few calls set.
    #[inline]
    pub(super) fn extra<V>(&self, option: impl FnOnce(&Extra) -> Option<V>) -> Option<V> {
        self.extra.as_deref().and_then(option)
    }

    pub(super) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Removes one of the options that few calls set.
    #[inline]
    pub(super) fn take<V>(&mut self, option: impl FnOnce(&mut Extra) -> &mut Option<V>) -> Option<V> {
        self.extra.as_deref_mut().and_then(|extra| option(extra).take())
    }

    /// Makes the plan of a call over an input whose iterator gives this size hint.
    pub(super) fn plan(&self, hint: (usize, Option<usize>), pool: &PoolConfig) -> Result<Box<Plan>, Error> {
        self.check()?;
        let exact = hint.1.filter(|upper| *upper == hint.0);
        let total = match (self.iterable_len, exact) {
            (Some(len), Some(exact)) => Some(len.min(exact) as u64),
            (len, exact) => len.or(exact).map(|total| total as u64),
        };
        let mut plan = Box::new(Plan {
            chunking: self.chunking(total)?,
            max_active: self.max_tasks_active.map(|most| most as u64),
            folds: matches!(self.folding, Folding::Results(_)),
            total,
            ..Plan::plain()
        });
        if let Some(extra) = &self.extra {
            extra.check_limits(pool.method)?;
            extra.add_to(&mut plan);
        }
        Ok(plan)
    }

    /// How tasks are cut into chunks, if there are this many, as far as that is known.
    fn chunking(&self, total: Option<u64>) -> Result<Chunking, Error> {
        Ok(match (self.chunk_size, self.extra(|extra| extra.n_splits), total) {
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
        })
    }

    /// Rejects counts of zero, and delays that are none.
    pub(super) fn check(&self) -> Result<(), Error> {
        check_count("chunk_size", self.chunk_size)?;
        check_count("max_tasks_active", self.max_tasks_active)?;
        self.extra.as_ref().map_or(Ok(()), |extra| extra.check())
    }

    /// Returns how many items to take from the input at most.
    pub(super) fn max_items(&self) -> u64 {
        self.iterable_len.map_or(u64::MAX, |len| len as u64)
    }
}

impl Extra {
    /// Rejects counts of zero, and delays that are none.
    fn check(&self) -> Result<(), Error> {
        self.retry.check()?;
        check_count("n_splits", self.n_splits)?;
        check_count("worker_lifespan", self.worker_lifespan)?;
        check_count("give_up_after", self.give_up_after)
    }

    /// Rejects limits that the pool cannot keep.
    fn check_limits(&self, method: StartMethod) -> Result<(), Error> {
        for (name, limit) in [
            ("task_timeout", self.task_timeout),
            ("cpu_limit", self.cpu_limit),
            ("worker_init_timeout", self.worker_init_timeout),
            ("worker_exit_timeout", self.worker_exit_timeout),
        ] {
            match limit {
                Some(Duration::ZERO) => {
                    return Err(Error::option(name, Duration::ZERO, "it must be longer than nothing"));
                }
                Some(limit) if !method.is_process() => {
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
        Ok(())
    }

    /// Adds what follows from these options to a plan.
    fn add_to(&self, plan: &mut Plan) {
        let nanos =
            |limit: Option<Duration>| limit.map(|limit| limit.as_nanos().min(u128::from(u64::MAX)) as u64);
        plan.lifespan = self.worker_lifespan.map(|tasks| tasks as u64);
        plan.retries = self.retry.most();
        plan.most_failed = self.give_up_after.map(|most| most as u64);
        plan.task_limit_ns = nanos(self.task_timeout);
        plan.cpu_limit_ns = nanos(self.cpu_limit);
        plan.init_limit_ns = nanos(self.worker_init_timeout);
        plan.exit_limit_ns = nanos(self.worker_exit_timeout);
    }

    /// The options of the calls that fold the values of chunks further.
    pub(super) fn for_rounds(&self) -> Self {
        let Self { task_timeout, cpu_limit, give_up_after, .. } = *self;
        Self { task_timeout, cpu_limit, give_up_after, retry: self.retry.clone(), ..Self::default() }
    }
}

fn check_count(name: &'static str, count: Option<usize>) -> Result<(), Error> {
    if count == Some(0) { Err(Error::option(name, 0, "it must be at least 1")) } else { Ok(()) }
}
