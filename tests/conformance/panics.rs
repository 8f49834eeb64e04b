//! A panic is reported with its own message, and with its own location or none, wherever it began and however it was
//! passed on.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::path::Path;

use pool::{Error, PanicInfo, StartMethod, TaskError, TaskErrorKind, worker_exit, worker_init, worker_task};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::harness::{apart, cases};
use crate::support::{Bomb, assert_usable, builder, pool, task_error};

cases! {
    All: passed_on, after_a_handled_one, in_what_surrounds_a_task, hook_of_the_users, handled_panics_are_silent;
    Apart: prints_nothing;
}

pub(super) const UNKNOWN: &str = "unknown place";

/// The place where a panic begins, and the way in which it is passed on. The text of each contains the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum How {
    /// In the task itself.
    Here,
    Literal,
    Unwrap,
    /// By a thread pool.
    Rayon,
    /// In a thread, whose payload the task passes on.
    Thread,
    ThreadLiteral,
    /// Handled, then passed on.
    Again,
    /// Raised without the hook, by `resume_unwind`.
    Made,
    MadeOfALiteral,
    /// With a payload that is not text.
    Number,
    MadeOfANumber,
    /// Passed on while a drop handles another panic.
    OverADrop,
}

const ALL: [How; 12] = [
    How::Here,
    How::Literal,
    How::Unwrap,
    How::Rayon,
    How::Thread,
    How::ThreadLiteral,
    How::Again,
    How::Made,
    How::MadeOfALiteral,
    How::Number,
    How::MadeOfANumber,
    How::OverADrop,
];

/// All ways that can be tried with this start method: with threads, rayon would leave its own threads behind in this
/// process.
fn ways(method: StartMethod) -> impl Iterator<Item = How> {
    ALL.into_iter().filter(move |how| method.is_process() || *how != How::Rayon)
}

/// Catches a panic of its own when it is dropped.
struct Copes;

impl Drop for Copes {
    fn drop(&mut self) {
        drop(catch_unwind(|| panic!("handled in a drop")));
    }
}

fn begin(how: How, x: u64) -> ! {
    let thread_payload = |run: fn(u64)| std::thread::spawn(move || run(x)).join().unwrap_err();
    match how {
        How::Here => panic!("row {x} is bad"),
        How::Literal => panic!("a literal"),
        How::Unwrap => match std::hint::black_box(None::<std::convert::Infallible>).unwrap() {},
        How::Rayon => {
            rayon::scope(|scope| scope.spawn(|_| panic!("matrix {x} is singular")));
            unreachable!("the scope passes it on")
        }
        How::Thread => resume_unwind(thread_payload(|x| panic!("thread {x} panicked"))),
        How::ThreadLiteral => resume_unwind(thread_payload(|_| panic!("a literal of a thread"))),
        How::Again => {
            let payload = catch_unwind(|| panic!("passed on, {x}")).unwrap_err();
            resume_unwind(payload)
        }
        How::Made => resume_unwind(Box::new(format!("made of {x}"))),
        How::MadeOfALiteral => resume_unwind(Box::new("made of a literal")),
        How::Number => panic_any(x),
        How::MadeOfANumber => resume_unwind(Box::new(7u8)),
        How::OverADrop => {
            let _copes = Copes;
            panic!("over a drop, {x}")
        }
    }
}

/// The panic's message, and part of the line of this file where it began, if that can be known.
fn expected(how: How, x: u64) -> (String, Option<&'static str>) {
    match how {
        How::Here => (format!("row {x} is bad"), Some("How::Here => panic!")),
        How::Literal => ("a literal".into(), Some("How::Literal => panic!")),
        How::Unwrap => ("called `Option::unwrap()` on a `None` value".into(), Some("How::Unwrap => match")),
        How::Rayon => (format!("matrix {x} is singular"), Some("matrix {x} is singular")),
        How::Thread => (format!("thread {x} panicked"), Some("thread {x} panicked")),
        How::ThreadLiteral => ("a literal of a thread".into(), Some("a literal of a thread")),
        How::Again => (format!("passed on, {x}"), Some("passed on, {x}")),
        How::Made => (format!("made of {x}"), None),
        How::MadeOfALiteral => ("made of a literal".into(), None),
        How::Number => ("non-string payload".into(), Some("How::Number => panic_any")),
        How::MadeOfANumber => ("non-string payload".into(), None),
        How::OverADrop => (format!("over a drop, {x}"), Some("over a drop, {x}")),
    }
}

#[track_caller]
pub(super) fn panic_of(error: &TaskError) -> &PanicInfo {
    match error.kind() {
        TaskErrorKind::Panicked(info) => info,
        TaskErrorKind::Init(cause) | TaskErrorKind::Exit(cause) => match &**cause {
            TaskErrorKind::Panicked(info) => info,
            other => panic!("it should have panicked, but it {other}"),
        },
        other => panic!("it should have panicked, but it {other}"),
    }
}

/// Asserts that the location is a line of this file that contains the text.
#[track_caller]
fn assert_is_at(info: &PanicInfo, text: &str) {
    let mut place = info.location().rsplitn(3, ':').skip(1);
    let (line, file) = (place.next().unwrap_or_default(), place.next().unwrap_or_default());
    assert!(file.ends_with("panics.rs"), "{info:?}");
    let line = include_str!("panics.rs").lines().nth(line.parse::<usize>().unwrap() - 1).unwrap();
    assert!(line.contains(text), "{info:?} is not at {text:?} but at {line:?}");
}

#[track_caller]
fn assert_is(error: &TaskError, how: How, x: u64) {
    let (message, line) = expected(how, x);
    let info = panic_of(error);
    assert_eq!(info.message(), message, "{how:?}");
    match line {
        Some(line) => assert_is_at(info, line),
        None => assert_eq!(info.location(), UNKNOWN, "{how:?}"),
    }
}

/// Catches these panics, and then panics in this way without catching it.
#[worker_task]
pub(super) fn panics(handled: Vec<(How, u64)>, how: Option<How>, x: u64) -> u64 {
    for (how, x) in handled {
        drop(catch_unwind(|| begin(how, x)));
    }
    how.map_or(x, |how| begin(how, x))
}

fn passed_on(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for (x, how) in (0..).zip(ways(method)) {
        assert_is(&task_error(panics::apply(&pool, (vec![], Some(how), x))), how, x);
    }
    assert_usable(&pool);
    Ok(())
}

fn after_a_handled_one(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for how in ways(method) {
        // Handled in an earlier task, and in the task itself.
        for handled in ways(method) {
            panics::apply(&pool, (vec![(handled, 1)], None, 1))?;
            assert_is(&task_error(panics::apply(&pool, (vec![], Some(how), 2))), how, 2);
            let error = task_error(panics::apply(&pool, (vec![(handled, 1), (How::Here, 7)], Some(how), 2)));
            assert_is(&error, how, 2);
        }
    }
    Ok(())
}

/// Panics when it is encoded, or when it is decoded.
#[derive(Debug, PartialEq)]
struct Fragile(Way);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    Out,
    In,
    Not,
}

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0 != Way::Out, "broke on the way out");
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let way = Way::deserialize(deserializer)?;
        assert!(way != Way::In, "broke on the way in");
        Ok(Self(way))
    }
}

/// Panics when it is dropped, if a worker made it.
#[derive(Default, Serialize, Deserialize)]
struct Brittle(bool);

impl Drop for Brittle {
    fn drop(&mut self) {
        assert!(!self.0, "broke as it was dropped");
    }
}

#[worker_task]
fn make(way: Way) -> Fragile {
    Fragile(way)
}

#[worker_task]
fn take(item: Fragile) -> bool {
    item.0 == Way::Not
}

#[worker_task]
fn drop_one(kind: u8) {
    match kind {
        0 => drop(Brittle(true)),
        _ => panic_any(Bomb),
    }
}

#[derive(Debug)]
pub(super) struct NoDefault;

impl Default for NoDefault {
    fn default() -> Self {
        panic!("no default of this")
    }
}

#[worker_task]
pub(super) fn with_default(#[state] _state: &mut NoDefault) {}

#[worker_init]
pub(super) fn init_panics() -> u8 {
    drop(catch_unwind(|| panic!("handled in init")));
    panic!("no init today")
}

#[worker_task(init = init_panics)]
pub(super) fn with_init(#[state] _state: &mut u8) {}

#[worker_exit]
fn exit_panics(#[state] _state: u8) -> u8 {
    drop(catch_unwind(|| panic!("handled in exit")));
    panic!("no exit today")
}

#[worker_task(exit = exit_panics)]
fn with_exit(#[state] _state: &mut u8) {}

fn in_what_surrounds_a_task(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    panics::apply(&pool, (vec![(How::Here, 3)], None, 1))?;
    let told = |error: TaskError, text: &str| {
        assert_eq!(panic_of(&error).message(), text);
        assert_is_at(panic_of(&error), text);
    };
    told(task_error(make::apply(&pool, Way::Out)), "broke on the way out");
    told(task_error(take::apply(&pool, Fragile(Way::In))), "broke on the way in");
    told(task_error(drop_one::apply(&pool, 0)), "broke as it was dropped");
    let error = task_error(drop_one::apply(&pool, 1));
    assert_eq!(panic_of(&error).message(), "non-string payload");
    assert_is_at(panic_of(&error), "panic_any(Bomb)");
    told(task_error(with_default::apply(&pool, ())), "no default of this");
    told(task_error(with_init::apply(&pool, ())), "no init today");
    with_exit::apply(&pool, ())?;
    told(task_error(pool.join()), "no exit today");
    Ok(())
}

#[worker_task]
fn replaces_the_hook(quiet: bool, x: u64) -> u64 {
    let before = panic::take_hook();
    panic::set_hook(if quiet { Box::new(|_| {}) } else { before });
    panic!("told by nobody, {x}")
}

/// With a panic hook of the user's, the message is still known; if the hook calls the one before it, so is the
/// location.
fn hook_of_the_users(method: StartMethod) -> Result<(), Error> {
    if method == StartMethod::Threads {
        // With threads, it would be the hook of the whole program.
        return Ok(());
    }
    let pool = builder(method).workers(1).build()?;
    panics::apply(&pool, (vec![(How::Here, 3)], None, 1))?;
    for (quiet, x) in [(false, 1), (true, 2)] {
        let error = task_error(replaces_the_hook::apply(&pool, (quiet, x)));
        assert_eq!(panic_of(&error).message(), format!("told by nobody, {x}"));
        if quiet {
            assert_eq!(panic_of(&error).location(), UNKNOWN);
            assert!(error.to_string().contains("panicked at an unknown place: told by nobody, 2"), "{error}");
        } else {
            assert_is_at(panic_of(&error), "told by nobody");
        }
    }
    Ok(())
}

/// A panic that is caught or becomes an error is not printed as well.
fn handled_panics_are_silent(method: StartMethod) -> Result<(), Error> {
    let output = apart(Path::new("/proc/self/exe"), prints_nothing, method).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    Ok(())
}

fn prints_nothing(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for how in [How::Here, How::Literal, How::Again, How::Number, How::OverADrop] {
        panics::apply(&pool, (vec![(how, 1)], None, 1))?;
        task_error(panics::apply(&pool, (vec![], Some(how), 1)));
    }
    let payload: Box<dyn Any + Send> =
        catch_unwind(AssertUnwindSafe(|| resume_unwind(Box::new(1)))).unwrap_err();
    assert!(payload.is::<i32>());
    pool.join()?;
    Ok(())
}
