//! Many threads that call one pool at the same time.

use std::error::Error;
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use pool::{StartMethod, WorkerPool};
use rayon::prelude::*;

use super::us_a_call;
use crate::jobs::work::{compute, steps_per_us};
use crate::jobs::{WORKERS, add_one, builder, own_time, time};
use crate::peers::Requests;
use crate::rounds::{Contender, Session, pair};

/// Calls of next to nothing.
const SHORT: usize = 1 << 14;
/// Calls of a millisecond.
const LONG: usize = 256;
/// Tasks of 100 µs.
const TASKS: usize = 4000;

pub(super) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let pool = &builder(StartMethod::ForkServer).build()?;
    let channel = Requests::new(WORKERS, add_one);
    let apply = |x| add_one::apply(pool, x).expect("no task fails");
    let mut contenders = Vec::new();
    for threads in [1, 2, 16, 64] {
        let part = SHORT / threads;
        let name = format!("pool, apply from {}", counted(threads));
        contenders.push(Contender::new(name, move || {
            us_a_call(SHORT, at_once(threads, || (0..part as u64).for_each(|x| assert_eq!(apply(x), x + 1))))
        }));
    }
    for threads in [1, 2, 16, 64] {
        let (channel, part) = (&channel, SHORT / threads);
        let name = format!("crossbeam-channel from {}", counted(threads));
        contenders.push(Contender::new(name, move || {
            let calls = || (0..part as u64).for_each(|x| assert_eq!(channel.call(x), x + 1));
            us_a_call(SHORT, at_once(threads, calls))
        }));
    }
    session.compare("calls from many threads, of next to nothing", "µs a call in all", contenders);
    milliseconds(session, pool);
    maps(session, pool)
}

/// Calls of a millisecond: the time, and what of it the parent takes from its cores.
fn milliseconds(session: &mut Session, pool: &WorkerPool) {
    let steps = (1000.0 * steps_per_us()) as u64;
    let channel = &Requests::new(WORKERS, compute);
    let mut contenders = Vec::new();
    for threads in [2, 64] {
        let name = |what| format!("pool, apply from {}: {what}", counted(threads));
        contenders.extend(pair([name("time"), name("the parent's own")], move || {
            let calls =
                || (0..LONG / threads).for_each(|_| _ = compute::apply(pool, steps).expect("no task fails"));
            let mut took = Duration::ZERO;
            let own = own_time(|| took = at_once(threads, calls));
            [took, own].map(|took| us_a_call(LONG, took))
        }));
    }
    for threads in [2, 64] {
        let name = format!("crossbeam-channel from {}: time", counted(threads));
        contenders.push(Contender::new(name, move || {
            let calls = || (0..LONG / threads).for_each(|_| _ = black_box(channel.call(steps)));
            us_a_call(LONG, at_once(threads, calls))
        }));
    }
    session.compare("calls from many threads, of 1 ms, for 2 workers", "µs a call in all", contenders);
}

/// Maps of tasks of 100 µs at the same time.
fn maps(session: &mut Session, pool: &WorkerPool) -> Result<(), Box<dyn Error>> {
    let steps = (100.0 * steps_per_us()) as u64;
    let tasks = &vec![steps; TASKS];
    let rayon = &rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    let half = || tasks[..TASKS / WORKERS].iter().for_each(|steps| _ = black_box(compute(*steps)));
    let mut contenders = vec![Contender::new("the work alone", move || ms(at_once(WORKERS, half)))];
    for threads in [1, 4, 16] {
        let part = &tasks[..TASKS / threads];
        let map = move || _ = compute::par_map(pool, part.iter().copied()).expect("no task fails");
        let name = format!("pool, par_map from {}", counted(threads));
        contenders.push(Contender::new(name, move || ms(at_once(threads, map))));
    }
    for threads in [1, 4, 16] {
        let part = &tasks[..TASKS / threads];
        let map = || part.par_iter().map(|steps| compute(*steps)).collect::<Vec<_>>();
        let name = format!("rayon from {}", counted(threads));
        contenders.push(Contender::new(name, move || ms(at_once(threads, || drop(rayon.install(map))))));
    }
    session.compare("4,000 tasks of 100 µs, divided among callers", "ms", contenders);
    Ok(())
}

fn counted(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// How long it takes until all of these threads, which begin at the same time, have done their part.
fn at_once(threads: usize, part: impl Fn() + Sync) -> Duration {
    let (part, begin) = (&part, &Barrier::new(threads + 1));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || {
                    begin.wait();
                    part();
                })
            })
            .collect();
        begin.wait();
        time(|| threads.into_iter().for_each(|thread| thread.join().expect("no call fails")))
    })
}
