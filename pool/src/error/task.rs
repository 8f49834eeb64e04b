//! The errors of tasks.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::kind::write_backtrace;
use super::plain::{Indented, Plain};
use super::{CallSite, Called, ReturnedError, TaskErrorKind};
use crate::sys::errno::{Errno, number, of_number};

/// Why one task has no result. `Debug` says the same as `Display`, over several lines.
///
/// # In a log or a report
///
/// An error can be serialized in any format, also as a task's argument or result, and comes back equal:
///
/// ```
/// use pool::{TaskError, WorkerPool, worker_task};
///
/// #[worker_task]
/// fn convert(file: &str) -> usize {
///     match file {
///         "broken" => std::process::exit(3),
///         _ => file.len(),
///     }
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = WorkerPool::new(2)?;
///     let outcomes = convert::par_map_outcomes(&pool, ["good", "broken"])?;
///     let failed: Vec<&TaskError> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
///     let report = serde_json::to_string(&failed)?;
///     assert!(report.contains(r#""kind":{"died":{"cause":{"exited":3}"#));
///
///     let read: Vec<TaskError> = serde_json::from_str(&report)?;
///     assert_eq!(read[0], *failed[0]);
///     assert_eq!(read[0].argument(), Some("\"broken\""));
///     Ok(())
/// }
/// ```
///
/// The JSON form is stable: later versions may add fields and kinds, and leave those that there are as they are. Fields
/// that a version does not know are ignored, and those below that may be absent may also be missing or `null`; a kind
/// that it does not know is an error of reading. Formats that write no names (bincode, postcard) are for the same
/// version only. What is read is not cut or changed, and what is shown of it is escaped as always.
///
/// | field | holds |
/// |---|---|
/// | `work` | what failed: see below |
/// | `worker` | the [worker's](Self::worker_id) number; may be absent |
/// | `attempts` | [how many times](Self::attempts) it was started |
/// | `argument` | the [argument's](Self::argument) `Debug`; may be absent |
/// | `kind` | the [kind](TaskErrorKind#in-a-log-or-a-report) of failure |
/// | `earlier` | the kinds of failure of earlier attempts; may be missing |
/// | `rows` | the elements that it worked on in place: `{"start": .., "end": ..}`; may be absent |
/// | `label` | the call's [label](Self::label); may be absent |
/// | `called_at` | [where the call was made](Self::called_at), `"src/main.rs:7:5"`; may be absent |
/// | `worker_end.stderr_tail` | the [end of its stderr](Self::stderr_tail); may be absent |
/// | `worker_end.kill_refused` | the `errno` of the signal that was to kill it; may be absent |
///
/// Its `work` is one of these, where a `function` may be absent:
///
/// | work | JSON |
/// |---|---|
/// | a task | `{"task": {"name": "app::convert", "index": 2}}` |
/// | an init function | `{"init": {"function": "app::load", "task": "app::predict"}}` |
/// | an exit function | `{"exit": {"function": "app::count"}}` |
/// | the value of an `#[arg]` | `{"arg": {"function": "app::scale"}}` |
#[derive(Clone, PartialEq, Eq)]
pub struct TaskError(pub(super) Arc<Failure>);

#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    work: FailedWork,
    /// None for work that had no worker, or several.
    worker: Option<usize>,
    pub(super) attempts: u32,
    argument: Option<String>,
    kind: TaskErrorKind,
    #[serde(default)]
    earlier: Vec<TaskErrorKind>,
    /// The elements of an array that the task worked on in place.
    rows: Option<Range<usize>>,
    #[serde(default, with = "shared_text")]
    label: Option<Arc<str>>,
    called_at: Option<String>,
    #[serde(default, rename = "worker_end")]
    end: EndNotes,
}

impl Serialize for TaskError {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(out)
    }
}

impl<'de> Deserialize<'de> for TaskError {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(Arc::new(Failure::deserialize(from)?)))
    }
}

/// Notes on the end of a task's worker, besides how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndNotes {
    /// The end of what it printed to stderr.
    pub(crate) stderr_tail: Option<String>,
    /// Why the signal to kill it was refused, so that cutting its lifeline had to end it.
    #[serde(default, with = "errno")]
    pub(crate) kill_refused: Option<Errno>,
}

/// An error of the system, serialized as its number.
mod errno {
    use super::*;

    pub(super) fn serialize<S: Serializer>(error: &Option<Errno>, out: S) -> Result<S::Ok, S::Error> {
        error.map(number).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Errno>, D::Error> {
        Ok(Option::<i32>::deserialize(from)?.map(of_number))
    }
}

/// A text that errors of a call share. It is serialized like any other.
mod shared_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(text: &Option<Arc<str>>, out: S) -> Result<S::Ok, S::Error> {
        text.as_deref().serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Arc<str>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Into::into))
    }
}

/// The registered name of a function.
type Name = Cow<'static, str>;

/// The work that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FailedWork {
    /// The task on the item at this position in the input.
    #[serde(rename = "task")]
    Item {
        #[serde(rename = "name")]
        task: Name,
        index: usize,
    },
    /// A worker's init function, before its first task; `None` if the state's `Default` failed.
    Init { function: Option<Name>, task: Name },
    /// The value that the call gives to this function's `#[arg]`.
    Arg { function: Name },
    /// A worker's exit function; `None` if the failure came after the exit functions, in the end of the worker.
    Exit { function: Option<Name> },
}

impl FailedWork {
    fn item(task: &'static str, index: usize) -> Self {
        Self::Item { task: task.into(), index }
    }
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
        Self::of(FailedWork::item(task, index), Some(worker), attempts, argument, kind)
    }

    /// The call ended before this task had an outcome.
    pub(crate) fn cancelled(task: &'static str, index: usize) -> Self {
        Self::of(FailedWork::item(task, index), None, 0, None, TaskErrorKind::Cancelled)
    }

    /// A result that came from several workers.
    pub(crate) fn on_no_worker(task: &'static str, index: usize, kind: TaskErrorKind) -> Self {
        Self::of(FailedWork::item(task, index), None, 1, None, kind)
    }

    /// The value for a function's `#[arg]` could not be encoded, so no task of the call has run.
    pub(crate) fn in_arg(function: &'static str, why: String) -> Self {
        let work = FailedWork::Arg { function: function.into() };
        Self::of(work, None, 0, None, TaskErrorKind::Encode(why))
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
        let work = FailedWork::Init { function: function.map(Cow::Borrowed), task: task.into() };
        Self::of(work, Some(worker), 1, None, kind)
    }

    /// A worker's exit function failed, or the end of the worker after its exit functions.
    pub(crate) fn in_exit(function: Option<&'static str>, worker: usize, cause: TaskErrorKind) -> Self {
        let kind = TaskErrorKind::Exit(Box::new(cause));
        let work = FailedWork::Exit { function: function.map(Cow::Borrowed) };
        Self::of(work, Some(worker), 1, None, kind)
    }

    fn of(
        work: FailedWork,
        worker: Option<usize>,
        attempts: u32,
        argument: Option<String>,
        kind: TaskErrorKind,
    ) -> Self {
        Self(Arc::new(Failure {
            work,
            worker,
            attempts,
            argument,
            kind,
            earlier: Vec::new(),
            rows: None,
            label: None,
            called_at: None,
            end: EndNotes::default(),
        }))
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

    /// Adds where the call was made, and its label.
    #[cold]
    pub(crate) fn called(mut self, CallSite { at, label }: &CallSite) -> Self {
        if let Some(failure) = Arc::get_mut(&mut self.0) {
            (failure.called_at, failure.label) = (Some(at.to_string()), label.clone());
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
    pub fn task_name(&self) -> &str {
        match &self.0.work {
            FailedWork::Item { task: name, .. } | FailedWork::Arg { function: name } => name,
            FailedWork::Init { function, task } => function.as_deref().unwrap_or(task),
            FailedWork::Exit { function } => function.as_deref().unwrap_or(""),
        }
    }

    /// The item's position in the input, from 0. [`TaskErrorKind::Init`] and [`TaskErrorKind::Exit`] belong to no item,
    /// nor does the value of an `#[arg]` that can't be encoded: for them it is `usize::MAX`, which no item has.
    #[must_use]
    pub fn task_index(&self) -> usize {
        match self.0.work {
            FailedWork::Item { index, .. } => index,
            FailedWork::Init { .. } | FailedWork::Exit { .. } | FailedWork::Arg { .. } => NONE,
        }
    }

    /// The worker that had the task, or whose init or exit function failed. `usize::MAX` for
    /// [`TaskErrorKind::Cancelled`], because a cancelled task may never have had a worker.
    #[must_use]
    pub fn worker_id(&self) -> usize {
        self.0.worker.unwrap_or(NONE)
    }

    /// How many times the task was started: 1 without retries, and 0 for [`TaskErrorKind::Cancelled`], where the number
    /// is not known.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The label of the call, as [`Job::label`](crate::Job::label) was given it. None for an exit function, which
    /// belongs to no call.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.0.label.as_deref()
    }

    /// Where the call was made, as `file:line:column`. None for an exit function, which belongs to no call.
    #[must_use]
    pub fn called_at(&self) -> Option<&str> {
        self.0.called_at.as_deref()
    }

    /// The first 200 characters of the item, if its type is `Debug` and the item was still available. For an item of
    /// more than 1 GiB, only its size.
    #[must_use]
    pub fn argument(&self) -> Option<&str> {
        self.0.argument.as_deref()
    }

    /// The elements of the chunk that the task left torn: it worked on the chunk [in place](crate::Job::chunks_mut),
    /// and panicked, failed, died, was over a limit or was cancelled. Each element may be as it was, as it should be,
    /// or something in between.
    #[must_use]
    pub fn torn(&self) -> Option<Range<usize>> {
        let tears = |kind: &TaskErrorKind| {
            matches!(
                kind,
                TaskErrorKind::Panicked(_)
                    | TaskErrorKind::Failed(_)
                    | TaskErrorKind::Died(_)
                    | TaskErrorKind::TimedOut(_)
                    | TaskErrorKind::CpuLimitExceeded { .. }
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
        let of_worker = |f: &mut fmt::Formatter<'_>, of: &str| {
            worker.map_or(Ok(()), |worker| write!(f, " {of} worker {worker}"))
        };
        let function = |f: &mut fmt::Formatter<'_>, name: &Option<Name>, other: &str| match name {
            Some(name) => write!(f, " failed: `{}` {cause}", Plain(name)),
            None => write!(f, " failed: {other} {cause}"),
        };
        match work {
            FailedWork::Item { task, index } => {
                write!(f, "task {index} of `{}`", Plain(task))?;
                of_worker(f, "on")?;
                write!(f, " {kind}")
            }
            FailedWork::Init { function: name, task } => {
                f.write_str("init")?;
                of_worker(f, "of")?;
                write!(f, " for task `{}`", Plain(task))?;
                function(f, name, "the state's `Default`")
            }
            FailedWork::Arg { function } => write!(f, "the `#[arg]` of `{}` {kind}", Plain(function)),
            FailedWork::Exit { function: name } => {
                f.write_str("exit")?;
                of_worker(f, "of")?;
                function(f, name, "the worker's end")
            }
        }
    }

    /// Calls `say` for each further detail.
    fn say_more(&self, mut say: impl FnMut(fmt::Arguments<'_>) -> fmt::Result) -> fmt::Result {
        let Failure { attempts, argument, earlier, end, label, called_at, .. } = &*self.0;
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
        (1..).zip(earlier).try_for_each(|(attempt, kind)| say(format_args!("attempt {attempt} {kind}")))?;
        if called_at.is_some() || label.is_some() {
            let (label, at) = (self.label(), self.called_at());
            say(format_args!("{}", Called { label, at }))?;
        }
        Ok(())
    }
}

/// Writes the end of a worker's stderr after an error: a single line behind it, several lines below it.
pub(crate) fn write_stderr_tail(f: &mut impl fmt::Write, tail: &str) -> fmt::Result {
    f.write_str("; the end of its stderr:")?;
    let gap = if tail.contains('\n') { "\n    " } else { " " };
    tail.lines().try_for_each(|line| write!(f, "{gap}{}", Plain(line)))
}
