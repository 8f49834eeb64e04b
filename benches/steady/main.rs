//! One job's steady state and nothing else, for tools that count: the difference between runs of more and of fewer
//! rounds is the price of the tasks. See `run`.
//!
//! `steady METHOD ROUNDS [STEPS]`

use std::error::Error;

use pool::{StartMethod, WorkerPool, worker_task};

const TASKS: u64 = 1_000_000;

#[worker_task]
fn add_one(x: u64) -> u64 {
    x + 1
}

#[pool::main]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what| arguments.next().ok_or(format!("{what} is missing: steady METHOD ROUNDS"));
    let method = match &*next("METHOD")? {
        "Threads" => StartMethod::Threads,
        "Fork" => StartMethod::Fork,
        "Spawn" => StartMethod::Spawn,
        "ForkServer" => StartMethod::ForkServer,
        other => return Err(format!("there is no start method `{other}`").into()),
    };
    let rounds: u64 = next("ROUNDS")?.parse()?;
    let pool = WorkerPool::builder().workers(2).start_method(method).build()?;
    for _ in 0..rounds {
        let results = add_one::par_map(&pool, 0..TASKS)?;
        assert!(results.into_iter().eq(1..=TASKS), "a result is wrong");
    }
    Ok(())
}
