//! `x + 1` over a million numbers: the task costs next to nothing, so the time is the price of handing it over. Slow
//! peers get fewer numbers.

use std::error::Error;
use std::hint::black_box;

use rayon::prelude::*;

use super::{METHODS, WORKERS, add_one, builder, time};
use crate::peers::{Channels, Ipc, Spawned};
use crate::rounds::{Contender, Session};

const TASKS: u64 = 1_000_000;
/// For peers that take microseconds a task.
const FEWER: u64 = 50_000;
/// For peers that take tens of them.
const FEW: u64 = 2_000;
/// How many tasks a chunk has that people make by hand, for two workers.
const BY_HAND: usize = TASKS as usize / 128;

pub(super) fn add_one_to_all(numbers: Vec<u64>) -> Vec<u64> {
    numbers.into_iter().map(|x| add_one(black_box(x))).collect()
}

fn per_task(tasks: u64, call: impl FnOnce() -> Vec<u64>) -> f64 {
    let mut results = Vec::new();
    let took = time(|| results = call());
    assert!(results.iter().copied().eq(1..=tasks), "a result is wrong");
    took.as_nanos() as f64 / tasks as f64
}

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    compare(session, None)?;
    compare(session, Some(1))
}

fn compare(session: &mut Session, chunk: Option<usize>) -> Result<(), Box<dyn Error>> {
    let input: Vec<u64> = (0..TASKS).collect();
    let input = &*input;
    let serial = || input.iter().map(|&x| add_one(black_box(x))).collect();
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
    let by_rayon = || {
        let chunk = chunk.unwrap_or(usize::MAX);
        input.par_iter().with_max_len(chunk).map(|&x| add_one(black_box(x))).collect()
    };
    let mut contenders = vec![
        Contender::new("serial loop", || per_task(TASKS, serial)),
        Contender::new("rayon", move || per_task(TASKS, || rayon.install(by_rayon))),
    ];
    contenders.extend(if chunk.is_some() { one_by_one(input) } else { by_hand(input) });
    for method in METHODS {
        let pool = builder(method).build()?;
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            let job = add_one::job(&pool);
            let job = if let Some(chunk) = chunk { job.chunk_size(chunk) } else { job };
            per_task(TASKS, || job.map(input.iter().copied()).expect("no task fails"))
        }));
    }
    let chunks = chunk.map_or("default chunks".into(), |chunk| format!("chunks of {chunk}"));
    session.compare(&format!("x + 1 over a million numbers, {chunks}"), "ns a task", contenders);
    Ok(())
}

fn one_by_one(input: &[u64]) -> Vec<Contender<'_>> {
    let channels = Channels::new(WORKERS, |x| add_one(black_box(x)));
    let ipc = Ipc::<u64, u64>::new(WORKERS, 64, "add_one");
    let spawned = Spawned::new(WORKERS, add_one);
    let some = |tasks: u64| input.iter().copied().take(tasks as usize);
    vec![
        Contender::new("crossbeam-channel", move || per_task(TASKS, || channels.map(some(TASKS)))),
        Contender::new("ipc-channel", move || per_task(FEWER, || ipc.map(some(FEWER)))),
        Contender::new("procspawn", move || per_task(FEW, || spawned.map(some(FEW)))),
    ]
}

fn by_hand(input: &[u64]) -> Vec<Contender<'_>> {
    let channels = Channels::new(WORKERS, add_one_to_all);
    let ipc = Ipc::<Vec<u64>, Vec<u64>>::new(WORKERS, 2, "million::add_one_to_all");
    let spawned = Spawned::new(WORKERS, add_one_to_all);
    let chunks = || input.chunks(BY_HAND).map(<[u64]>::to_vec);
    vec![
        Contender::new("crossbeam-channel, 128 chunks by hand", move || {
            per_task(TASKS, || channels.map(chunks()).concat())
        }),
        Contender::new("ipc-channel, 128 chunks by hand", move || {
            per_task(TASKS, || ipc.map(chunks()).concat())
        }),
        Contender::new("procspawn, 128 chunks by hand", move || {
            per_task(TASKS, || spawned.map(chunks()).concat())
        }),
    ]
}
