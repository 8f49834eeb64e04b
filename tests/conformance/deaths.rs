//! A worker's death costs only the task that it ran, and the error tells how the worker died.

use std::collections::BTreeSet;
use std::process;

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool::{Death, Error, StartMethod, TaskError, TaskErrorKind, worker_exit, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_usable, builder, die, pool, put_token, square, squares, take_all_tokens, task_error,
};

cases! {
    Processes: killed_in_map, killed_in_imap, killed_in_apply, each_way_to_die, one_of_a_hundred, many_of_a_hundred,
               every_task_dies, retried, retries_run_out, killed_while_idle, all_killed_while_idle, keeps_its_number,
               dies_in_init, dies_in_exit, dies_with_a_large_result, with_lifespan_and_chunks, stderr_tail,
               stderr_tail_of_init_and_exit;
}

/// Ends the process in this way, if any is given.
#[worker_task]
fn end(how: Option<u8>, value: u64) -> u64 {
    match how {
        None => value,
        Some(0) => process::exit(0),
        Some(1) => process::exit(3),
        Some(2) => process::abort(),
        Some(3) => die(Signal::SIGKILL),
        Some(4) => die(Signal::SIGSEGV),
        Some(5) => die(Signal::SIGTERM),
        Some(_) => overflow(value) as u64,
    }
}

/// Runs out of stack.
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn overflow(value: u64) -> usize {
    let frame = std::hint::black_box([value; 1000]);
    overflow(frame[1]) + frame.len()
}

const KILL: Option<u8> = Some(3);

#[track_caller]
fn death(error: &TaskError) -> Death {
    match error.kind() {
        TaskErrorKind::Died(death) => *death,
        other => panic!("the worker should have died, but: {other}"),
    }
}

fn killed_in_map(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..3 {
        let error = task_error(end::par_map(&pool, (0..20).map(|x| (if x == 7 { KILL } else { None }, x))));
        assert_eq!((error.task_index(), error.attempts()), (7, 1));
        assert_eq!(death(&error).signal(), Some(Signal::SIGKILL as i32));
        let text = error.to_string();
        assert!(text.contains("SIGKILL") && text.contains("task 7"), "{text}");
        assert_usable(&pool);
    }
    Ok(())
}

fn killed_in_imap(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for ordered in [true, false] {
        let items = (0..50).map(|x| (if x % 10 == 3 { KILL } else { None }, x));
        let results: Vec<_> = if ordered {
            end::par_imap(&pool, items).collect()
        } else {
            end::par_imap_unordered(&pool, items).collect()
        };
        assert_eq!(results.len(), 50);
        let (good, bad): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(good.len(), 45);
        let died: BTreeSet<usize> = bad.into_iter().map(|result| task_error(result).task_index()).collect();
        assert_eq!(died, BTreeSet::from([3, 13, 23, 33, 43]));
        assert_usable(&pool);
    }
    Ok(())
}

fn killed_in_apply(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results: Vec<_> =
        (0..100).map(|x| end::apply_async(&pool, (if x == 50 { KILL } else { None }, x))).collect();
    for (x, result) in results.iter().enumerate() {
        if x == 50 {
            assert_eq!(death(&task_error(result.get())).signal(), Some(Signal::SIGKILL as i32));
        } else {
            assert_eq!(result.get()?, x as u64);
        }
    }
    Ok(())
}

fn each_way_to_die(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let signal = |signal: Signal| (Some(signal as i32), None);
    let ways = [
        (0, (None, Some(0))),
        (1, (None, Some(3))),
        (2, signal(Signal::SIGABRT)),
        (3, signal(Signal::SIGKILL)),
        (4, signal(Signal::SIGSEGV)),
        (5, signal(Signal::SIGTERM)),
        (6, signal(Signal::SIGABRT)),
    ];
    for (how, expected) in ways {
        let error = task_error(end::apply(&pool, (Some(how), 0)));
        let death = death(&error);
        let ended = (death.signal(), death.exit_code());
        // On an overflow, the standard library prints a message and aborts. Without its handler, it is a plain SIGSEGV.
        let overflowed = how == 6 && ended == signal(Signal::SIGSEGV);
        assert!(ended == expected || overflowed, "{how}: {error}");
        assert_usable(&pool);
    }
    Ok(())
}

fn one_of_a_hundred(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for chunk in [1, 10, 100] {
        let items = (0..100).map(|x| (if x == 33 { KILL } else { None }, x));
        let outcomes = end::job(&pool).chunk_size(chunk).map_outcomes(items)?;
        assert_exactly_these_died(&outcomes, |x| x == 33);
    }
    Ok(())
}

fn many_of_a_hundred(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 4] {
        let pool = builder(method).workers(workers).build()?;
        let items = (0..100).map(|x| (if x % 7 == 0 { Some((x / 7 % 6) as u8) } else { None }, x));
        assert_exactly_these_died(&end::par_map_outcomes(&pool, items)?, |x| x % 7 == 0);
    }
    Ok(())
}

#[track_caller]
fn assert_exactly_these_died(outcomes: &[Result<u64, TaskError>], dies: impl Fn(usize) -> bool) {
    assert_eq!(outcomes.len(), 100);
    for (x, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(value) => assert!(!dies(x) && *value == x as u64, "task {x} gave {value}"),
            Err(error) => {
                death(error);
                assert!(dies(x) && error.task_index() == x, "task {x}: {error}");
            }
        }
    }
}

fn every_task_dies(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let outcomes = end::par_map_outcomes(&pool, (0..20).map(|x| (KILL, x)))?;
    assert!(outcomes.len() == 20 && outcomes.iter().all(|outcome| outcome.is_err()));
    assert_usable(&pool);
    Ok(())
}

/// Dies if there is no token yet, and leaves one.
#[worker_task]
fn dies_at_first(#[shared] died: &String, x: u64) -> u64 {
    if x == 5 && take_all_tokens(died) == 0 {
        put_token(died);
        die(Signal::SIGKILL);
    }
    x
}

fn retried(method: StartMethod) -> Result<(), Error> {
    for chunk in [1, 20] {
        let died = Tokens::new();
        let pool = builder(method).shared(died.path()).build()?;
        let results = dies_at_first::job(&pool).chunk_size(chunk).retries(1).map(0..20)?;
        assert_eq!(results, (0..20).collect::<Vec<_>>());
    }
    Ok(())
}

fn retries_run_out(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for retries in [0, 1, 3] {
        let items = (0..20).map(|x| (if x == 5 { KILL } else { None }, x));
        let outcomes = end::job(&pool).retries(retries).map_outcomes(items)?;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 19);
        let error = outcomes[5].as_ref().unwrap_err();
        assert_eq!(error.attempts(), retries + 1);
        death(error);
    }
    Ok(())
}

#[worker_task]
fn process_id() -> i32 {
    Pid::this().as_raw()
}

fn killed_while_idle(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..5 {
        let worker = process_id::apply(&pool, ())?;
        kill(Pid::from_raw(worker), Signal::SIGKILL).expect("the worker is alive");
        assert_eq!(square::par_map(&pool, 0..50)?, squares(50), "no task was running, so none has failed");
    }
    Ok(())
}

fn all_killed_while_idle(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(4).build()?;
    for _ in 0..3 {
        let workers: BTreeSet<i32> =
            process_id::job(&pool).chunk_size(1).map([(); 40])?.into_iter().collect();
        for worker in workers {
            kill(Pid::from_raw(worker), Signal::SIGKILL).expect("the worker is alive");
        }
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn number(#[worker_id] id: usize, dies: bool) -> usize {
    if dies {
        die(Signal::SIGKILL);
    }
    id
}

fn keeps_its_number(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for _ in 0..3 {
        assert_eq!(task_error(number::apply(&pool, true)).worker_id(), 0);
        assert_eq!(number::apply(&pool, false)?, 0);
    }
    Ok(())
}

#[worker_init]
fn dying_init() -> u64 {
    die(Signal::SIGKILL)
}

#[worker_exit]
fn dying_exit(#[state] _state: u64) -> u64 {
    process::exit(9)
}

#[worker_task]
fn with_state(#[state] state: &mut u64, x: u64) -> u64 {
    *state += 1;
    x
}

fn dies_in_init(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..2 {
        let error = task_error(with_state::job(&pool).worker_init::<dying_init>().map(0..10));
        let TaskErrorKind::Init(cause) = error.kind() else { panic!("{error}") };
        assert!(matches!(**cause, TaskErrorKind::Died(_)), "{error}");
        assert_usable(&pool);
        assert_eq!(with_state::par_map(&pool, 0..3)?, [0, 1, 2]);
    }
    Ok(())
}

fn dies_in_exit(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(with_state::job(&pool).worker_exit::<dying_exit>().map(0..3)?, [0, 1, 2]);
    let error = task_error(pool.join());
    let TaskErrorKind::Exit(cause) = error.kind() else { panic!("{error}") };
    let TaskErrorKind::Died(death) = **cause else { panic!("{error}") };
    assert_eq!(death.exit_code(), Some(9));
    Ok(())
}

#[worker_task]
fn large_then_end(dies: bool) -> Vec<u8> {
    if dies {
        process::exit(0);
    }
    vec![1; 3_000_000]
}

fn dies_with_a_large_result(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    // The results before the death are larger than any buffer, so that some are still on their way when the worker
    // dies.
    let outcomes = large_then_end::job(&pool).chunk_size(5).map_outcomes((0..20).map(|x| x % 5 == 4))?;
    for (x, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(bytes) => assert!(x % 5 != 4 && bytes.len() == 3_000_000),
            Err(error) => assert!(x % 5 == 4 && death(error).exit_code() == Some(0), "{x}: {error}"),
        }
    }
    Ok(())
}

fn with_lifespan_and_chunks(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for (lifespan, chunk) in [(3, 1), (5, 4), (9, 30)] {
        let items = (0..100).map(|x| (if x % 25 == 24 { KILL } else { None }, x));
        let outcomes = end::job(&pool).worker_lifespan(lifespan).chunk_size(chunk).map_outcomes(items)?;
        assert_exactly_these_died(&outcomes, |x| x % 25 == 24);
    }
    Ok(())
}

/// Prints the words, and ends the process in this way.
#[worker_task]
fn say(words: &str, how: Option<u8>) {
    eprintln!("{words}");
    end(how, 0);
}

#[worker_task]
fn free_what_is_not_allocated() {
    let mut bytes = [0u64; 8];
    // SAFETY: the allocator finds that this is none of its own, and ends the process.
    #[expect(unsafe_code)]
    unsafe {
        libc::free((&raw mut bytes[3]).cast());
    }
}

fn stderr_tail(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    assert_eq!(task_error(end::apply(&pool, (KILL, 0))).stderr_tail(), None);
    for x in 0..5 {
        say::apply(&pool, (&format!("task {x} says this"), None))?;
    }
    let error = task_error(say::apply(&pool, ("assertion failed: x > 0\n  in solve()", Some(2))));
    let words = error.stderr_tail().expect("it has said something");
    assert!(words.ends_with("assertion failed: x > 0\n  in solve()"), "{words}");
    assert!(!words.contains("task 0 says this"), "that task was done long before: {words}");
    let text = error.to_string();
    assert!(
        text.contains("; the end of its stderr:\n    ") && text.ends_with("\n      in solve()"),
        "{text}"
    );

    // First the words of the C library, then the end of a long text.
    let error = task_error(free_what_is_not_allocated::apply(&pool, ()));
    assert!(error.stderr_tail().is_some_and(|words| words.ends_with("free(): invalid pointer")), "{error}");
    let error = task_error(say::apply(&pool, (&"x".repeat(5000), Some(2))));
    assert_eq!(error.stderr_tail().map(str::len), Some(2047), "{error}");
    let text = error.to_string();
    assert!(text.contains("; the end of its stderr: xxx"), "{text}");
    let error = task_error(say::job(&pool).retries(1).apply(("again", KILL)));
    assert_eq!(error.stderr_tail(), Some("again"));
    assert_usable(&pool);
    Ok(())
}

#[worker_init]
fn say_and_abort() -> u8 {
    eprintln!("no such model");
    process::abort()
}

#[worker_exit]
fn say_and_exit(#[state] _state: u8) {
    eprintln!("cannot save");
    process::exit(4);
}

#[worker_task(init = say_and_abort)]
fn never(#[state] _state: &mut u8) {}

#[worker_task(exit = say_and_exit)]
fn last(#[state] _state: &mut u8) {}

fn stderr_tail_of_init_and_exit(method: StartMethod) -> Result<(), Error> {
    let text = task_error(never::apply(&pool(method)?, ())).to_string();
    assert!(
        text.starts_with("init of worker") && text.ends_with("; the end of its stderr: no such model"),
        "{text}"
    );
    let pool = pool(method)?;
    last::apply(&pool, ())?;
    let text = task_error(pool.join()).to_string();
    assert!(
        text.starts_with("exit of worker") && text.ends_with("; the end of its stderr: cannot save"),
        "{text}"
    );
    Ok(())
}
