//! Init runs before a worker's first task, exit when it ends; their values and failures reach the caller.

use std::error::Error as StdError;
use std::panic::panic_any;

use pool::{Error, StartMethod, TaskErrorKind, worker_exit, worker_init, worker_task};
use serde::{Deserialize, Deserializer, Serialize};

use crate::harness::cases;
use crate::support::{
    Bomb, Tokens, assert_usable, builder, pool, put_token, square, take_all_tokens, task_error,
};

cases! {
    All: init_once_in_each_worker, init_at_each_restart, init_fails, failed_functions_are_named, init_errors_have_sources, init_panics,
         init_fails_everywhere,
         init_given_to_the_job, state_without_default, exit_results_count, exit_results_so_far,
         exit_results_taken, exit_results_kept_in_files, exit_results_that_panic,
         exit_at_each_restart,
         exit_given_to_the_job, exits_by_type, exit_panics, exit_panics_at_restart, exit_without_state,
         large_exit_results, nothing_ran, dropped_without_exit;
}

#[worker_init]
fn note_start(#[shared] started: &String) -> u64 {
    put_token(started);
    0
}

#[worker_exit]
fn tasks_done(#[state] tasks: u64) -> u64 {
    tasks
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

/// What made init fail.
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

/// The function that failed, and what is said of it; no item is.
fn blamed<T: std::fmt::Debug>(result: Result<T, Error>) -> (String, String) {
    let error = task_error(result);
    assert_eq!((error.task_index(), error.attempts()), (usize::MAX, 1), "{error}");
    assert!(error.worker_id() < 2 && error.torn().is_none(), "{error}");
    (error.task_name().to_owned(), error.to_string())
}

fn failed_functions_are_named(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (init, text) = blamed(refused::apply(&pool, 1));
    assert!(init.ends_with("init_exit::refuses"), "{init}");
    let parts =
        ["init of worker ", "init_exit::refused` failed: `", "init_exit::refuses` returned an error: "];
    assert!(parts.iter().all(|part| text.contains(part)) && text.contains("will not"), "{text}");
    let (task, text) = blamed(has_no_default::apply(&pool, ()));
    assert!(task.ends_with("init_exit::has_no_default"), "{task}");
    assert!(text.contains("has_no_default` failed: the state's `Default` panicked at "), "{text}");
    // Workers with several states: the second of the states that were made is the one whose exit function fails last.
    for (exits_first, name, why) in
        [(true, "the first exit", "first exit"), (false, "the second exit", "second exit")]
    {
        let pool = builder(method).workers(1).build()?;
        let first = || keeps_count::job(&pool).worker_exit::<first_exit>().apply(1);
        let second = || keeps_count::job(&pool).worker_exit::<second_exit>().apply(1);
        // A state that was not made has no exit.
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

/// Cannot load something, for a reason that has a reason.
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
        assert!(error.to_string().ends_with(&text), "{error}");
        assert!(format!("{error:?}").contains(&text), "{error:?}");
        for error in [&error as &dyn StdError, error.task().unwrap()] {
            assert_eq!(chain(error), ["cannot load the model", reason]);
        }
    }
    let error = with_number::apply(&pool, ()).unwrap_err();
    assert!(error.to_string().ends_with("returned an error: 7"), "{error}");
    assert_eq!(chain(&error), ["7"]);
    // What no function returned has no source.
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

#[worker_task(exit = tasks_done)]
fn counted(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks += 1;
    x
}

fn exit_results_count(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2, 4] {
        let pool = builder(method).workers(workers).build()?;
        counted::par_map(&pool, 0..100)?;
        counted::par_imap(&pool, 0..100).try_for_each(|result| result.map(drop))?;
        counted::apply(&pool, 1)?;
        let exits = pool.join()?.exit_results::<tasks_done>()?;
        assert!(exits.len() <= workers, "{exits:?}");
        assert_eq!(exits.iter().sum::<u64>(), 201);
    }
    Ok(())
}

/// Panics when it has come back, with a payload that panics as it is dropped.
#[derive(Debug, Serialize)]
struct Explodes;

impl<'de> Deserialize<'de> for Explodes {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic_any(Bomb)
    }
}

#[worker_exit]
fn explode() -> Explodes {
    Explodes
}

#[worker_task(exit = explode)]
fn leaves_an_explosive(x: u64) -> u64 {
    x
}

fn exit_results_that_panic(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(leaves_an_explosive::job(&pool).worker_lifespan(1).map(0..3)?, [0, 1, 2]);
    let so_far = pool.exit_results::<explode>();
    // None is taken that cannot be decoded.
    let taken = [pool.take_exit_results::<explode>(), pool.take_exit_results::<explode>()];
    let all = pool.join()?.exit_results::<explode>();
    for results in taken.into_iter().chain([so_far, all]) {
        let error = task_error(results);
        let TaskErrorKind::Exit(kind) = error.kind() else { panic!("{error}") };
        assert!(matches!(&**kind, TaskErrorKind::Decode(why) if why.contains("panicked")), "{error}");
    }
    Ok(())
}

fn exit_results_so_far(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).keep_alive(false).build()?;
    assert!(pool.exit_results::<tasks_done>()?.is_empty());
    for call in 1..=3 {
        counted::par_map(&pool, 0..50)?;
        assert_eq!(pool.exit_results::<tasks_done>()?.iter().sum::<u64>(), call * 50);
    }
    assert_eq!(pool.join()?.exit_results::<tasks_done>()?.iter().sum::<u64>(), 150);
    Ok(())
}

/// What is taken is given once, and only for this exit function.
fn exit_results_taken(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).keep_alive(false).build()?;
    assert!(pool.take_exit_results::<tasks_done>()?.is_empty());
    let mut taken = 0;
    for call in 1..=4 {
        counted::par_map(&pool, 0..50)?;
        counted::job(&pool).worker_exit::<doubled>().map(0..10)?;
        let so_far = pool.exit_results::<tasks_done>()?.iter().sum::<u64>();
        assert_eq!(so_far, call * 50 - taken);
        if call % 2 == 0 {
            taken += pool.take_exit_results::<tasks_done>()?.iter().sum::<u64>();
            assert!(pool.exit_results::<tasks_done>()?.is_empty());
        }
        assert_eq!(pool.exit_results::<doubled>()?.iter().sum::<u64>(), call * 20);
    }
    assert_eq!(taken, 200);
    let exits = pool.join()?;
    assert!(exits.exit_results::<tasks_done>()?.is_empty());
    assert_eq!(exits.exit_results::<doubled>()?.iter().sum::<u64>(), 80);
    Ok(())
}

/// A worker's exit gives as many bytes as it did tasks, of a MiB each.
#[worker_exit]
fn megabytes(#[state] tasks: u64) -> Vec<u8> {
    vec![tasks as u8; (tasks as usize) << 20]
}

#[worker_task(exit = megabytes)]
fn grows(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks += 1;
    x
}

/// Exit values that nobody has taken yet do not stay in the parent's memory.
fn exit_results_kept_in_files(method: StartMethod) -> Result<(), Error> {
    const VALUES: usize = 80;
    let pool = builder(method).workers(1).build()?;
    let grow = || grows::job(&pool).worker_lifespan(1).map(0..VALUES as u64).map(drop);
    let held = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
    };
    grow()?;
    let before = held();
    grow()?;
    let after = held();
    assert!(after < before + VALUES / 2, "{before} MiB grew to {after} MiB");
    let values = pool.join()?.exit_results::<megabytes>()?;
    assert!(values.len() >= 2 * VALUES - 1 && values.iter().all(|value| *value == vec![1; 1 << 20]));
    Ok(())
}

fn exit_at_each_restart(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    counted::job(&pool).worker_lifespan(3).map(0..30)?;
    let exits = pool.join()?.exit_results::<tasks_done>()?;
    assert_eq!(exits.iter().sum::<u64>(), 30);
    assert!(exits.iter().all(|tasks| *tasks <= 3), "{exits:?}");
    assert!(exits.len() >= 10, "{exits:?}");
    Ok(())
}

#[worker_exit]
fn doubled(#[state] tasks: &mut u64) -> u64 {
    *tasks * 2
}

fn exit_given_to_the_job(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    counted::job(&pool).worker_exit::<doubled>().map(0..20)?;
    let exits = pool.join()?;
    assert_eq!(exits.exit_results::<doubled>()?.iter().sum::<u64>(), 40);
    assert!(exits.exit_results::<tasks_done>()?.is_empty());
    Ok(())
}

#[worker_exit]
fn letters_done(#[state] letters: &String) -> String {
    letters.clone()
}

#[worker_task(exit = letters_done)]
fn spell(#[state] letters: &mut String, letter: char) {
    letters.push(letter);
}

fn exits_by_type(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    spell::par_map(&pool, "abc".chars())?;
    counted::par_map(&pool, 0..5)?;
    spell::apply(&pool, 'd')?;
    let exits = pool.join()?;
    assert_eq!(exits.exit_results::<letters_done>()?, ["abcd"]);
    assert_eq!(exits.exit_results::<tasks_done>()?, [5]);
    Ok(())
}

#[worker_exit]
fn exit_goes_wrong(#[state] _tasks: u64) -> u64 {
    panic!("exit went wrong")
}

#[worker_task(exit = exit_goes_wrong)]
fn ends_badly(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks += 1;
    x
}

#[track_caller]
fn assert_exit_went_wrong<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = task_error(result);
    let TaskErrorKind::Exit(cause) = error.kind() else { panic!("exit should have failed, but: {error}") };
    assert!(
        matches!(&**cause, TaskErrorKind::Panicked(info) if info.message() == "exit went wrong"),
        "{error}"
    );
}

fn exit_panics(method: StartMethod) -> Result<(), Error> {
    let joined = pool(method)?;
    assert_eq!(ends_badly::par_map(&joined, 0..10)?, (0..10).collect::<Vec<_>>());
    assert_exit_went_wrong(joined.join());
    let fresh = builder(method).keep_alive(false).build()?;
    assert_exit_went_wrong(ends_badly::par_map(&fresh, 0..10));
    assert_usable(&fresh);
    Ok(())
}

fn exit_panics_at_restart(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(ends_badly::job(&pool).worker_lifespan(2).map(0..10)?, (0..10).collect::<Vec<_>>());
    assert_usable(&pool);
    assert_exit_went_wrong(pool.join());
    Ok(())
}

#[worker_exit]
fn goodbye(#[worker_id] id: usize) -> usize {
    id
}

#[worker_task(exit = goodbye)]
fn plain(x: u64) -> u64 {
    x
}

fn exit_without_state(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    plain::par_map(&pool, 0..10)?;
    assert_eq!(pool.join()?.exit_results::<goodbye>()?, [0]);
    Ok(())
}

#[worker_exit]
fn ten_million_bytes(#[state] tasks: u64) -> Vec<u8> {
    vec![u8::try_from(tasks).unwrap_or(u8::MAX); 10_000_000]
}

fn large_exit_results(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    counted::job(&pool).worker_exit::<ten_million_bytes>().worker_lifespan(2).map(0..8)?;
    let exits = pool.join()?.exit_results::<ten_million_bytes>()?;
    assert!(exits.len() >= 4 && exits.iter().all(|exit| exit.len() == 10_000_000));
    assert_eq!(exits.iter().map(|exit| u64::from(exit[0])).sum::<u64>(), 8);
    Ok(())
}

fn nothing_ran(method: StartMethod) -> Result<(), Error> {
    assert!(pool(method)?.join()?.exit_results::<tasks_done>()?.is_empty());
    let pool = pool(method)?;
    square::par_map(&pool, 0..10)?;
    assert!(pool.join()?.exit_results::<tasks_done>()?.is_empty());
    Ok(())
}

#[worker_exit]
fn note_end(#[shared] ended: &String, #[state] tasks: u64) -> u64 {
    put_token(ended);
    tasks
}

#[worker_task(exit = note_end)]
fn end_noted(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks += 1;
    x
}

fn dropped_without_exit(method: StartMethod) -> Result<(), Error> {
    let ended = Tokens::new();
    let dropped = builder(method).shared(ended.path()).build()?;
    end_noted::par_map(&dropped, 0..10)?;
    drop(dropped);
    let terminated = builder(method).shared(ended.path()).build()?;
    end_noted::par_map(&terminated, 0..10)?;
    terminated.terminate();
    assert_eq!(take_all_tokens(&ended.path()), 0, "a pool that is given up runs no exit functions");
    Ok(())
}
