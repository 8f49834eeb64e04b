//! The errors of tasks.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use super::plain::Plain;
use super::{Death, PanicInfo, ReturnedError};

/// Why one task has no result. `Debug` says the same as `Display`, over several lines.
#[derive(Clone)]
pub struct TaskError(pub(super) Arc<Failure>);

pub(super) struct Failure {
    work: FailedWork,
    worker: usize,
    pub(super) attempts: u32,
    argument: Option<String>,
    kind: TaskErrorKind,
    earlier: Vec<TaskErrorKind>,
    /// The elements of an array that the task worked on in place.
    rows: Option<Range<usize>>,
    end: EndNotes,
}

/// Notes on the end of a task's worker, besides how it ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct EndNotes {
    /// The end of what it printed to stderr.
    pub(crate) stderr_tail: Option<String>,
    /// Why the signal to kill it was refused, so that cutting its lifeline had to end it.
    pub(crate) kill_refused: Option<Errno>,
}

/// The work that failed.
#[derive(Debug, Clone, Copy)]
enum FailedWork {
    /// The task on the item at this position in the input.
    Item { task: &'static str, index: usize },
    /// A worker's init function, before its first task; `None` if the state's `Default` failed.
    Init { function: Option<&'static str>, task: &'static str },
    /// A worker's exit function; `None` if the failure came after the exit functions, in the end of the worker.
    Exit { function: Option<&'static str> },
}

/// Stands for the index of an item or worker that does not exist.
const NONE: usize = usize::MAX;

impl TaskError {
    pub(crate) fn new(
        task: &'static str,
        index: usize,
        worker: usize,
        attempts: u32,
        argument: Option<String>,
        kind: TaskErrorKind,
    ) -> Self {
        Self::of(FailedWork::Item { task, index }, worker, attempts, argument, kind)
    }

    /// The call was cancelled before this task had an outcome.
    pub(crate) fn cancelled(task: &'static str, index: usize) -> Self {
        Self::new(task, index, NONE, 0, None, TaskErrorKind::Cancelled)
    }

    /// A result that came from several workers.
    pub(crate) fn on_no_worker(task: &'static str, index: usize, kind: TaskErrorKind) -> Self {
        Self::new(task, index, NONE, 1, None, kind)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::Cancelled)
    }

    /// A worker has no state for this task: its init function or the state's `Default` failed.
    pub(crate) fn in_init(
        function: Option<&'static str>,
        task: &'static str,
        worker: usize,
        cause: TaskErrorKind,
    ) -> Self {
        let kind = TaskErrorKind::Init(Box::new(cause));
        Self::of(FailedWork::Init { function, task }, worker, 1, None, kind)
    }

    /// A worker's exit function failed, or the end of the worker after its exit functions.
    pub(crate) fn in_exit(function: Option<&'static str>, worker: usize, cause: TaskErrorKind) -> Self {
        let kind = TaskErrorKind::Exit(Box::new(cause));
        Self::of(FailedWork::Exit { function }, worker, 1, None, kind)
    }

    fn of(
        work: FailedWork,
        worker: usize,
        attempts: u32,
        argument: Option<String>,
        kind: TaskErrorKind,
    ) -> Self {
        let (earlier, rows, end) = (Vec::new(), None, EndNotes::default());
        Self(Arc::new(Failure { work, worker, attempts, argument, kind, earlier, rows, end }))
    }

    /// Adds the errors of the attempts before the last.
    pub(crate) fn after(mut self, attempts: Vec<TaskErrorKind>) -> Self {
        if let Some(failure) = Arc::get_mut(&mut self.0) {
            failure.earlier = attempts;
        }
        self
    }

    /// Moves the error to another index, if it is that of a task.
    pub(crate) fn at_first_of(mut self, first: impl FnOnce(usize) -> usize) -> Self {
        if let Some(Failure { work: FailedWork::Item { index, .. }, .. }) = Arc::get_mut(&mut self.0) {
            *index = first(*index);
        }
        self
    }

    /// Adds the elements of an array that the task worked on in place.
    pub(crate) fn on_rows(mut self, rows: Range<usize>) -> Self {
        if let Some(failure) = Arc::get_mut(&mut self.0) {
            failure.rows = Some(rows);
        }
        self
    }

    /// Adds the notes on the end of its worker.
    pub(crate) fn with_end_notes(mut self, end: EndNotes) -> Self {
        if let Some(failure) = Arc::get_mut(&mut self.0) {
            failure.end = end;
        }
        self
    }

    /// The registered name of the function that failed: the task, or for [`TaskErrorKind::Init`] and
    /// [`TaskErrorKind::Exit`] the worker's init or exit function. If the `Default` of the state's type failed, the
    /// name of the task that needed the state. Empty if the worker was killed because it did not end after its exit
    /// functions.
    #[must_use]
    pub fn task_name(&self) -> &'static str {
        match self.0.work {
            FailedWork::Item { task, .. } => task,
            FailedWork::Init { function, task } => function.unwrap_or(task),
            FailedWork::Exit { function } => function.unwrap_or(""),
        }
    }

    /// The item's position in the input, from 0. [`TaskErrorKind::Init`] and [`TaskErrorKind::Exit`] belong to no item:
    /// for them it is `usize::MAX`, which no item has.
    #[must_use]
    pub fn task_index(&self) -> usize {
        match self.0.work {
            FailedWork::Item { index, .. } => index,
            FailedWork::Init { .. } | FailedWork::Exit { .. } => NONE,
        }
    }

    /// The worker that had the task, or whose init or exit function failed. `usize::MAX` for
    /// [`TaskErrorKind::Cancelled`], because a cancelled task may never have had a worker.
    #[must_use]
    pub fn worker_id(&self) -> usize {
        self.0.worker
    }

    /// How many times the task was started: 1 without retries, and 0 for [`TaskErrorKind::Cancelled`], where the number
    /// is not known.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The first 200 characters of the item, if its type is `Debug` and the item was still available. For an item of
    /// more than 1 GiB, only its size.
    #[must_use]
    pub fn argument(&self) -> Option<&str> {
        self.0.argument.as_deref()
    }

    /// The elements of the chunk that the task left torn: it worked on the chunk [in place](crate::Job::chunks_mut),
    /// and panicked, failed, died, was timed out or was cancelled. Each element may be as it was, as it should be, or
    /// something in between.
    #[must_use]
    pub fn torn(&self) -> Option<Range<usize>> {
        let tears = |kind: &TaskErrorKind| {
            matches!(
                kind,
                TaskErrorKind::Panicked(_)
                    | TaskErrorKind::Failed(_)
                    | TaskErrorKind::Died(_)
                    | TaskErrorKind::TimedOut(_)
                    | TaskErrorKind::Cancelled
            )
        };
        let torn = tears(&self.0.kind) || self.0.earlier.iter().any(tears);
        self.0.rows.clone().filter(|_| torn)
    }

    /// The last output of the worker to stderr before it died or was killed, at most 2 KiB: a failed assertion of a C
    /// library, an allocator's complaint, a panic that could not unwind. Output from before the task is left out as far
    /// as it can be told apart. The text is as it was printed: escape control characters before you show it, as this
    /// error's `Display` does.
    #[must_use]
    pub fn stderr_tail(&self) -> Option<&str> {
        self.0.end.stderr_tail.as_deref()
    }

    /// The cause of the failure, at the last attempt.
    #[must_use]
    pub fn kind(&self) -> &TaskErrorKind {
        &self.0.kind
    }

    /// The errors of all attempts before the last, oldest first; empty without retries.
    #[must_use]
    pub fn earlier_attempts(&self) -> &[TaskErrorKind] {
        &self.0.earlier
    }
}

impl std::error::Error for TaskError {
    /// The error that the function returned, as text. Its own `source` gives the next error of the chain.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.kind.returned().map(ReturnedError::first)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.say(f)?;
        self.say_more(|more| write!(f, "; {more}"))?;
        self.stderr_tail().map_or(Ok(()), |tail| write_stderr_tail(f, tail))
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.say(f)?;
        self.say_more(|more| write!(f, "\n  {}", Indented(&more.to_string(), 4)))?;
        if let Some(tail) = self.stderr_tail() {
            write!(f, "\n  the end of its stderr:\n    {}", Indented(&Plain(tail).to_string(), 4))?;
        }
        write_backtrace(f, &self.0.kind)
    }
}

impl TaskError {
    /// Writes what failed, and how.
    fn say(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { work, worker, kind, .. } = &*self.0;
        let cause = kind.cause();
        match *work {
            FailedWork::Item { task, index } if *worker == NONE => {
                write!(f, "task {index} of `{task}` {kind}")
            }
            FailedWork::Item { task, index } => {
                write!(f, "task {index} of `{task}` on worker {worker} {kind}")
            }
            FailedWork::Init { function: Some(function), task } => {
                write!(f, "init of worker {worker} for task `{task}` failed: `{function}` {cause}")
            }
            FailedWork::Init { function: None, task } => {
                write!(f, "init of worker {worker} for task `{task}` failed: the state's `Default` {cause}")
            }
            FailedWork::Exit { function: Some(function) } => {
                write!(f, "exit of worker {worker} failed: `{function}` {cause}")
            }
            FailedWork::Exit { function: None } => {
                write!(f, "exit of worker {worker} failed: the worker's end {cause}")
            }
        }
    }

    /// Calls `say` for each further detail.
    fn say_more(&self, mut say: impl FnMut(fmt::Arguments<'_>) -> fmt::Result) -> fmt::Result {
        let Failure { attempts, argument, earlier, end, .. } = &*self.0;
        if let Some(error) = end.kill_refused {
            say(format_args!(
                "the signal to kill the worker was refused ({error}), and it was ended by cutting its lifeline: a \
                 process may kill those of its own user only, so give up privileges before the pool's first call, and \
                 let a sandbox allow `kill` and `pidfd_send_signal`"
            ))?;
        }
        if let Some(argument) = argument {
            say(format_args!("its argument was {}", Plain(argument)))?;
        }
        if let Some(Range { start, end }) = self.torn() {
            say(format_args!("it left elements {start} to {end} torn"))?;
        }
        if *attempts > 1 {
            say(format_args!("this was attempt {attempts}"))?;
        }
        (1..).zip(earlier).try_for_each(|(attempt, kind)| say(format_args!("attempt {attempt} {kind}")))
    }
}

/// Writes the end of a worker's stderr after an error: a single line behind it, several lines below it.
pub(crate) fn write_stderr_tail(f: &mut impl fmt::Write, tail: &str) -> fmt::Result {
    f.write_str("; the end of its stderr:")?;
    let gap = if tail.contains('\n') { "\n    " } else { " " };
    tail.lines().try_for_each(|line| write!(f, "{gap}{}", Plain(line)))
}

/// Writes the backtrace of a panic, below the error.
fn write_backtrace(f: &mut fmt::Formatter<'_>, kind: &TaskErrorKind) -> fmt::Result {
    match kind {
        TaskErrorKind::Init(cause) | TaskErrorKind::Exit(cause) => write_backtrace(f, cause),
        TaskErrorKind::Panicked(panic) => panic.backtrace().map_or(Ok(()), |backtrace| {
            write!(f, "\n  backtrace:\n  {}", Indented(&Plain(backtrace.trim_end()).to_string(), 2))
        }),
        _ => Ok(()),
    }
}

/// A text that is shown with all lines but the first indented by this many spaces.
struct Indented<'t>(&'t str, usize);

impl fmt::Display for Indented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, spaces) = *self;
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            let spaces = if number > 0 && !line.is_empty() { spaces } else { 0 };
            write!(f, "{:spaces$}{line}", "")?;
        }
        Ok(())
    }
}

/// How a task failed. `Debug` says the same as `Display`, with the backtrace of a panic.
#[derive(Clone)]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// The task panicked. Its worker lives on.
    Panicked(PanicInfo),
    /// The worker died while it ran the task.
    Died(Death),
    /// The task, init or exit function ran longer than its limit, and its worker was killed.
    TimedOut(Duration),
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
    /// The call was cancelled before the task had an outcome. Only calls that work on an array in place report this for
    /// each task ([`Job::chunks_mut_outcomes`](crate::Job::chunks_mut_outcomes)), because the array outlives the call.
    /// Any other call ends with [`Error::Cancelled`](crate::Error::Cancelled).
    Cancelled,
}

impl TaskErrorKind {
    /// The kind of failure of an init or exit function; for a task, the kind itself.
    fn cause(&self) -> &Self {
        match self {
            Self::Init(cause) | Self::Exit(cause) => cause,
            _ => self,
        }
    }

    /// The error that the function returned, if that is the cause.
    fn returned(&self) -> Option<&ReturnedError> {
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
