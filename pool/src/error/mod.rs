//! The errors of pools and calls. Each says what became of the work.

pub(crate) mod backtrace;
mod call_site;
mod death;
mod kind;
mod panic;
pub(crate) mod plain;
pub(crate) mod returned;
mod task;
#[cfg(test)]
mod stored;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::sys::identity::Forked;
use crate::text;

#[cfg(feature = "progress")]
pub(crate) use call_site::ShownLabel;
pub(crate) use call_site::{CallSite, Called};
pub use death::Death;
pub(crate) use death::DeathCause;
pub use kind::TaskErrorKind;
pub use panic::PanicInfo;
use plain::Plain;
pub use returned::ReturnedError;
pub use task::TaskError;
pub(crate) use task::{EndNotes, write_stderr_tail};

/// Why a call on a pool, or the construction of one, failed.
///
/// `Debug` says the same as `Display`, over several lines and with the backtrace of a panic, because `unwrap` and a
/// `main` that returns the error print `Debug`. Control characters in text from a worker or another program are
/// escaped, as in `\u{1b}`.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One task failed; the call ended with the first such error.
    #[error(transparent)]
    Task(TaskError),
    /// An option of the pool or of a job has an invalid value.
    #[error("option `{option}` is {}: {allowed}", Plain(.value))]
    Option {
        /// The option's name, as in the builder.
        option: &'static str,
        /// The value that was given.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The start method executes this program again, and the program has not called [`pool::init`](crate::init).
    #[error(
        "start method {0} starts this program anew as a worker, and `pool::init()` was never called: \
         put `#[pool::main]` on `main` or make `pool::init();` its first statement \
         (in tests: `pool::test_support!();` once in the test crate)"
    )]
    NotInitialized(crate::options::StartMethod),
    /// This process was started as a worker, but ran into user code instead of [`pool::init`](crate::init).
    #[error(
        "this process was started as a worker, and its `main` did not begin with `pool::init()`: \
         put `#[pool::main]` on `main` or make `pool::init();` its first statement"
    )]
    InitSkipped,
    /// A worker of a daemonic pool tried to build a pool.
    #[error("a worker of a daemonic pool cannot build a pool: build the outer pool with `daemon(false)`")]
    Daemonic,
    /// A task that runs in a thread of the pool has made a call that would wait for the task itself.
    #[error(
        "`{call}` in a task of the same pool would wait for that task to return: call it outside of the pool's tasks, \
         or build another pool for them"
    )]
    OwnTask {
        /// The name of the call.
        call: &'static str,
    },
    /// `Fork` was refused because the process has other threads, which a fork does not copy.
    #[error(
        "start method Fork in a process with {threads} threads is not sound: use `StartMethod::ForkServer`, \
         make the pool's first call before other threads start, or assert that it is fine with the unsafe builder \
         method `allow_fork_with_threads`"
    )]
    ForkWithThreads {
        /// How many threads the process has.
        threads: usize,
    },
    /// The pool was built before a fork, and this process is the child: the workers belong to the parent.
    #[error(
        "the pool belongs to process {owner}, and this process is a fork of that one, which has no workers of it: \
         build the pool after the fork"
    )]
    Forked {
        /// The ID of the process that built the pool.
        owner: u32,
    },
    /// A process that executed this program again ended, or did something else, before it reached
    /// [`pool::init`](crate::init). The pool does not try again.
    #[error(
        "could not start {what}: the new process did not reach `pool::init()`: {reason}. All that comes before that \
         call is done in each process that the pool starts: put `#[pool::main]` on `main`, or make `pool::init();` its \
         first statement, before arguments are read, anything is printed or a runtime is started{printed}"
    )]
    InitNotReached {
        /// What was being started.
        what: String,
        /// What the new process did instead.
        reason: String,
        /// The end of its output, with a short introduction; empty if it printed nothing.
        printed: String,
    },
    /// Workers could not be started.
    #[error("could not start {what}: {}", Plain(.reason))]
    Start {
        /// What was being started.
        what: String,
        /// Why that failed.
        reason: String,
    },
    /// The program has closed descriptors of the pool, as functions that daemonize a process do.
    #[error(
        "this process has closed descriptors of the pool's, and the workers have ended with them: close only what the \
         program has opened, or build the pool afterwards"
    )]
    DescriptorsClosed,
    /// A function is not in the registry of tasks, or its name is ambiguous.
    #[error("task registry: {0}")]
    Registry(String),
    /// The shared value could not be encoded.
    #[error("the shared value could not be encoded: {}", Plain(.0))]
    Shared(String),
    /// Shared memory could not be created or opened: see [`shared`](crate::shared).
    #[error("{what}: {reason}")]
    SharedMemory {
        /// The object that needed it.
        what: String,
        /// Why it failed, and what to do about it.
        reason: String,
    },
    /// The input of [`map_into`](crate::Job::map_into) has more items than there are slots for results.
    #[error(
        "the input has more items than slots for results, of which there are {slots}: give one slot for each item, or \
         let `iterable_len({slots})` leave out the other items"
    )]
    TooFewSlots {
        /// How many slots there are.
        slots: usize,
    },
    /// The outputs of chunks do not fit together.
    #[error("the outputs of the chunks cannot be concatenated: {}", Plain(.0))]
    Concatenate(String),
    /// The call was cancelled.
    #[error("the call was cancelled")]
    Cancelled,
    /// The [deadline](crate::Job::deadline) of the call came before all of its tasks had an outcome.
    #[error(
        "the call was not over by its deadline: give it more time, or keep what is done with `map_outcomes` or `imap`"
    )]
    DeadlineExceeded,
    /// The pool was closed, by `join`, `terminate` or drop, before this work ended.
    #[error("the pool is closed, and does no more work")]
    Closed,
    /// As many tasks as [`max_queue`](crate::WorkerPoolBuilder::max_queue) allows are outstanding in the background, or
    /// fewer places are free than the call has tasks. It was not made.
    #[error(
        "{queued} tasks wait or run in the background, and the pool takes at most {most}: try again later, wait for \
         room with `apply_async_when_ready`, or divide a call that has more tasks than that"
    )]
    Busy {
        /// How many tasks are outstanding.
        queued: usize,
        /// How many may be.
        most: usize,
    },
    /// The result did not arrive in time. The task goes on.
    #[error("no result within {0:?}: the task goes on, wait again or cancel it")]
    NotReady(Duration),
}

impl Error {
    /// The task that failed, if the error is about a task.
    #[must_use]
    pub fn task(&self) -> Option<&TaskError> {
        match self {
            Self::Task(task) => Some(task),
            _ => None,
        }
    }

    pub(crate) fn option(option: &'static str, value: impl fmt::Debug, allowed: impl Into<String>) -> Self {
        Self::Option { option, value: text::shown(&value), allowed: allowed.into() }
    }

    pub(crate) fn shared_memory(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::SharedMemory { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn start(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::Start { what: what.into(), reason: reason.to_string() }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => fmt::Debug::fmt(task, f),
            _ => fmt::Display::fmt(self, f),
        }
    }
}

impl From<Forked> for Error {
    fn from(Forked { owner }: Forked) -> Self {
        Self::Forked { owner }
    }
}

impl From<TaskError> for Error {
    fn from(task: TaskError) -> Self {
        Self::Task(task)
    }
}
