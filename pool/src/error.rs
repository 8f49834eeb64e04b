//! What can go wrong, and what became of the work.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::text;

/// Why a call on a pool, or the building of one, did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One task failed; the call ended with the first such error.
    #[error(transparent)]
    Task(TaskError),
    /// An option of the pool or of a job has a value that is not allowed.
    #[error("option `{option}` is {value}: {allowed}")]
    Option {
        /// The option's name, as in the builder.
        option: &'static str,
        /// The value that was given.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The start method starts this program anew, and the program has not called [`pool::init`](crate::init).
    #[error(
        "start method {0} starts this program anew as a worker, and `pool::init()` was never called: \
         put `#[pool::main]` on `main` or make `pool::init();` its first statement \
         (in tests: `pool::test_support!();` once in the test crate)"
    )]
    NotInitialized(crate::StartMethod),
    /// This process was started as a worker but went past [`pool::init`](crate::init)'s place into user code.
    #[error(
        "this process was started as a worker, and its `main` did not begin with `pool::init()`: \
         put `#[pool::main]` on `main` or make `pool::init();` its first statement"
    )]
    InitSkipped,
    /// A worker of a daemonic pool tried to build a pool.
    #[error("a worker of a daemonic pool cannot build a pool: build the outer pool with `daemon(false)`")]
    Daemonic,
    /// `Fork` was refused because the process has other threads, which a fork would not copy.
    #[error(
        "start method Fork in a process with {threads} threads is not sound: use `StartMethod::ForkServer`, \
         make the pool's first call before other threads start, or assert that it is fine with the unsafe builder method \
         `allow_fork_with_threads`"
    )]
    ForkWithThreads {
        /// How many threads the process has.
        threads: usize,
    },
    /// The pool was built before a fork, and this process is the copy: the workers are the other process's.
    #[error(
        "the pool belongs to process {owner}, and this process is a fork of that one, which has no workers of it: \
         build the pool after the fork"
    )]
    Forked {
        /// The number of the process that has built the pool.
        owner: u32,
    },
    /// Workers could not be started.
    #[error("could not start {what}: {reason}")]
    Start {
        /// What was being started.
        what: String,
        /// Why that failed.
        reason: String,
    },
    /// The registry of tasks is not usable.
    #[error("task registry: {0}")]
    Registry(String),
    /// The shared value could not be encoded.
    #[error("the shared value could not be encoded: {0}")]
    Shared(String),
    /// Memory that processes share could not be had: see [`shared`](crate::shared).
    #[error("{what}: {reason}")]
    SharedMemory {
        /// For what.
        what: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The outputs of chunks do not fit together.
    #[error("the outputs of the chunks cannot be concatenated: {0}")]
    Concatenate(String),
    /// The call was cancelled.
    #[error("the call was cancelled")]
    Cancelled,
    /// The pool was closed, by `join`, `terminate` or drop, before this work ended.
    #[error("the pool is closed: the work was not finished")]
    Closed,
    /// The result was not there in time; the task goes on.
    #[error("no result within {0:?}: the task goes on, wait again or cancel it")]
    NotReady(Duration),
}

impl Error {
    /// The failed task, when it was a task that failed.
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

impl From<TaskError> for Error {
    fn from(task: TaskError) -> Self {
        Self::Task(task)
    }
}

/// What became of one task that did not give a result.
#[derive(Debug, Clone)]
pub struct TaskError(Arc<Failure>);

#[derive(Debug)]
struct Failure {
    task: &'static str,
    index: usize,
    worker: usize,
    attempts: u32,
    argument: Option<String>,
    kind: TaskErrorKind,
    earlier: Vec<TaskErrorKind>,
    /// The elements that it had in place.
    rows: Option<Range<usize>>,
    last_words: Option<String>,
}

impl TaskError {
    pub(crate) fn new(
        task: &'static str,
        index: usize,
        worker: usize,
        attempts: u32,
        argument: Option<String>,
        kind: TaskErrorKind,
    ) -> Self {
        let (earlier, rows, last_words) = (Vec::new(), None, None);
        Self(Arc::new(Failure { task, index, worker, attempts, argument, kind, earlier, rows, last_words }))
    }

    /// With what ended the attempts before the last.
    pub(crate) fn after(mut self, attempts: Vec<TaskErrorKind>) -> Self {
        if let Some(failure) = Arc::get_mut(&mut self.0) {
            failure.earlier = attempts;
        }
        self
    }

    /// Of a task that had these elements of an array in place.
    pub(crate) fn on_rows(mut self, rows: Range<usize>) -> Self {
        if let Some(failure) = Arc::get_mut(&mut self.0) {
            failure.rows = Some(rows);
        }
        self
    }

    /// With what its worker printed before its end.
    pub(crate) fn with_last_words(mut self, words: Option<String>) -> Self {
        if let Some(failure) = Arc::get_mut(&mut self.0) {
            failure.last_words = words;
        }
        self
    }

    /// The name of the task function, as it is registered.
    #[must_use]
    pub fn task_name(&self) -> &'static str {
        self.0.task
    }

    /// The item's position in the input, from 0. For [`TaskErrorKind::Init`] and [`TaskErrorKind::Exit`],
    /// which belong to no item: 0.
    #[must_use]
    pub fn task_index(&self) -> usize {
        self.0.index
    }

    /// The worker that had the task.
    #[must_use]
    pub fn worker_id(&self) -> usize {
        self.0.worker
    }

    /// How many times the task was started; 1 without retries.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The item, when its type is `Debug` and it was still there to look at: its first 200 characters. Of an item of more
    /// than 1 GiB only the size.
    #[must_use]
    pub fn argument(&self) -> Option<&str> {
        self.0.argument.as_deref()
    }

    /// For a task that worked on a chunk of an array [in place](crate::Job::chunks_mut), and panicked, died or was
    /// timed out: the elements of that chunk. Each may be as it was, as it should be, or something in between.
    #[must_use]
    pub fn torn(&self) -> Option<Range<usize>> {
        let tears = |kind: &TaskErrorKind| {
            matches!(kind, TaskErrorKind::Panicked(_) | TaskErrorKind::Died(_) | TaskErrorKind::TimedOut(_))
        };
        let torn = tears(&self.0.kind) || self.0.earlier.iter().any(tears);
        self.0.rows.clone().filter(|_| torn)
    }

    /// What the worker printed to stderr before it died or was killed, the last 2 KiB at most: an assertion of a C library,
    /// what an allocator complains of. As far as can be known, nothing from before the task.
    #[must_use]
    pub fn last_words(&self) -> Option<&str> {
        self.0.last_words.as_deref()
    }

    /// What went wrong, at the last attempt.
    #[must_use]
    pub fn kind(&self) -> &TaskErrorKind {
        &self.0.kind
    }

    /// What ended the attempts before the last, from the first on; empty without retries.
    #[must_use]
    pub fn earlier_attempts(&self) -> &[TaskErrorKind] {
        &self.0.earlier
    }
}

impl std::error::Error for TaskError {}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { task, index, worker, attempts, argument, kind, earlier, last_words, .. } = &*self.0;
        match kind {
            TaskErrorKind::Init(cause) => {
                write!(f, "init of worker {worker} for task `{task}` failed: {cause}")
            }
            TaskErrorKind::Exit(cause) => write!(f, "exit of worker {worker} failed: {cause}"),
            _ => write!(f, "task {index} of `{task}` on worker {worker} {kind}"),
        }?;
        if let Some(argument) = argument {
            write!(f, "; its argument was {argument}")?;
        }
        if let Some(Range { start, end }) = self.torn() {
            write!(f, "; it left elements {start} to {end} torn")?;
        }
        if *attempts > 1 {
            write!(f, "; this was attempt {attempts}")?;
        }
        for (attempt, kind) in (1..).zip(earlier) {
            write!(f, "; attempt {attempt} {kind}")?;
        }
        last_words.as_deref().map_or(Ok(()), |words| write_words(f, words))
    }
}

/// What a worker printed before its end, behind what is said of that: one line there, several below.
pub(crate) fn write_words(f: &mut impl fmt::Write, words: &str) -> fmt::Result {
    f.write_str("; its last words:")?;
    let gap = if words.contains('\n') { "\n    " } else { " " };
    words.lines().try_for_each(|line| write!(f, "{gap}{line}"))
}

/// What went wrong with a task.
#[derive(Debug, Clone)]
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
    /// A function returned this error: the init function said why it could not make the state.
    Failed(String),
    /// The task was cancelled before it was done.
    Cancelled,
}

impl fmt::Display for TaskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(info) => write!(f, "panicked at {}: {}", info.location(), info.message()),
            Self::Died(death) => write!(f, "died: its worker {death}"),
            Self::TimedOut(limit) => {
                write!(f, "timed out: it ran longer than {limit:?}, its worker was killed")
            }
            Self::Encode(why) => write!(f, "could not be sent: encoding failed: {why}"),
            Self::Decode(why) => write!(f, "could not be received: decoding failed: {why}"),
            Self::Init(cause) => write!(f, "has no worker state: init failed: {cause}"),
            Self::Exit(cause) => write!(f, "exit failed: {cause}"),
            Self::Failed(why) => write!(f, "returned an error: {why}"),
            Self::Cancelled => write!(f, "was cancelled"),
        }
    }
}

/// The longest place of a panic, in bytes.
const LONGEST_PLACE: usize = 4 << 10;

/// A panic, as it crossed over from the worker.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct PanicInfo {
    message: String,
    location: String,
    backtrace: Option<String>,
}

impl PanicInfo {
    pub(crate) fn new(message: String, location: Option<String>, backtrace: Option<String>) -> Self {
        Self { message, location: location.unwrap_or_else(|| "an unknown place".into()), backtrace }
    }

    /// As it crosses over: texts that are too long lose their middle.
    pub(crate) fn cut(self) -> Self {
        let Self { message, location, backtrace } = self;
        let location = text::cut_to(location, LONGEST_PLACE);
        Self { message: text::cut(message), location, backtrace: backtrace.map(text::cut) }
    }

    /// The panic's message; `non-string payload` for a payload of another type. One of more than 256 KiB has lost its
    /// middle: a note there says how many bytes were left out.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it panicked, as `file:line:column`.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The backtrace, when `RUST_BACKTRACE` is set; cut like a message.
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}

/// How a worker process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    pub(crate) cause: DeathCause,
    pub(crate) core_dumped: bool,
    pub(crate) out_of_memory: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeathCause {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
    /// It held more than twice the memory limit in a task, and was killed for that.
    MemoryLimit { limit: u64, held: u64 },
    /// It wrote what no worker writes, and was killed for that.
    Corrupt,
    /// It is gone, and somebody else took its status.
    Unknown,
}

impl Death {
    pub(crate) const fn new(cause: DeathCause) -> Self {
        Self { cause, core_dumped: false, out_of_memory: false }
    }

    /// The signal that killed the worker.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.cause {
            DeathCause::Signaled(signal) => Some(signal),
            _ => None,
        }
    }

    /// The code that the worker exited with.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.cause {
            DeathCause::Exited(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the kernel wrote a core file.
    #[must_use]
    pub fn core_dumped(&self) -> bool {
        self.core_dumped
    }

    /// Whether memory was the reason: the kernel killed it because there was none left, or this crate because it held
    /// more than twice the pool's `memory_limit`.
    #[must_use]
    pub fn out_of_memory(&self) -> bool {
        self.out_of_memory || matches!(self.cause, DeathCause::MemoryLimit { .. })
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            DeathCause::Exited(code) => write!(f, "exited with code {code}")?,
            DeathCause::Signaled(number) => match nix::sys::signal::Signal::try_from(number) {
                Ok(signal) => write!(f, "was killed by {} (signal {number})", signal.as_str())?,
                Err(_) => write!(f, "was killed by signal {number}")?,
            },
            DeathCause::MemoryLimit { limit, held } => {
                write!(
                    f,
                    "was killed: it held {held} bytes more than before, over twice its limit of {limit}"
                )?;
            }
            DeathCause::Corrupt => write!(f, "wrote over its lane and was killed")?,
            DeathCause::Unknown => write!(f, "is gone (its exit status was taken by another waiter)")?,
        }
        if self.core_dumped {
            write!(f, ", core dumped")?;
        }
        if self.out_of_memory {
            write!(f, ", out of memory")?;
        }
        Ok(())
    }
}
