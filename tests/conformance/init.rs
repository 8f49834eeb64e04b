//! Init runs before a worker's first task, and the caller gets its failures.

use std::error::Error as StdError;

use pool::{Error, StartMethod, TaskErrorKind, worker_exit, worker_init, worker_task};
use serde::{Deserialize, Serialize};

use super::exit::tasks_done;
use crate::harness::cases;
use crate::support::{Tokens, assert_usable, builder, pool, put_token, take_all_tokens, task_error};

cases! {
    All: init_once_in_each_worker, init_at_each_restart, init_fails, failed_functions_are_named,
        init_errors_have_sources, init_panics, init_fails_everywhere, init_given_to_the_job, state_without_default;
}

#[worker_init]
fn note_start(#[shared] started: &String) -> u64 {
    put_token(started);
    0
}

#[worker_task(init = note_start, exit = tasks_done)]
fn noted(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks += 1;
    x
}

fn init_once_in_each_worker(method: StartMethod) -> Result<(), Error> {
    const WORKERS: usize = 3;
    let mut started = Tokens::new();
    let pool = builder(method).workers(WORKERS).shared(started.path()).build()?;
    for _ in 0..3 {
        assert_eq!(noted::job(&pool).chunk_size(1).map(0..30)?, (0..30).collect::<Vec<_>>());
    }
    let exits = pool.join()?.exit_results::<tasks_done>()?;
    assert!(exits.len() <= WORKERS, "{exits:?}");
    assert_eq!(exits.iter().sum::<u64>(), 90);
    started.take(exits.len());
    assert_eq!(take_all_tokens(&started.path()), 0, "each init has its exit");
    Ok(())
}

fn init_at_each_restart(method: StartMethod) -> Result<(), Error> {
    let mut started = Tokens::new();
    let pool = builder(method).shared(started.path()).build()?;
    assert_eq!(noted::job(&pool).worker_lifespan(1).map(0..10)?, (0..10).collect::<Vec<_>>());
    let exits = pool.join()?.exit_results::<tasks_done>()?;
    assert_eq!(exits.iter().filter(|tasks| **tasks == 1).count(), 10, "{exits:?}");
    assert!((10..=12).contains(&exits.len()), "{exits:?}");
    started.take(exits.len());
    assert_eq!(take_all_tokens(&started.path()), 0);
    Ok(())
}

#[worker_init]
fn refuses(#[worker_id] id: usize) -> Result<u64, String> {
    Err(format!("worker {id} will not"))
}

#[worker_init]
fn panics() -> u64 {
    panic!("init went wrong")
}

#[worker_task(init = refuses)]
fn refused(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks + x
}

#[worker_task(init = panics)]
fn panicked(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks + x
}

/// Why the init function failed.
fn init_cause<T: std::fmt::Debug>(result: Result<T, Error>) -> TaskErrorKind {
    match task_error(result).kind() {
        TaskErrorKind::Init(cause) => (**cause).clone(),
        other => panic!("init should have failed, but: {other}"),
    }
}

fn init_fails(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..3 {
        let cause = init_cause(refused::par_map(&pool, 0..10));
        assert!(matches!(&cause, TaskErrorKind::Failed(why) if why.ends_with("will not")), "{cause}");
        assert_usable(&pool);
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Unmakeable;

impl Default for Unmakeable {
    fn default() -> Self {
        panic!("it cannot be made")
    }
}

#[worker_task]
fn has_no_default(#[state] _: &mut Unmakeable) {}

#[worker_exit(name = "the first exit")]
fn first_exit(#[state] _: u64) -> u64 {
    panic!("first exit went wrong")
}

#[worker_exit(name = "the second exit")]
fn second_exit(#[state] _: u64) -> u64 {
    panic!("second exit went wrong")
}

/// The function that failed, and the error's text. The error blames no item.
fn blamed<T: std::fmt::Debug>(result: Result<T, Error>) -> (String, String) {
    let error = task_error(result);
    assert_eq!((error.task_index(), error.attempts()), (usize::MAX, 1), "{error}");
    assert!(error.worker_id() < 2 && error.torn().is_none(), "{error}");
    (error.task_name().to_owned(), error.to_string())
}

fn failed_functions_are_named(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (init, text) = blamed(refused::apply(&pool, 1));
    assert!(init.ends_with("init::refuses"), "{init}");
    let parts = ["init of worker ", "init::refused` failed: `", "init::refuses` returned an error: "];
    assert!(parts.iter().all(|part| text.contains(part)) && text.contains("will not"), "{text}");
    let (task, text) = blamed(has_no_default::apply(&pool, ()));
    assert!(task.ends_with("init::has_no_default"), "{task}");
    assert!(text.contains("has_no_default` failed: the state's `Default` panicked at "), "{text}");
    // A worker with two states whose exit functions fail: the error is that of the state that was made first.
    for (exits_first, name, why) in
        [(true, "the first exit", "first exit"), (false, "the second exit", "second exit")]
    {
        let pool = builder(method).workers(1).build()?;
        let first = || keeps_count::job(&pool).worker_exit::<first_exit>().apply(1);
        let second = || keeps_count::job(&pool).worker_exit::<second_exit>().apply(1);
        // A state that was never made has no exit.
        blamed(refused::apply(&pool, 1));
        if exits_first { first().and_then(|_| second()) } else { second().and_then(|_| first()) }?;
        let (exit, text) = blamed(pool.join());
        assert_eq!(exit, name);
        assert!(text.starts_with(&format!("exit of worker 0 failed: `{name}` panicked at ")), "{text}");
        assert!(text.contains(why), "{text}");
    }
    Ok(())
}

#[worker_task]
fn keeps_count(#[state] count: &mut u64, x: u64) -> u64 {
    *count += x;
    *count
}

/// An error with a source.
#[derive(Debug)]
struct NotLoaded(std::io::Error);

impl std::fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot load the model")
    }
}

impl StdError for NotLoaded {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

fn no_such_file() -> NotLoaded {
    NotLoaded(std::io::Error::other(std::fs::read("/no/such/model").unwrap_err()))
}

#[worker_init]
fn own_type() -> Result<u64, NotLoaded> {
    Err(no_such_file())
}

#[worker_init]
fn boxed() -> Result<u64, Box<dyn StdError + Send + Sync>> {
    Err(no_such_file())?
}

#[worker_init]
fn number() -> Result<u64, i32> {
    Err(7)
}

#[worker_task(init = own_type)]
fn with_own_type(#[state] _state: &mut u64) {}

#[worker_task(init = boxed)]
fn with_boxed(#[state] _state: &mut u64) {}

#[worker_task(init = number)]
fn with_number(#[state] _state: &mut u64) {}

fn init_errors_have_sources(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let chain = |error: &dyn StdError| {
        let errors = std::iter::successors(error.source(), |&error| error.source());
        errors.map(ToString::to_string).collect::<Vec<_>>()
    };
    let reason = "No such file or directory (os error 2)";
    for error in [with_own_type::apply(&pool, ()), with_boxed::apply(&pool, ())].map(Result::unwrap_err) {
        let text = format!("returned an error: cannot load the model: {reason}");
        assert!(error.to_string().contains(&format!("{text}; called at ")), "{error}");
        assert!(format!("{error:?}").contains(&text), "{error:?}");
        for error in [&error as &dyn StdError, error.task().unwrap()] {
            assert_eq!(chain(error), ["cannot load the model", reason]);
        }
    }
    let error = with_number::apply(&pool, ()).unwrap_err();
    assert!(error.to_string().contains("returned an error: 7; called at "), "{error}");
    assert_eq!(chain(&error), ["7"]);
    // Only errors that a function returned have sources.
    assert_eq!(chain(&panicked::apply(&pool, 1).unwrap_err()), [""; 0]);
    assert_usable(&pool);
    Ok(())
}

fn init_panics(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..3 {
        let cause = init_cause(panicked::par_map(&pool, 0..10));
        assert!(
            matches!(&cause, TaskErrorKind::Panicked(info) if info.message() == "init went wrong"),
            "{cause}"
        );
        assert_usable(&pool);
    }
    Ok(())
}

fn init_fails_everywhere(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    init_cause(refused::par_map_unordered(&pool, 0..10));
    init_cause(refused::par_map_outcomes(&pool, 0..10));
    init_cause(refused::apply(&pool, 1));
    init_cause(refused::apply_async(&pool, 1).get());
    init_cause(pool.map_async::<refused>(0..10).get());
    init_cause(refused::par_imap(&pool, 0..10).collect::<Result<Vec<_>, _>>());
    init_cause(refused::job(&pool).worker_lifespan(2).imap_unordered(0..10).collect::<Result<Vec<_>, _>>());
    assert_usable(&pool);
    Ok(())
}

#[worker_init]
fn seven() -> u64 {
    7
}

#[worker_init]
fn eight() -> Result<u64, std::num::ParseIntError> {
    "8".parse()
}

#[worker_task(init = seven)]
fn add(#[state] number: &mut u64, x: u64) -> u64 {
    *number + x
}

fn init_given_to_the_job(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(add::par_map(&pool, [1, 2])?, [8, 9]);
    assert_eq!(add::job(&pool).worker_init::<eight>().map([1, 2])?, [9, 10]);
    assert_eq!(add::par_map(&pool, [1, 2])?, [8, 9], "each call has the init that it asks for");
    init_cause(add::job(&pool).worker_init::<refuses>().map([1, 2]));
    assert_eq!(add::par_map(&pool, [1, 2])?, [8, 9]);
    Ok(())
}

struct NoDefault(String);

#[worker_init]
fn make_no_default(#[worker_id] id: usize) -> NoDefault {
    NoDefault(id.to_string())
}

#[worker_task(init = make_no_default)]
fn shows_id(#[state] state: &mut NoDefault, #[worker_id] id: usize) -> bool {
    state.0 == id.to_string()
}

fn state_without_default(method: StartMethod) -> Result<(), Error> {
    assert_eq!(shows_id::par_map(&pool(method)?, [(); 20])?, [true; 20]);
    Ok(())
}
