//! Results whose decoding takes long: others help with it, and nothing waits for it.

use std::collections::HashSet;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pool::shared::SharedCounter;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_task};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::untrusted_values::{Chain, assert_too_deep, make_chain, on_a_stack};
use crate::harness::cases;
use crate::harness::leftovers::threads;
use crate::support::{assert_fails, assert_usable, builder, sorted, task_error};

cases! {
    All: with_helpers, alone, each_failure_costs_one_task, as_deep_as_the_callers_stack, helpers_end,
         beside_restarts, too_many_helpers;
    BesideThreads: several_callers;
    Processes: a_limit_while_results_are_decoded;
}

/// How many were decoded, and by which threads.
static DECODED: AtomicU64 = AtomicU64::new(0);
static DECODERS: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Takes its time to be decoded. Some numbers fail.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Slow(u64);

const REFUSED: u64 = 1_000_013;
const PANICS: u64 = 1_000_017;

/// Takes a while, and notes which thread has decoded something.
fn take_time() {
    let until = Instant::now() + Duration::from_micros(20);
    while Instant::now() < until {
        spin_loop();
    }
    DECODED.fetch_add(1, Ordering::Relaxed);
    DECODERS.lock().unwrap().insert(thread::current().name().unwrap_or_default().to_owned());
}

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        take_time();
        match u64::deserialize(deserializer)? {
            REFUSED => Err(D::Error::custom("an unlucky number")),
            PANICS => panic!("not this one"),
            number => Ok(Self(number)),
        }
    }
}

#[worker_task]
fn slow(x: u64) -> Slow {
    Slow(x)
}

const HELPER: &str = "pool decoder";

/// Whether helpers have decoded something since this was asked last.
fn have_helped() -> bool {
    DECODERS.lock().unwrap().drain().any(|name| name == HELPER)
}

/// Runs it until helpers have taken part: a call may be over before they come.
fn until_they_help(mut run: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    let end = Instant::now() + Duration::from_secs(30);
    have_helped();
    while !have_helped() {
        assert!(Instant::now() < end, "no helper came");
        run()?;
    }
    Ok(())
}

fn helping(method: StartMethod) -> Result<WorkerPool, Error> {
    builder(method).decode_threads(3).build()
}

const N: u64 = 2000;

fn all_slow() -> Vec<Slow> {
    (0..N).map(Slow).collect()
}

fn with_helpers(method: StartMethod) -> Result<(), Error> {
    let pool = helping(method)?;
    for ordered in [true, false] {
        until_they_help(|| {
            let before = DECODED.load(Ordering::Relaxed);
            let map = if ordered { slow::par_map } else { slow::par_map_unordered };
            let results = map(&pool, 0..N)?;
            assert!(if ordered { results } else { sorted(results) } == all_slow());
            assert_eq!(DECODED.load(Ordering::Relaxed) - before, N, "each one is decoded once");
            Ok(())
        })?;
        until_they_help(|| {
            let imap = if ordered { slow::par_imap } else { slow::par_imap_unordered };
            let results = imap(&pool, 0..N).collect::<Result<Vec<_>, _>>()?;
            assert!(if ordered { results } else { sorted(results) } == all_slow());
            Ok(())
        })?;
    }
    until_they_help(|| {
        assert!(slow::par_map_outcomes(&pool, 0..N)?.into_iter().map(Result::unwrap).eq(all_slow()));
        Ok(())
    })?;
    assert_usable(&pool);
    Ok(())
}

fn alone(method: StartMethod) -> Result<(), Error> {
    let cpus = pool::cpu_count();
    for pool in [builder(method).decode_threads(0).build()?, builder(method).workers(cpus).build()?] {
        assert!(slow::par_map(&pool, 0..N)? == all_slow());
        assert!(!have_helped() && !threads().iter().any(|name| name == HELPER));
    }
    Ok(())
}

fn each_failure_costs_one_task(method: StartMethod) -> Result<(), Error> {
    let pool = helping(method)?;
    let item = |index: u64| match index % 97 {
        13 => REFUSED,
        50 | 51 => PANICS,
        _ => index,
    };
    let check = |index: usize, outcome: Result<Slow, Error>| match (item(index as u64), outcome) {
        (bad @ (REFUSED | PANICS), Err(Error::Task(error))) => {
            let why = if bad == REFUSED { "an unlucky number" } else { "panicked" };
            assert!(matches!(error.kind(), TaskErrorKind::Decode(told) if told.contains(why)), "{error}");
            assert_eq!(error.task_index(), index);
        }
        (number, Ok(Slow(result))) => assert_eq!(number, result),
        (number, other) => panic!("{number} became {other:?}"),
    };
    until_they_help(|| {
        let outcomes = slow::par_map_outcomes(&pool, (0..N).map(item))?;
        assert_eq!(outcomes.len() as u64, N);
        outcomes
            .into_iter()
            .enumerate()
            .for_each(|(index, outcome)| check(index, outcome.map_err(Error::Task)));
        Ok(())
    })?;
    until_they_help(|| {
        slow::par_imap(&pool, (0..N).map(item))
            .enumerate()
            .for_each(|(index, outcome)| check(index, outcome));
        Ok(())
    })?;
    for bad in [REFUSED, PANICS] {
        let items = (0..N).map(|index| if index == N - 10 { bad } else { index });
        let error = task_error(slow::par_map(&pool, items));
        assert!(
            matches!(error.kind(), TaskErrorKind::Decode(_)) && error.task_index() as u64 == N - 10,
            "{error}"
        );
    }
    assert_usable(&pool);
    Ok(())
}

#[derive(Debug, Serialize)]
struct SlowChain(Chain);

impl<'de> Deserialize<'de> for SlowChain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        take_time();
        Chain::deserialize(deserializer).map(Self)
    }
}

#[worker_task]
fn slow_chain(links: usize) -> SlowChain {
    SlowChain(make_chain(links))
}

/// A helper has a large stack. But the caller drops what it decodes.
fn as_deep_as_the_callers_stack(method: StartMethod) -> Result<(), Error> {
    const DEEP: usize = 2000;
    let pool = helping(method)?;
    // All workers start while there are no other threads.
    slow_chain::par_map(&pool, [1; 100])?;
    on_a_stack(128 << 10, || {
        let lengths = || (0..1000).map(|index| if index % 2 == 0 { DEEP } else { 50 });
        let call = || {
            for (outcome, links) in slow_chain::par_map_outcomes(&pool, lengths())?.into_iter().zip(lengths())
            {
                match outcome {
                    Ok(SlowChain(chain)) => assert_eq!((chain.links(), links), (50, 50)),
                    Err(error) => {
                        assert_too_deep(&error);
                        assert_eq!(links, DEEP);
                    }
                }
            }
            Ok(())
        };
        until_they_help(call).expect("the calls go on");
    });
    Ok(())
}

fn helpers_end(method: StartMethod) -> Result<(), Error> {
    let pool = helping(method)?;
    for _ in 0..2 {
        until_they_help(|| slow::par_map(&pool, 0..N).map(drop))?;
        while threads().iter().any(|name| name == HELPER) {
            thread::yield_now();
        }
    }
    assert_usable(&pool);
    // Those of this call may be there when the pool ends.
    until_they_help(|| slow::par_map(&pool, 0..N).map(drop))?;
    pool.join()?;
    assert!(!threads().iter().any(|name| name == HELPER));
    Ok(())
}

/// Workers start while helpers are there: they must be no obstacle to a fork.
fn beside_restarts(method: StartMethod) -> Result<(), Error> {
    let pool = helping(method)?;
    until_they_help(|| {
        let results = slow::job(&pool).worker_lifespan(300).map(0..N)?;
        assert!(results == all_slow());
        Ok(())
    })
}

fn too_many_helpers(method: StartMethod) -> Result<(), Error> {
    let build = |threads| builder(method).decode_threads(threads).build();
    assert_fails!(build(65), Error::Option { option: "decode_threads", .. });
    assert_usable(&build(64)?);
    Ok(())
}

fn several_callers(method: StartMethod) -> Result<(), Error> {
    let pool = helping(method)?;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    assert!(slow::par_map(&pool, 0..N).expect("no task fails") == all_slow());
                }
            });
        }
    });
    assert_usable(&pool);
    Ok(())
}

static IN_VAIN: AtomicBool = AtomicBool::new(false);
static ATTEMPTS: Mutex<Option<SharedCounter>> = Mutex::new(None);

/// Takes a while to be decoded. Some wait, at most some seconds, until the task that hangs was tried again.
#[derive(Debug, PartialEq, Serialize)]
struct Waiting(u64);

impl<'de> Deserialize<'de> for Waiting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        let attempts = ATTEMPTS.lock().unwrap().clone().expect("it is decoded by the caller");
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(10));
        let began = Instant::now();
        while began.elapsed() < least
            || (number >= 20 && attempts.get() < 2 && !IN_VAIN.load(Ordering::Relaxed))
        {
            if began.elapsed() > most {
                IN_VAIN.store(true, Ordering::Relaxed);
            }
            thread::yield_now();
        }
        Ok(Self(number))
    }
}

#[worker_task]
fn hang_once(#[shared] attempts: &SharedCounter, x: u64) -> Waiting {
    while x == 0 && attempts.fetch_add(1) == 0 {
        thread::sleep(Duration::from_secs(1000));
    }
    Waiting(x)
}

fn a_limit_while_results_are_decoded(method: StartMethod) -> Result<(), Error> {
    for helpers in [0, 2] {
        let attempts = SharedCounter::new(0)?;
        *ATTEMPTS.lock().unwrap() = Some(attempts.clone());
        let pool = builder(method).decode_threads(helpers).shared(attempts.clone()).build()?;
        // Bounded, so that the whole input is read at once.
        let job = hang_once::job(&pool).chunk_size(1).max_tasks_active(100);
        let results = job.task_timeout(Duration::from_millis(50)).retries(1).map(0..60)?;
        assert!(results.into_iter().eq((0..60).map(Waiting)));
        assert!(!IN_VAIN.load(Ordering::Relaxed), "the limit was not kept while the caller decoded");
        *ATTEMPTS.lock().unwrap() = None;
    }
    Ok(())
}
