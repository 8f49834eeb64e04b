//! Random numbers in workers: seeds of tasks, and std's random keys.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use nix::sys::signal::Signal;
use pool::shared::SharedBarrier;
use pool::{Error, StartMethod, TaskErrorKind, task_seed, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{Tokens, builder, die, pool, sorted, take_all_tokens, task_error};

cases! {
    All: of_tasks, of_calls, none_outside_of_tasks, in_a_task_that_has_a_pool;
    Processes: the_same_when_tried_again, random_keys;
}

#[worker_task]
fn seed_of(_x: u64) -> u64 {
    task_seed()
}

#[worker_task]
fn seed_of_rows(#[chunk] rows: &[u64]) -> Vec<u64> {
    vec![task_seed(); rows.len()]
}

fn of_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let seeds = seed_of::job(&pool).seed(7).map(0..1000)?;
    assert_eq!(seeds.iter().collect::<HashSet<_>>().len(), 1000);
    // Seeds are the same in every run of the program and on any machine.
    assert_eq!(seeds[..2], [0xb8b4_c297_7eab_ce45, 0xa653_05fd_338e_c8fe]);
    let job = || seed_of::job(&pool).seed(7);
    assert_eq!(job().chunk_size(1).map(0..1000)?, seeds);
    assert_eq!(job().n_splits(3).worker_lifespan(100).map(5..1005)?, seeds, "items are no part of it");
    assert_eq!(job().max_tasks_active(2).imap(0..).take(1000).collect::<Result<Vec<_>, _>>()?, seeds);
    assert_eq!(sorted(job().map_unordered(0..1000)?), sorted(seeds.clone()));
    assert_eq!(job().map_async(0..1000).get()?, seeds);
    assert_eq!((job().apply(0)?, job().apply_async(5).get()?), (seeds[0], seeds[0]));
    let ordered = builder(method).workers(3).order_tasks(true).insights(true).build()?;
    assert_eq!(seed_of::job(&ordered).seed(7).map(0..1000)?, seeds);
    let rows = seed_of_rows::job(&pool).seed(7).chunk_size(2).map_slice(&[1, 2, 3])?;
    assert_eq!(rows, [seeds[0], seeds[0], seeds[1]], "a chunk is a task");
    assert!(seed_of::job(&pool).seed(8).map(0..1000)?.iter().all(|seed| !seeds.contains(seed)));
    Ok(())
}

fn of_calls(method: StartMethod) -> Result<(), Error> {
    let pools = [pool(method)?, pool(method)?];
    let mut seeds = HashSet::new();
    for _ in 0..10 {
        for pool in &pools {
            seeds.extend(seed_of::par_map(pool, 0..10)?);
            seeds.insert(seed_of::apply(pool, 0)?);
            seeds.insert(seed_of::apply_async(pool, 0).get()?);
        }
    }
    assert_eq!(seeds.len(), 240);
    Ok(())
}

#[worker_init]
fn seed_in_init() -> u64 {
    task_seed()
}

#[worker_task(init = seed_in_init)]
fn state_of(#[state] state: &mut u64) -> u64 {
    *state
}

#[worker_task]
fn seed_in_a_thread() -> u64 {
    std::thread::spawn(task_seed).join().unwrap_or(0)
}

fn none_outside_of_tasks(method: StartMethod) -> Result<(), Error> {
    let panic = std::panic::catch_unwind(task_seed).unwrap_err();
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    assert!(text.is_some_and(|text| text.contains("outside of a task")), "{text:?}");
    let pool = pool(method)?;
    // There is no seed outside of a task even if the thread has run tasks before.
    seed_of::par_map(&pool, 0..10)?;
    let error = task_error(state_of::apply(&pool, ()));
    let TaskErrorKind::Init(cause) = error.kind() else { panic!("{error}") };
    assert!(cause.to_string().contains("outside of a task"), "{error}");
    assert_eq!(seed_in_a_thread::apply(&pool, ())?, 0);
    Ok(())
}

/// A task that runs a pool has its own seed again afterwards.
#[worker_task]
fn seeds_around_a_pool(method: u8) -> Result<[u64; 2], String> {
    let before = task_seed();
    let method = [StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Threads]
        [method as usize];
    // A worker that is a thread has other threads beside it, so it can't fork.
    let method = if method == StartMethod::Fork { StartMethod::Spawn } else { method };
    let inner = builder(method).build().and_then(|pool| seed_of::job(&pool).seed(1).map(0..10));
    inner.map_err(|error| error.to_string())?;
    Ok([before, task_seed()])
}

fn in_a_task_that_has_a_pool(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).daemon(false).build()?;
    for [before, after] in
        seeds_around_a_pool::par_map(&pool, [method as u8; 4])?.into_iter().map(Result::unwrap)
    {
        assert_eq!(before, after);
    }
    Ok(())
}

/// Dies at the first attempt.
#[worker_task]
fn die_once(attempts: Option<&str>) -> u64 {
    if let Some(path) = attempts
        && take_all_tokens(path) > 0
    {
        die(Signal::SIGKILL);
    }
    task_seed()
}

fn the_same_when_tried_again(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut attempts = Tokens::new();
    attempts.put(1);
    let path = attempts.path();
    let items = (0..20).map(|x| (x == 13).then_some(path.as_str()));
    let seeds = die_once::job(&pool).seed(7).retries(2).map(items)?;
    assert_eq!(seeds, seed_of::job(&pool).seed(7).map(0..20)?);
    Ok(())
}

type Shared = (SharedBarrier, HashMap<String, u32>);

/// Draws random keys, as programs do to get random numbers from std.
#[worker_task]
fn draw(#[shared] shared: &Shared, _x: u64) -> (u32, Vec<u64>) {
    shared.0.wait().unwrap();
    (std::process::id(), (0..50).map(|_| RandomState::new().hash_one(1)).collect())
}

fn random_keys(method: StartMethod) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for map in [HashMap::new(), HashMap::from([("a".to_owned(), 1)])] {
        let barrier = SharedBarrier::new(4)?;
        let pool = builder(method).workers(4).shared((barrier, map)).build()?;
        // Twice, because later workers must differ from earlier ones, too.
        for _ in 0..2 {
            let drawn = draw::job(&pool).chunk_size(1).worker_lifespan(1).map(0..4)?;
            assert_eq!(drawn.iter().map(|(process, _)| process).collect::<HashSet<_>>().len(), 4);
            seen.extend(drawn.into_iter().flat_map(|(_, drawn)| drawn));
        }
    }
    assert_eq!(seen.len(), 2 * 2 * 4 * 50, "some workers have drawn the same numbers");
    Ok(())
}
