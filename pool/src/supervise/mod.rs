//! The supervisor: decides who starts, who gets which tasks, what became of them, who ends. A pure state machine:
//! [`Supervisor::handle`] takes an [`Event`] and says which [`Action`]s follow. No clock, no system call and no user
//! code inside, so that it can be tested by simulation. The driver feeds it and carries out what it says.

mod job;
mod queue;
#[cfg(test)]
mod simulation;
mod supervisor;
mod worker;

use crate::ids::JobId;
use crate::work::Plan;
pub(crate) use supervisor::{Grant, Head, Supervisor, Work};

/// What happened. Workers are named by their id, tasks by their position in the input of their job.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A caller opened a job; so many of its items are encoded already, and then there are no others.
    Opened { job: JobId, plan: Box<Plan>, kept: u64 },
    /// A chunk that was granted has been sent: so many tasks of it.
    Sent { job: JobId, worker: usize, count: u64 },
    /// The job's next item, meant for this worker, could not be encoded.
    Unsendable { job: JobId, worker: usize },
    /// The job's input has no more items.
    InputEnded { job: JobId },
    /// The caller took so many results, of so many bytes.
    Taken { job: JobId, count: u64, bytes: u64 },
    /// The caller waits for the job no longer.
    Closed { job: JobId },
    /// A worker is up.
    Ready { worker: usize },
    /// A worker could not be started; whether another try would come to the same.
    NotStarted { worker: usize, is_final: bool },
    /// So many tasks at the head of the worker's queue gave their results, of so many bytes.
    Done { worker: usize, count: u64, bytes: u64, pace_ns: u64 },
    /// The task, or the init function, at the head of the worker's queue failed, and the worker lives. It has told why in
    /// so many bytes.
    Failed { worker: usize, bytes: u64 },
    /// The order at the head of the worker's queue, which is no task, is done.
    OrderDone { worker: usize },
    /// The worker was told to give back what it had not claimed; it keeps the units before this one.
    Recalled { worker: usize, kept_up_to: u32 },
    /// The worker is gone; whether it was running the head of its queue.
    Died { worker: usize, running: bool },
    /// The worker holds more memory than it may between tasks, and starts no more of them.
    OverSoftLimit { worker: usize },
    /// The worker holds more memory than it may in a task: so many bytes, where so many are allowed.
    OverHardLimit { worker: usize, held: u64, limit: u64 },
    /// All workers shall end, when they have done what they have.
    Retire,
    /// The parent itself stood still between these times: it was stopped, or had no CPU.
    StoodStill { from: u64, until: u64 },
    /// Time has passed.
    Tick,
}

/// What has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Start {
        worker: usize,
    },
    SendInit {
        worker: usize,
        profile: u32,
    },
    SendExit {
        worker: usize,
    },
    SendResume {
        worker: usize,
    },
    Recall {
        worker: usize,
    },
    Kill {
        worker: usize,
    },
    /// Keep the bytes of these tasks: they will be granted again, one by one.
    Requeue {
        worker: usize,
        unit: u32,
        job: JobId,
        first: u64,
        count: u64,
    },
    /// This task has no result: it failed, or its worker died in it. What there is to tell has so many bytes.
    FailTask {
        bytes: u64,
        worker: usize,
        unit: u32,
        job: JobId,
        index: u64,
        attempts: u32,
        cause: Cause,
    },
    /// This attempt at a task has failed; another follows.
    Retry {
        worker: usize,
        job: JobId,
        index: u64,
        cause: Cause,
    },
    /// The job cannot go on.
    Fail {
        job: JobId,
        worker: usize,
        cause: JobCause,
    },
    /// The worker's exit function did not end well.
    ExitLost {
        worker: usize,
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
    /// The worker told why.
    Reported,
    /// The worker died.
    Died,
    /// It took longer than its limit, in nanoseconds.
    TimedOut(u64),
    /// It held so many bytes, where so many are allowed.
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
