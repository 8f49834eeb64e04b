//! Pools inside workers, with panics and deaths in both: no deadlock, nothing left behind.
//!
//! `POOL_NESTED_RUNS` says how many runs (30).

use nix::sys::signal::Signal;
use pool::{Error, StartMethod, TaskErrorKind, worker_task};

use crate::harness::cases;
use crate::support::{assert_usable, builder, die};

cases! {
    Processes: inner_maps_in_outer_maps;
}

/// The inner pools' methods. A worker of `Fork` may fork, because it has one thread.
const INNER: [StartMethod; 3] = [StartMethod::ForkServer, StartMethod::Fork, StartMethod::Spawn];

#[worker_task]
fn inner(fate: u64, x: u64) -> u64 {
    match fate % 23 {
        1 => panic!("in an inner task"),
        2 => die(Signal::SIGKILL),
        _ => x,
    }
}

#[worker_task]
fn outer(method: usize, seed: u64, x: u64) -> u64 {
    let fate =
        |x: u64| seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(x * 1_442_695_040_888_963) >> 33;
    let pool = builder(INNER[method]).build().unwrap();
    let outcomes = inner::par_map_outcomes(&pool, (0..10).map(|x| (fate(x), x))).unwrap();
    for (x, outcome) in (0..).zip(&outcomes) {
        match (fate(x) % 23, outcome.as_ref().map_err(|error| error.kind())) {
            (1, Err(TaskErrorKind::Panicked(_))) | (2, Err(TaskErrorKind::Died(_))) => {}
            (_, Ok(result)) => assert_eq!(*result, x),
            (fate, other) => panic!("inner task {x} of fate {fate}: {other:?}"),
        }
    }
    match fate(99) % 11 {
        1 => panic!("in an outer task"),
        // In the middle of an inner call.
        2 => {
            let _results = inner::par_imap(&pool, (0..).map(|x| (0, x)));
            die(Signal::SIGKILL)
        }
        _ => x,
    }
}

fn inner_maps_in_outer_maps(method: StartMethod) -> Result<(), Error> {
    let runs = std::env::var("POOL_NESTED_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let pool = builder(method).daemon(false).build()?;
    for run in 0..runs {
        let input = (0..4).map(|x| (run as usize % INNER.len(), run * 4 + x, x));
        for (x, outcome) in (0..).zip(outer::job(&pool).chunk_size(1).map_outcomes(input)?) {
            match outcome {
                Ok(result) => assert_eq!(result, x),
                Err(error) => {
                    let is_meant = match error.kind() {
                        TaskErrorKind::Died(_) => true,
                        TaskErrorKind::Panicked(info) => info.message() == "in an outer task",
                        _ => false,
                    };
                    assert!(is_meant, "run {run}: {error}");
                }
            }
        }
    }
    assert_usable(&pool);
    Ok(())
}
