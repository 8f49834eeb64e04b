//! The supervisor decides which workers start and end, which tasks each gets, and what the outcome of each task is. It
//! is a pure state machine: [`Supervisor::handle`] takes an [`Event`] and returns the [`Action`]s that follow. It reads
//! no clock, makes no system call and runs no user code, so it can be tested by simulation. The driver feeds it events
//! and carries out its actions.

mod job;
mod jobs;
mod queue;
mod ranking;
#[cfg(test)]
mod simulation;
mod supervisor;
mod worker;
mod workers;

use crate::ids::{JobId, ProfileId, TaskIndex, Unit, WorkerId};
use crate::work::Plan;
pub(crate) use supervisor::{Census, Grant, Head, Supervisor, Work};

/// Counts jobs or workers that are looked at, in tests.
#[inline]
fn count_looks(looks: usize) {
    #[cfg(test)]
    simulation::count(looks);
    #[cfg(not(test))]
    let _ = looks;
}

/// An event. It names workers by their ID, and tasks by their position in the input of their job.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A caller opened a job.
    Opened { job: JobId, plan: Box<Plan> },
    /// `count` tasks of a chunk that was granted were sent.
    Sent { job: JobId, worker: WorkerId, count: u64 },
    /// The job's next item, granted to this worker, could not be encoded, or not be kept to be sent again.
    Unsendable { job: JobId, worker: WorkerId },
    /// More items wait than the workers that are there can take: see [`Supervisor::set_waiting`].
    Wanted,
    /// The job's input has no more items.
    InputEnded { job: JobId },
    /// The caller took results.
    Taken { job: JobId, count: u64, bytes: u64 },
    /// The caller was asked about a task that has failed, and has said whether it is to be tried again. If not, its
    /// report of `bytes` is left for the caller.
    Decided { job: JobId, index: TaskIndex, tries_again: bool, bytes: u64 },
    /// Nobody wants this task of the job any more, but the others are wanted.
    Dropped { job: JobId, index: TaskIndex },
    /// The caller no longer waits for the job.
    Closed { job: JobId },
    /// A worker has a process or a thread, which is not up yet.
    Started { worker: WorkerId },
    /// A worker is up.
    Ready { worker: WorkerId },
    /// A worker could not be started. `is_final` if another try would fail in the same way.
    NotStarted { worker: WorkerId, is_final: bool },
    /// The worker returned the results of `count` tasks at the head of its queue.
    Done { worker: WorkerId, count: u64, bytes: u64, pace_ns: u64 },
    /// The task, or the init function, at the head of the worker's queue failed, and the worker lives. Its report has
    /// `bytes`.
    Failed { worker: WorkerId, bytes: u64 },
    /// The first `count` tasks in the worker's queue have run, but the value into which their results were folded is
    /// lost.
    Unfolded { worker: WorkerId, count: u64 },
    /// The order at the head of the worker's queue, which is not a task, is done.
    OrderDone { worker: WorkerId },
    /// A recall was carried out: the worker keeps the units before this one.
    Recalled { worker: WorkerId, kept_up_to: Unit },
    /// The worker is gone; `running` if it was running the head of its queue.
    Died { worker: WorkerId, running: bool },
    /// The worker holds more memory than it may between tasks, and starts no further task.
    OverSoftLimit { worker: WorkerId },
    /// The worker holds more memory than it may during a task.
    OverHardLimit { worker: WorkerId, held: u64, limit: u64 },
    /// The pool has this many workers from now on.
    Resized { workers: usize },
    /// The worker's process has used so much CPU time in all, if that can be told.
    UsedCpu { worker: WorkerId, used_ns: Option<u64> },
    /// All workers must end, once they have answered their orders.
    ShutDown,
    /// The parent was suspended between these times: it was stopped, or had no core.
    Suspended { from: u64, until: u64 },
    /// Time has passed.
    Tick,
}

/// An action for the driver to carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Start {
        worker: WorkerId,
    },
    SendInit {
        worker: WorkerId,
        profile: ProfileId,
    },
    SendExit {
        worker: WorkerId,
    },
    SendResume {
        worker: WorkerId,
    },
    Recall {
        worker: WorkerId,
    },
    Kill {
        worker: WorkerId,
    },
    /// Keep the bytes of these tasks, which will be granted again one by one.
    Requeue {
        worker: WorkerId,
        unit: Unit,
        job: JobId,
        first: TaskIndex,
        count: u64,
    },
    /// This task has no result: it failed, or its worker died in it. The worker's report has `bytes`.
    FailTask {
        bytes: u64,
        worker: WorkerId,
        unit: Unit,
        job: JobId,
        index: TaskIndex,
        attempts: u32,
        cause: Cause,
    },
    /// This attempt at a task has failed; another follows.
    Retry {
        worker: WorkerId,
        job: JobId,
        index: TaskIndex,
        cause: Cause,
    },
    /// This attempt at a task has failed, and the caller decides whether another follows. The worker's report has
    /// `bytes`. Keep the bytes of the task.
    Ask {
        bytes: u64,
        worker: WorkerId,
        unit: Unit,
        job: JobId,
        index: TaskIndex,
        attempts: u32,
        cause: Cause,
    },
    /// The job cannot go on.
    Fail {
        job: JobId,
        worker: WorkerId,
        cause: JobCause,
    },
    /// The worker's exit function has no result.
    ExitLost {
        worker: WorkerId,
        cause: Cause,
    },
    /// Every task of the job has its outcome.
    Complete {
        job: JobId,
    },
}

/// Why a task has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The worker reported the reason.
    Reported,
    /// The worker died.
    Died,
    /// It took longer than its limit, in nanoseconds.
    TimedOut(u64),
    /// It used more CPU time than its limit, in nanoseconds.
    OutOfCpuTime { used: u64, limit: u64 },
    /// The worker held more bytes than the limit.
    TooLarge { held: u64, limit: u64 },
}

/// Why a job cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobCause {
    /// Its init function failed.
    Init(Cause),
    /// No worker could be started.
    NotStarted,
}
