//! How tasks fail.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plain::{Indented, Plain};
use super::{Death, PanicInfo, ReturnedError};

/// How a task failed. `Debug` says the same as `Display`, with the backtrace of a panic.
///
/// # In a log or a report
///
/// Its JSON form is stable as [that of `TaskError`](crate::TaskError#in-a-log-or-a-report) is:
///
/// | kind | JSON |
/// |---|---|
/// | `Panicked` | `{"panicked": {"message": .., "location": .., "backtrace": ..}}`; the last two may be absent |
/// | `Died` | `{"died": {"cause": .., "core_dumped": .., "out_of_memory": ..}}` |
/// | `TimedOut` | `{"timed_out": {"secs": 1, "nanos": 500000000}}`: whole seconds, and nanoseconds beyond them |
/// | `CpuLimitExceeded` | `{"cpu_limit_exceeded": {"used": {"secs": .., "nanos": ..}, "limit": ..}}` |
/// | `Encode`, `Decode` | `{"encode": "why"}`, `{"decode": "why"}` |
/// | `Init`, `Exit` | `{"init": ..}`, `{"exit": ..}`, with the kind of the function's failure |
/// | `Failed` | `{"failed": {"message": .., "sources": [..]}}` |
/// | `Cancelled` | `"cancelled"` |
///
/// The `cause` of a death is one of these:
///
/// | cause | JSON |
/// |---|---|
/// | an exit code | `{"exited": 3}` |
/// | a signal | `{"signaled": {"number": 9, "name": "SIGKILL"}}`; the name may be absent, and the number counts |
/// | it was killed for the memory that it held | `{"memory_limit": {"limit_bytes": .., "held_bytes": ..}}` |
/// | it wrote what no sound worker writes | `"corrupt"` |
/// | it was killed and does not end | `"stuck"` |
/// | somebody else took its exit status | `"unknown"` |
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// The task panicked. Its worker lives on.
    Panicked(PanicInfo),
    /// The worker died while it ran the task.
    Died(Death),
    /// The task, init or exit function ran longer than its limit, and its worker was killed.
    TimedOut(Duration),
    /// The task used more CPU time than its [limit](crate::Job::cpu_limit), and its worker was killed.
    CpuLimitExceeded {
        /// How much CPU time was seen to be used. It may have been a little more.
        used: Duration,
        /// How much it was allowed to use.
        limit: Duration,
    },
    /// The argument, or the result, could not be encoded.
    Encode(String),
    /// The argument, or the result, could not be decoded.
    Decode(String),
    /// The worker's init function failed.
    Init(Box<TaskErrorKind>),
    /// The worker's exit function failed.
    Exit(Box<TaskErrorKind>),
    /// A function returned this error: a task that is [`fallible`](crate::worker_task#tasks-that-can-fail), or an init
    /// or exit function.
    Failed(ReturnedError),
    /// The call ended before the task had an outcome: at its [deadline](crate::Job::deadline), or because it
    /// [gave up](crate::Job::give_up_after), where the call keeps what is done; or because it was cancelled, and works
    /// on an array in place ([`Job::chunks_mut_outcomes`](crate::Job::chunks_mut_outcomes)), which outlives the call.
    /// Any other cancelled call ends with [`Error::Cancelled`](crate::Error::Cancelled).
    Cancelled,
}

impl TaskErrorKind {
    /// Its name, as in the JSON form.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Panicked(_) => "panicked",
            Self::Died(_) => "died",
            Self::TimedOut(_) => "timed_out",
            Self::CpuLimitExceeded { .. } => "cpu_limit_exceeded",
            Self::Encode(_) => "encode",
            Self::Decode(_) => "decode",
            Self::Init(_) => "init",
            Self::Exit(_) => "exit",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The kind of failure of an init or exit function; for a task, the kind itself.
    pub(super) fn cause(&self) -> &Self {
        match self {
            Self::Init(cause) | Self::Exit(cause) => cause,
            _ => self,
        }
    }

    /// The error that the function returned, if that is the cause.
    pub(super) fn returned(&self) -> Option<&ReturnedError> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Init(cause) | Self::Exit(cause) => cause.returned(),
            _ => None,
        }
    }
}

impl fmt::Display for TaskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(info) => info.fmt(f),
            Self::Died(death) => write!(f, "died: its worker {death}"),
            Self::TimedOut(limit) => {
                write!(f, "timed out: it ran longer than {limit:?}, its worker was killed")
            }
            Self::CpuLimitExceeded { used, limit } => {
                write!(
                    f,
                    "used {used:?} of CPU time, more than its limit of {limit:?}, its worker was killed"
                )
            }
            Self::Encode(why) => write!(f, "could not be sent: encoding failed: {}", Plain(why)),
            Self::Decode(why) => write!(f, "could not be received: decoding failed: {}", Plain(why)),
            Self::Init(cause) => write!(f, "has no worker state: init failed: {cause}"),
            Self::Exit(cause) => write!(f, "exit failed: {cause}"),
            Self::Failed(why) => write!(f, "returned an error: {}", Plain(why)),
            Self::Cancelled => write!(f, "was cancelled"),
        }
    }
}

impl fmt::Debug for TaskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        write_backtrace(f, self)
    }
}

/// Writes the backtrace of a panic, below the error.
pub(super) fn write_backtrace(f: &mut fmt::Formatter<'_>, kind: &TaskErrorKind) -> fmt::Result {
    match kind {
        TaskErrorKind::Init(cause) | TaskErrorKind::Exit(cause) => write_backtrace(f, cause),
        TaskErrorKind::Panicked(panic) => panic.backtrace().map_or(Ok(()), |backtrace| {
            write!(f, "\n  backtrace:\n  {}", Indented(&Plain(backtrace.trim_end()).to_string(), 2))
        }),
        _ => Ok(()),
    }
}
