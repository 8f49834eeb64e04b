//! What can go wrong, and what became of the work.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub(crate) mod backtrace;
pub(crate) mod plain;
pub(crate) mod returned;

use crate::text;
use plain::Plain;
pub use returned::ReturnedError;

/// Why a call on a pool, or the building of one, did not succeed.
///
/// `Debug` says what `Display` says, over several lines and with the backtrace of a panic: it is what `unwrap` and a
/// `main` that returns the error print. Control characters in what a worker or another program has written are shown
/// as `\u{1b}`.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One task failed; the call ended with the first such error.
    #[error(transparent)]
    Task(TaskError),
    /// An option of the pool or of a job has a value that is not allowed.
    #[error("option `{option}` is {}: {allowed}", Plain(.value))]
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
    /// A process that was started as this program anew ended, or did something else, before it came to
    /// [`pool::init`](crate::init). It is not tried again.
    #[error(
        "could not start {what}: the new process did not reach `pool::init()`: {reason}. All that comes before that call \
         is done in each process that the pool starts: put `#[pool::main]` on `main`, or make `pool::init();` its first \
         statement, before arguments are read, anything is printed or a runtime is started{printed}"
    )]
    InitNotReached {
        /// What was being started.
        what: String,
        /// What the new process did instead.
        reason: String,
        /// The end of what it printed, behind a few words of its own; empty if that was nothing.
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
    /// The program has closed descriptors that are the pool's, as what makes a daemon of a process does.
    #[error(
        "this process has closed descriptors of the pool's, and the workers have ended with them: close only what the \
         program has opened, or build the pool afterwards"
    )]
    DescriptorsClosed,
    /// The registry of tasks is not usable.
    #[error("task registry: {0}")]
    Registry(String),
    /// The shared value could not be encoded.
    #[error("the shared value could not be encoded: {}", Plain(.0))]
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
    #[error("the outputs of the chunks cannot be concatenated: {}", Plain(.0))]
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

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => fmt::Debug::fmt(task, f),
            _ => fmt::Display::fmt(self, f),
        }
    }
}

impl From<TaskError> for Error {
    fn from(task: TaskError) -> Self {
        Self::Task(task)
    }
}

/// What became of one task that did not give a result. `Debug` says what `Display` says, over several lines.
#[derive(Clone)]
pub struct TaskError(Arc<Failure>);

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

    /// What the worker printed to stderr before it died or was killed, the last 2 KiB at most: an assertion of a C
    /// library, what an allocator complains of, a panic that could not unwind. As far as can be known, nothing from
    /// before the task. As it was printed: where it is shown, control characters may be better escaped, as this
    /// error's `Display` does.
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

impl std::error::Error for TaskError {
    /// The error that the function returned, as text; its sources follow it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.kind.returned().map(ReturnedError::first)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.say(f)?;
        self.say_more(|more| write!(f, "; {more}"))?;
        self.last_words().map_or(Ok(()), |words| write_words(f, words))
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.say(f)?;
        self.say_more(|more| write!(f, "\n  {}", Indented(&more.to_string(), 4)))?;
        if let Some(words) = self.last_words() {
            write!(f, "\n  its last words:\n    {}", Indented(&Plain(words).to_string(), 4))?;
        }
        write_backtrace(f, &self.0.kind)
    }
}

impl TaskError {
    /// The task, and what became of it.
    fn say(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { task, index, worker, kind, .. } = &*self.0;
        match kind {
            TaskErrorKind::Init(cause) => {
                write!(f, "init of worker {worker} for task `{task}` failed: {cause}")
            }
            TaskErrorKind::Exit(cause) => write!(f, "exit of worker {worker} failed: {cause}"),
            _ => write!(f, "task {index} of `{task}` on worker {worker} {kind}"),
        }
    }

    /// What else there is to say, one thing after the other.
    fn say_more(&self, mut say: impl FnMut(fmt::Arguments<'_>) -> fmt::Result) -> fmt::Result {
        let Failure { attempts, argument, earlier, .. } = &*self.0;
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

/// What a worker printed before its end, behind what is said of that: one line there, several below.
pub(crate) fn write_words(f: &mut impl fmt::Write, words: &str) -> fmt::Result {
    f.write_str("; its last words:")?;
    let gap = if words.contains('\n') { "\n    " } else { " " };
    words.lines().try_for_each(|line| write!(f, "{gap}{}", Plain(line)))
}

/// The backtrace of a panic, below what is said of it.
fn write_backtrace(f: &mut fmt::Formatter<'_>, kind: &TaskErrorKind) -> fmt::Result {
    match kind {
        TaskErrorKind::Init(cause) | TaskErrorKind::Exit(cause) => write_backtrace(f, cause),
        TaskErrorKind::Panicked(PanicInfo { backtrace: Some(backtrace), .. }) => {
            write!(f, "\n  backtrace:\n  {}", Indented(&Plain(backtrace.trim_end()).to_string(), 2))
        }
        _ => Ok(()),
    }
}

/// A text whose lines after the first begin with so many spaces.
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

/// What went wrong with a task. `Debug` says what `Display` says, with the backtrace of a panic.
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
    /// A function returned this error: the init function said why it could not make the state.
    Failed(ReturnedError),
    /// The task was cancelled before it was done.
    Cancelled,
}

impl TaskErrorKind {
    /// The error that the function returned, if that is what went wrong.
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

/// The longest place of a panic, in bytes.
const LONGEST_PLACE: usize = 4 << 10;

/// A panic, as it crossed over from the worker.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct PanicInfo {
    message: String,
    location: Option<String>,
    backtrace: Option<String>,
}

impl fmt::Display for PanicInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, location, .. } = self;
        write!(
            f,
            "panicked at {}: {}",
            Plain(location.as_deref().unwrap_or("an unknown place")),
            Plain(message)
        )
    }
}

impl fmt::Debug for PanicInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&TaskErrorKind::Panicked(self.clone()), f)
    }
}

impl PanicInfo {
    pub(crate) fn new(message: String, location: Option<String>, backtrace: Option<String>) -> Self {
        Self { message, location, backtrace }
    }

    /// How many bytes its texts have.
    pub(crate) fn len(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.message.len() + of(&self.location) + of(&self.backtrace)
    }

    /// As it crosses over: texts that are too long lose their middle.
    pub(crate) fn cut(self) -> Self {
        self.cut_to(text::LONGEST_MESSAGE)
    }

    /// The same, with texts of so many bytes.
    pub(crate) fn cut_to(self, most: usize) -> Self {
        let Self { message, location, backtrace } = self;
        let cut = |text| text::cut_to(text, most);
        let location = location.map(|place| text::cut_to(place, LONGEST_PLACE));
        Self { message: cut(message), location, backtrace: backtrace.map(cut) }
    }

    /// The panic's message; `non-string payload` for a payload of another type. One of more than 256 KiB has lost its
    /// middle: a note there says how many bytes were left out.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it panicked, as `file:line:column`; `unknown place` for a panic that was passed on and whose place is
    /// not known.
    #[must_use]
    pub fn location(&self) -> &str {
        self.location.as_deref().unwrap_or("unknown place")
    }

    /// The backtrace, when `RUST_BACKTRACE` is set: from where the user's code panicked to where the worker called
    /// it. All of it for `RUST_BACKTRACE=full`. Cut like a message.
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}

/// How a worker process ended. `Debug` says what `Display` says.
#[derive(Clone, Copy, PartialEq, Eq)]
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
    /// It was killed, and did not end.
    Stuck,
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
            DeathCause::Stuck => write!(
                f,
                "was killed and does not end (it hangs inside the kernel, or may not be signalled); it was left to itself"
            )?,
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

impl fmt::Debug for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: TaskErrorKind) -> TaskError {
        TaskError::new("app::convert", 2, 1, 1, Some("\"a\"".into()), kind)
    }

    fn panicked(message: &str, place: Option<&str>, backtrace: Option<&str>) -> TaskErrorKind {
        let text = str::to_owned;
        TaskErrorKind::Panicked(PanicInfo::new(message.into(), place.map(text), backtrace.map(text)))
    }

    #[test]
    fn debug_says_what_display_says_over_several_lines() {
        let killed = || TaskErrorKind::Died(Death::new(DeathCause::Signaled(9)));
        let backtrace = "   0: app::row\n             at ./src/main.rs:7:5\n   1: app::convert\n";
        let kind = panicked("left: 1\nright: 2", Some("src/main.rs:7:5"), Some(backtrace));
        let mut error = error(kind).after(vec![killed()]).with_last_words(Some("so far\nso good".into()));
        Arc::get_mut(&mut error.0).unwrap().attempts = 2;
        assert_eq!(
            error.to_string(),
            "task 2 of `app::convert` on worker 1 panicked at src/main.rs:7:5: left: 1\nright: 2; its argument was \
             \"a\"; this was attempt 2; attempt 1 died: its worker was killed by SIGKILL (signal 9); \
             its last words:\n    so far\n    so good"
        );
        let lines = [
            "task 2 of `app::convert` on worker 1 panicked at src/main.rs:7:5: left: 1",
            "right: 2",
            "  its argument was \"a\"",
            "  this was attempt 2",
            "  attempt 1 died: its worker was killed by SIGKILL (signal 9)",
            "  its last words:",
            "    so far",
            "    so good",
            "  backtrace:",
            "     0: app::row",
            "               at ./src/main.rs:7:5",
            "     1: app::convert",
        ]
        .join("\n");
        assert_eq!(format!("{error:?}"), lines);
        assert_eq!(format!("{:?}", Error::Task(error.clone())), lines);
        assert_eq!(
            format!("{:#?}", Err::<(), _>(Error::Task(error))).lines().count(),
            lines.lines().count() + 2
        );
    }

    #[test]
    fn debug_of_what_an_error_holds_shows_no_structs() {
        let info = || panicked("no", None, Some("   0: app::convert\n"));
        let with_backtrace = "panicked at an unknown place: no\n  backtrace:\n     0: app::convert";
        assert_eq!(format!("{:?}", info()), with_backtrace);
        let TaskErrorKind::Panicked(panic) = info() else { unreachable!() };
        assert_eq!((format!("{panic:?}").as_str(), panic.location()), (with_backtrace, "unknown place"));
        let init = TaskErrorKind::Init(Box::new(info()));
        assert_eq!(format!("{init:?}"), format!("has no worker state: init failed: {with_backtrace}"));
        let death = Death::new(DeathCause::Exited(3));
        assert_eq!(format!("{death:?}"), death.to_string());
        let option = Error::option("workers", 0, "a pool has at least 1 worker");
        for error in
            [option, Error::Cancelled, Error::NotReady(Duration::from_millis(3)), Error::start("it", "no")]
        {
            assert_eq!(format!("{error:?}"), error.to_string());
        }
    }

    #[test]
    fn what_a_worker_says_controls_no_terminal() {
        let says = "\x1b[2Jfine\r\u{9b}K\n\tok";
        for kind in [
            panicked(says, Some("\x1b]0;src/main.rs:7:5\x07"), Some("   0: \x1bapp\n")),
            TaskErrorKind::Failed(says.into()),
            TaskErrorKind::Decode(says.into()),
            TaskErrorKind::Encode(says.into()),
            TaskErrorKind::Init(Box::new(TaskErrorKind::Failed(says.into()))),
        ] {
            let error = TaskError::new("f", 0, 0, 1, Some(says.into()), kind.clone());
            let error = error.after(vec![kind]).with_last_words(Some(format!("{says}\n{says}")));
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')), "{text:?}");
                assert!(text.contains("\\u{1b}[2Jfine\\u{d}\\u{9b}K\n") && text.contains("\tok"), "{text}");
            }
        }
        for error in [Error::start("it", says), Error::Shared(says.into()), Error::Concatenate(says.into())] {
            assert!(error.to_string().contains("\\u{1b}[2Jfine"), "{error}");
        }
    }
}
