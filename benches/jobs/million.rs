//! `x + 1` over a million numbers: the task costs next to nothing, so that all of the time is what handing it over
//! costs.

use std::error::Error;
use std::hint::black_box;

use pool::worker_task;
use rayon::prelude::*;

use super::{METHODS, WORKERS, builder, time};
use crate::channels::Channels;
use crate::rounds::{Contender, Session};

const TASKS: u64 = 1_000_000;

#[worker_task]
fn add_one(x: u64) -> u64 {
    x + 1
}

fn per_task(call: impl FnOnce() -> Vec<u64>) -> f64 {
    let mut results = Vec::new();
    let took = time(|| results = call());
    assert!(results.iter().copied().eq(1..=TASKS), "a result is wrong");
    took.as_nanos() as f64 / TASKS as f64
}

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    for chunk in [None, Some(1)] {
        let input: Vec<u64> = (0..TASKS).collect();
        let serial = || input.iter().map(|&x| add_one(black_box(x))).collect();
        let rayon = || {
            input
                .par_iter()
                .with_max_len(chunk.unwrap_or(usize::MAX))
                .map(|&x| add_one(black_box(x)))
                .collect()
        };
        let channels = Channels::new(WORKERS, |x| add_one(black_box(x)));
        let mut contenders = vec![
            Contender::new("serial loop", || per_task(serial)),
            Contender::new("rayon", || per_task(rayon)),
        ];
        if chunk == Some(1) {
            contenders.push(Contender::new("crossbeam-channel", || {
                per_task(|| channels.map(input.iter().copied()))
            }));
        }
        for method in METHODS {
            let pool = builder(method).build()?;
            let input = &input;
            contenders.push(Contender::new(format!("pool, {method}"), move || {
                let job = add_one::job(&pool);
                let job = if let Some(chunk) = chunk { job.chunk_size(chunk) } else { job };
                per_task(|| job.map(input.iter().copied()).expect("no task fails"))
            }));
        }
        let chunks = chunk.map_or("default chunks".into(), |chunk| format!("chunks of {chunk}"));
        session.compare(&format!("x + 1 over a million numbers, {chunks}"), "ns a task", contenders);
    }
    Ok(())
}
