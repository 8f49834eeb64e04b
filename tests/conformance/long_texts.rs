//! Texts of any length: a long message of a panic or an error is cut in the middle, a long argument at the end, and the
//! worker and its state live on.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pool::{Error, StartMethod, TaskError, TaskErrorKind, WorkerPool, worker_exit, worker_init, worker_task};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::harness::cases;
use crate::support::{assert_usable, builder, panic_message, pool, task_error};

cases! {
    All: panics, unequal_vectors, errors_of_init, panics_of_init, panics_of_exit, what_codecs_say, error_without_end,
         arguments, slow_arguments;
    Processes: arguments_of_the_dead;
}

/// The limit that the docs state.
const LONGEST: usize = 256 << 10;

/// Lengths around the limits of a message and of a record, and far beyond.
const LENGTHS: [usize; 7] = [0, LONGEST, LONGEST + 1, 1 << 20, (1 << 20) + 4096, (1 << 20) + 4097, 9 << 20];

fn text(len: usize) -> String {
    format!("<{}>", "ä".repeat(len.saturating_sub(2) / 2))
}

/// A text that was cut says how much is missing.
#[track_caller]
fn assert_cut(message: &str, len: usize) {
    let whole = text(len);
    if whole.len() <= LONGEST {
        return assert_eq!(message, whole);
    }
    assert!(message.len() <= LONGEST && message.len() > LONGEST - 100, "{} bytes are left", message.len());
    let (head, rest) = message.split_once(" [... ").expect("a note");
    let (left_out, tail) = rest.split_once(" bytes left out ...] ").expect("a note");
    assert!(whole.starts_with(head) && whole.ends_with(tail));
    assert_eq!(head.len() + left_out.parse::<usize>().unwrap() + tail.len(), whole.len());
}

#[worker_task]
fn says(#[state] tasks: &mut u64, len: usize) -> u64 {
    *tasks += 1;
    assert!(len == usize::MAX, "{}", text(len));
    *tasks
}

fn panics(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for len in LENGTHS {
        assert_cut(panic_message(&task_error(says::apply(&pool, len))), len);
    }
    for (outcome, len) in says::par_map_outcomes(&pool, LENGTHS)?.into_iter().zip(LENGTHS) {
        assert_cut(panic_message(&outcome.unwrap_err()), len);
    }
    assert_eq!(says::apply(&pool, usize::MAX)?, 2 * LENGTHS.len() as u64 + 1, "the state is kept");
    Ok(())
}

#[worker_task]
fn compares(n: usize) {
    assert_eq!(vec![1000_u64; n], vec![2000_u64; n], "they differ");
}

fn unequal_vectors(method: StartMethod) -> Result<(), Error> {
    let error = task_error(compares::apply(&pool(method)?, 1_000_000));
    let message = panic_message(&error);
    assert!(message.starts_with("assertion `left == right` failed: they differ\n  left: [1000, 1000,"));
    assert!(message.ends_with("2000, 2000]") && message.len() <= LONGEST);
    Ok(())
}

#[worker_init]
fn init_fails(#[shared] len: &usize) -> Result<u64, String> {
    if *len == usize::MAX { Ok(1) } else { Err(text(*len)) }
}

#[worker_init]
fn init_panics(#[shared] len: &usize) -> u64 {
    panic!("{}", text(*len))
}

#[worker_exit]
fn exit_panics(#[shared] len: &usize, #[state] _calls: u64) {
    panic!("{}", text(*len))
}

#[worker_task]
fn counts(#[state] calls: &mut u64, x: u64) -> u64 {
    *calls += 1;
    x
}

fn init_error(error: &TaskError) -> &TaskErrorKind {
    match error.kind() {
        TaskErrorKind::Init(kind) => kind,
        other => panic!("init should have failed, but it {other}"),
    }
}

fn errors_of_init(method: StartMethod) -> Result<(), Error> {
    for len in LENGTHS {
        let pool: WorkerPool<usize> = builder(method).shared(len).build()?;
        let error = task_error(counts::job(&pool).worker_init::<init_fails>().map([1]));
        let TaskErrorKind::Failed(why) = init_error(&error) else { panic!("{error}") };
        assert_cut(why, len);
    }
    Ok(())
}

fn panics_of_init(method: StartMethod) -> Result<(), Error> {
    for len in LENGTHS {
        let pool: WorkerPool<usize> = builder(method).shared(len).build()?;
        let error = task_error(counts::job(&pool).worker_init::<init_panics>().map([1]));
        let TaskErrorKind::Panicked(info) = init_error(&error) else { panic!("{error}") };
        assert_cut(info.message(), len);
    }
    Ok(())
}

fn panics_of_exit(method: StartMethod) -> Result<(), Error> {
    for len in LENGTHS {
        let pool: WorkerPool<usize> = builder(method).shared(len).build()?;
        counts::job(&pool).worker_exit::<exit_panics>().map(0..10)?;
        let error = task_error(pool.join().map(drop));
        let TaskErrorKind::Exit(kind) = error.kind() else { panic!("{error}") };
        let TaskErrorKind::Panicked(info) = &**kind else { panic!("{kind}") };
        assert_cut(info.message(), len);
    }
    Ok(())
}

/// A value that cannot be encoded, or cannot be decoded.
#[derive(Debug, Clone, Copy)]
struct Picky {
    can_encode: bool,
}

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.can_encode {
            return 7_u8.serialize(serializer);
        }
        Err(serde::ser::Error::custom(text(9 << 20)))
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer)?;
        Err(serde::de::Error::custom(text(9 << 20)))
    }
}

#[worker_task]
fn takes(picky: Picky) {
    let _ = picky;
}

#[worker_task]
fn gives(can_encode: bool) -> Picky {
    Picky { can_encode }
}

fn what_codecs_say(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let short = |why: &str| why.contains("<ä") && why.contains("ä>") && why.len() <= LONGEST;
    for can_encode in [false, true] {
        let picky = Picky { can_encode };
        let errors = [
            takes::apply(&pool, picky),
            takes::par_map(&pool, [picky]).map(drop),
            takes::apply_async(&pool, picky).get(),
            gives::apply(&pool, can_encode).map(drop),
            gives::par_map(&pool, [can_encode]).map(drop),
        ];
        for error in errors.map(task_error) {
            match error.kind() {
                TaskErrorKind::Encode(why) => assert!(!can_encode && short(why), "{} bytes", why.len()),
                TaskErrorKind::Decode(why) => assert!(can_encode && short(why), "{} bytes", why.len()),
                other => panic!("{other}"),
            }
        }
    }
    assert_usable(&pool);
    Ok(())
}

/// A text that goes on until nobody reads it any more.
#[derive(Debug)]
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        loop {
            f.write_str("and then ")?;
        }
    }
}

#[worker_init]
fn fails_endlessly() -> Result<u64, Endless> {
    Err(Endless)
}

fn error_without_end(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(counts::job(&pool).worker_init::<fails_endlessly>().map([1]));
    let TaskErrorKind::Failed(why) = init_error(&error) else { panic!("{error}") };
    assert!(why.len() <= LONGEST && why.contains("[... at least "), "{} bytes", why.len());
    assert_usable(&pool);
    Ok(())
}

/// A number that can be shown only a few times in each process.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Shy(u8);

static SHOWN: AtomicUsize = AtomicUsize::new(0);

impl fmt::Debug for Shy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(SHOWN.fetch_add(1, Ordering::Relaxed) < 1000, "it is shown too often");
        self.0.fmt(f)
    }
}

#[worker_task]
fn ends_badly(numbers: Vec<Shy>, how: u8) -> usize {
    match how {
        0 => panic!("with {} numbers", numbers.len()),
        1 => std::process::abort(),
        2 => loop {
            std::thread::park();
        },
        _ => numbers.len(),
    }
}

fn many() -> Vec<Shy> {
    vec![Shy(5); 2 << 20]
}

#[track_caller]
fn assert_begins(argument: Option<&str>) {
    let argument = argument.expect("the argument is shown");
    assert!(argument.starts_with("([5, 5, 5, ") && argument.ends_with("..."), "{argument}");
    assert_eq!(argument.len(), 203);
}

fn arguments(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_begins(task_error(ends_badly::apply(&pool, (many(), 0))).argument());
    let outcomes = ends_badly::par_map_outcomes(&pool, [(many(), 0), (many(), 3)])?;
    assert_begins(outcomes[0].as_ref().unwrap_err().argument());
    assert_eq!(*outcomes[1].as_ref().unwrap(), many().len());
    Ok(())
}

fn arguments_of_the_dead(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_begins(task_error(ends_badly::apply(&pool, (many(), 1))).argument());
    // Long enough to decode the argument even on a busy machine.
    let job = ends_badly::job(&pool).task_timeout(Duration::from_secs(4));
    let error = task_error(job.apply((many(), 2)));
    assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_)), "{error}");
    assert_begins(error.argument());
    Ok(())
}

fn slow_arguments(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).insights(true).build()?;
    ends_badly::par_map(&pool, [(many(), 3), (many(), 4)])?;
    let slowest = pool.insights().slowest;
    assert!(!slowest.is_empty());
    for task in &slowest {
        assert_begins(task.argument.as_deref());
    }
    Ok(())
}
