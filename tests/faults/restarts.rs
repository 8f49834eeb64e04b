//! Workers that die again and again: when the pool tries again, and when it stops.

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool::{Error, StartMethod, TaskErrorKind, worker_init, worker_task};

use serde::{Deserialize, Deserializer, Serialize};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_usable, builder, die, pool, put_token, square, squares, take_all_tokens, task_error,
    wait_until_the_main_thread_sleeps,
};

cases! {
    Processes: poison, causes_are_kept, init_storm, idle_storm, kill_race, killed_while_idle, killed_as_they_start,
               killed_under_a_task_for_each, deadly_argument;
}

#[worker_task]
fn dies_if(bad: bool, x: u64) -> u64 {
    if bad {
        die(Signal::SIGSEGV);
    }
    x
}

fn poison(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let outcomes = dies_if::job(&pool).retries(2).map_outcomes((0..60).map(|x| (x % 20 == 3, x)))?;
    for (index, outcome) in (0..).zip(&outcomes) {
        match outcome {
            Ok(x) => assert_eq!(*x, index),
            Err(error) => assert_eq!((index % 20, error.attempts()), (3, 3), "it stops at its cap"),
        }
    }
    assert_usable(&pool);
    Ok(())
}

/// Dies, then hangs, then exits.
#[worker_task]
fn worse_each_time(count: &str, never: &str) -> u64 {
    put_token(count);
    let attempt = take_all_tokens(count);
    for _ in 0..attempt {
        put_token(count);
    }
    match attempt {
        1 => die(Signal::SIGILL),
        2 => crate::support::take_token(never),
        _ => {}
    }
    std::process::exit(9)
}

fn causes_are_kept(method: StartMethod) -> Result<(), Error> {
    let (count, never) = (Tokens::new(), Tokens::new());
    let pool = pool(method)?;
    let limit = Duration::from_millis(100);
    let job = worse_each_time::job(&pool).retries(2).task_timeout(limit);
    let error = task_error(job.apply((&*count.path(), &*never.path())));
    assert_eq!(error.attempts(), 3, "{error}");
    assert!(matches!(error.kind(), TaskErrorKind::Died(death) if death.exit_code() == Some(9)), "{error}");
    let earlier = error.earlier_attempts();
    assert!(
        matches!(earlier[0], TaskErrorKind::Died(death) if death.signal() == Some(Signal::SIGILL as i32))
    );
    assert!(matches!(earlier[1], TaskErrorKind::TimedOut(_)), "{error}");
    assert!(error.to_string().contains("SIGILL") && error.to_string().contains("timed out"), "{error}");
    Ok(())
}

#[worker_init]
fn dies(#[shared] count: &String) -> u8 {
    put_token(count);
    die(Signal::SIGBUS)
}

#[worker_task(init = dies)]
fn never_runs(#[state] _state: &mut u8, x: u64) -> u64 {
    x
}

fn init_storm(method: StartMethod) -> Result<(), Error> {
    let count = Tokens::new();
    let pool = builder(method).shared(count.path()).build()?;
    let error = task_error(never_runs::par_map(&pool, 0..1000));
    let TaskErrorKind::Init(cause) = error.kind() else { panic!("{error}") };
    assert!(matches!(&**cause, TaskErrorKind::Died(death) if death.signal() == Some(Signal::SIGBUS as i32)));
    let starts = take_all_tokens(&count.path());
    assert!(starts <= 10, "{starts} workers were started for nothing");
    assert_usable(&pool);
    Ok(())
}

/// Makes every worker except number 0 die as soon as it is idle, and not before: a death in here is this function's
/// failure.
#[worker_init]
fn dies_later(#[worker_id] id: usize, #[shared] count: &String) -> u8 {
    if id > 0 {
        put_token(count);
        thread::spawn(|| {
            wait_until_the_main_thread_sleeps();
            die(Signal::SIGABRT)
        });
    }
    0
}

#[worker_task(init = dies_later)]
fn take_no_time(#[state] _state: &mut u8, (): ()) {}

#[worker_task(init = dies_later)]
fn take_a_while(#[worker_id] id: usize, #[state] _state: &mut u8, (): ()) -> usize {
    thread::sleep(Duration::from_secs(2));
    id
}

fn idle_storm(method: StartMethod) -> Result<(), Error> {
    let count = Tokens::new();
    let pool = builder(method).shared(count.path()).build()?;
    // There is work for both, so both start.
    take_no_time::job(&pool).retries(1000).map([(); 100])?;
    assert_eq!(take_a_while::job(&pool).retries(1000).apply(())?, 0);
    // Two seconds are enough for a hundred starts and more, if they are not delayed.
    let starts = take_all_tokens(&count.path());
    assert!((1..=30).contains(&starts), "{starts} workers were started for nothing");
    Ok(())
}

/// A process that decodes a 7 of this type dies.
#[derive(Debug, Serialize)]
struct Deadly(u64);

impl<'de> Deserialize<'de> for Deadly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            7 => std::process::abort(),
            x => Ok(Self(x)),
        }
    }
}

#[worker_task]
fn take_it(Deadly(x): Deadly) -> u64 {
    x
}

fn deadly_argument(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for (x, outcome) in (0..).zip(take_it::par_map_outcomes(&pool, (0..20).map(Deadly))?) {
        match outcome {
            Ok(result) => assert_eq!(result, x),
            Err(error) => {
                assert!(x == 7 && matches!(error.kind(), TaskErrorKind::Died(_)), "{error}");
                assert_eq!(error.argument(), None, "the parent must not decode it to show it");
            }
        }
    }
    Ok(())
}

#[worker_task]
fn process() -> i32 {
    std::process::id().cast_signed()
}

/// Kills the given process, perhaps itself.
#[worker_task]
fn kill_it(victim: i32) {
    let _ = kill(Pid::from_raw(victim), Signal::SIGKILL);
}

fn kill_race(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2, 5, 13] {
        let pool = builder(method).workers(workers).build()?;
        let mut ids = process::job(&pool).chunk_size(1).map(vec![(); workers * 20])?;
        ids.sort_unstable();
        ids.dedup();
        let outcomes = kill_it::job(&pool).chunk_size(1).map_outcomes(ids.iter().rev().copied())?;
        let died = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert!(died <= ids.len(), "{died} tasks died with {} workers", ids.len());
        assert_usable(&pool);
    }
    Ok(())
}

fn killed_while_idle(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..5 {
        for id in process::job(&pool).chunk_size(1).map([(); 8])? {
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
        assert_eq!(square::job(&pool).chunk_size(1).map(0..3)?, squares(3), "no task pays for an idle death");
    }
    Ok(())
}

fn killed_as_they_start(method: StartMethod) -> Result<(), Error> {
    // Each worker serves one task and kills the other, wherever in its start that is.
    let pool = pool(method)?;
    for _ in 0..10 {
        let ids = process::job(&pool).worker_lifespan(1).map([(); 4])?;
        let outcomes = kill_it::job(&pool).worker_lifespan(1).chunk_size(1).map_outcomes(ids)?;
        assert_eq!(outcomes.len(), 4);
        assert_usable(&pool);
    }
    Ok(())
}

/// Kills one of these processes, perhaps itself, unless all are to live. Returns which worker has done so, and where.
#[worker_task]
fn kill_one(#[worker_id] id: usize, victims: &[i32], seed: usize) -> (usize, i32) {
    if let Some(victim) = victims.get((id * 31 + seed * 17) % victims.len().max(1) * 2) {
        let _ = kill(Pid::from_raw(*victim), Signal::SIGKILL);
    }
    (id, std::process::id().cast_signed())
}

/// Workers are killed before, in and after tasks that are for them alone: each is done there, or lost in its place.
fn killed_under_a_task_for_each(method: StartMethod) -> Result<(), Error> {
    for (workers, rounds) in [(1, 5), (2, 10), (13, 10), (64, 8)] {
        let pool = builder(method).workers(workers).build()?;
        pool.warm_up::<kill_one>()?;
        let mut ids = Vec::new();
        for round in 0..rounds {
            let victims = std::mem::take(&mut ids);
            let is_short_lived = round % 3 == 2;
            let job = kill_one::job(&pool).retries((round % 2) as u32);
            let job = if is_short_lived { job.worker_lifespan(1) } else { job };
            let outcomes = job.on_each_worker((&*victims, round))?;
            assert_eq!(outcomes.len(), workers);
            for (place, outcome) in outcomes.into_iter().enumerate() {
                match outcome {
                    Ok((worker, id)) => {
                        assert_eq!(worker, place);
                        ids.push(id);
                    }
                    Err(error) => {
                        let died =
                            matches!(error.kind(), TaskErrorKind::Died(death) if death.signal() == Some(9));
                        assert!(died && (error.worker_id(), error.task_index()) == (place, place), "{error}");
                    }
                }
            }
            if is_short_lived {
                pool.warm_up::<square>()?;
            }
            assert_usable(&pool);
        }
        let outcomes = kill_one::job(&pool).retries(1000).on_each_worker((&[][..], 0))?;
        assert!(outcomes.into_iter().enumerate().all(|(place, outcome)| outcome.unwrap().0 == place));
    }
    Ok(())
}
