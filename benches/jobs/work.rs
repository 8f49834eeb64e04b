//! Tasks that compute for a known time, all alike or one in a hundred a hundred times longer. The first contender is
//! the work alone: each of two threads does half of it, and nothing is handed over.

use std::error::Error;
use std::hint::black_box;
use std::thread;
use std::time::Instant;

use pool::worker_task;
use rayon::prelude::*;

use super::{METHODS, WORKERS, builder, time};
use crate::peers::{Channels, Ipc, Spawned};
use crate::rounds::{Contender, Session};

/// The work of each contender.
#[worker_task]
pub(super) fn compute(steps: u64) -> u64 {
    let mut state = black_box(steps);
    for _ in 0..steps {
        state = (state ^ (state >> 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    state
}

/// How many steps a microsecond has: the best of several tries.
pub(super) fn steps_per_us() -> f64 {
    const STEPS: u64 = 1 << 20;
    let one = || {
        let start = Instant::now();
        black_box(compute(STEPS));
        STEPS as f64 / (start.elapsed().as_secs_f64() * 1e6)
    };
    (0..20).map(|_| one()).fold(0.0, f64::max)
}

/// The work of a round, in microseconds.
const WORK_US: u64 = 100_000;

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let steps = steps_per_us();
    for us in [1, 10, 100, 1000] {
        let tasks = vec![(us as f64 * steps) as u64; (WORK_US / us) as usize];
        compare(session, &format!("tasks of {us} µs"), &tasks)?;
    }
    let long = |place: usize, of: usize| if place.is_multiple_of(of) { 100 } else { 1 };
    let short = 50.0 * steps;
    let mut tasks: Vec<u64> =
        (0..1000).map(|place| (short * f64::from(long(place * 37, 100))) as u64).collect();
    compare(session, "one of a hundred tasks of 50 µs takes 5 ms, scattered", &tasks)?;
    tasks.sort_unstable();
    compare(session, "one of a hundred tasks of 50 µs takes 5 ms, all at the end", &tasks)
}

/// How long a call takes, which must return this.
pub(super) fn ms<R: PartialEq>(expected: &R, call: impl FnOnce() -> R) -> f64 {
    let mut results = None;
    let took = time(|| results = Some(call()));
    assert!(results.as_ref() == Some(expected), "a result is wrong");
    took.as_secs_f64() * 1e3
}

fn compare(session: &mut Session, job: &str, tasks: &[u64]) -> Result<(), Box<dyn Error>> {
    let expected: Vec<u64> = tasks.iter().map(|steps| compute(*steps)).collect();
    let expected = &expected;
    // Each half has the same work, in any order.
    let halves: Vec<Vec<u64>> =
        (0..WORKERS).map(|worker| tasks.iter().copied().skip(worker).step_by(WORKERS).collect()).collect();
    let alone = || {
        thread::scope(|scope| {
            for half in &halves {
                scope.spawn(|| half.iter().for_each(|steps| _ = black_box(compute(*steps))));
            }
        });
    };
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
    let by_rayon = || {
        rayon.install(|| tasks.par_iter().with_max_len(1).map(|steps| compute(*steps)).collect::<Vec<_>>())
    };
    let channels = Channels::new(WORKERS, compute);
    let ipc = Ipc::new(WORKERS, 64, "work::compute");
    let spawned = Spawned::new(WORKERS, compute);
    let mut contenders = vec![
        Contender::new("the work alone", || ms(&(), alone)),
        Contender::new("rayon, one by one", || ms(expected, by_rayon)),
        Contender::new("crossbeam-channel", || ms(expected, || channels.map(tasks.iter().copied()))),
        Contender::new("ipc-channel", || ms(expected, || ipc.map(tasks.iter().copied()))),
    ];
    // A round would take seconds otherwise.
    if tasks.len() <= 10_000 {
        contenders.push(Contender::new("procspawn", || ms(expected, || spawned.map(tasks.iter().copied()))));
    }
    for chunk in [None, Some(1)] {
        for method in METHODS {
            let pool = builder(method).build()?;
            let chunks = chunk.map_or("default chunks".into(), |chunk| format!("chunks of {chunk}"));
            contenders.push(Contender::new(format!("pool, {method}, {chunks}"), move || {
                let job = compute::job(&pool);
                let job = if let Some(chunk) = chunk { job.chunk_size(chunk) } else { job };
                ms(expected, || job.map(tasks.iter().copied()).expect("no task fails"))
            }));
        }
    }
    session.compare(job, "ms", contenders);
    Ok(())
}
