//! What handing a task over costs: `x + 1` over a million numbers, on every start method, beside a serial loop and
//! rayon. The task itself costs next to nothing, so that the time is all overhead.

use std::hint::black_box;
use std::time::Instant;

use pool::{Error, StartMethod, WorkerPool, worker_task};
use rayon::prelude::*;

const TASKS: u64 = 1_000_000;
const ROUNDS: usize = 11;

#[worker_task]
fn add_one(x: u64) -> u64 {
    x + 1
}

type Run = dyn Fn(&[u64]) -> Result<Vec<u64>, Error>;

/// One way to do the work, and how long it took in each round.
struct Contender {
    name: String,
    run: Box<Run>,
    ns_per_task: Vec<f64>,
}

impl Contender {
    fn new(name: String, run: impl Fn(&[u64]) -> Result<Vec<u64>, Error> + 'static) -> Self {
        Self { name, run: Box::new(run), ns_per_task: Vec::new() }
    }

    fn median(&mut self) -> f64 {
        self.ns_per_task.sort_by(f64::total_cmp);
        self.ns_per_task[ROUNDS / 2]
    }
}

fn pooled(method: StartMethod) -> Result<Contender, Error> {
    let pool = WorkerPool::builder().start_method(method).build()?;
    Ok(Contender::new(format!("{method:?}"), move |input| add_one::par_map(&pool, input.iter().copied())))
}

fn serial(input: &[u64]) -> Result<Vec<u64>, Error> {
    Ok(input.iter().map(|&x| add_one(black_box(x))).collect())
}

fn rayon(input: &[u64]) -> Result<Vec<u64>, Error> {
    Ok(input.par_iter().map(|&x| add_one(black_box(x))).collect())
}

#[pool::main]
fn main() -> Result<(), Error> {
    let input: Vec<u64> = (0..TASKS).collect();
    let expected: Vec<u64> = (1..=TASKS).collect();
    // All of them start their workers at the first call: `Fork` first, while this process has no other threads.
    let mut contenders = [
        pooled(StartMethod::Fork)?,
        pooled(StartMethod::ForkServer)?,
        pooled(StartMethod::Spawn)?,
        pooled(StartMethod::Threads)?,
        Contender::new("serial loop".into(), serial),
        Contender::new("rayon".into(), rayon),
    ];
    for contender in &contenders {
        assert_eq!((contender.run)(&input)?, expected, "{}", contender.name);
    }

    // Interleaved, so that whatever else the machine does meets all of them alike.
    for _ in 0..ROUNDS {
        for contender in &mut contenders {
            let start = Instant::now();
            black_box((contender.run)(&input)?);
            contender.ns_per_task.push(start.elapsed().as_nanos() as f64 / TASKS as f64);
        }
    }

    let workers = pool::cpu_count();
    println!("x + 1 over {TASKS} numbers, {workers} workers, median of {ROUNDS} interleaved rounds\n");
    for contender in &mut contenders {
        let median = contender.median();
        println!("{:12} {median:7.1} ns a task", contender.name);
    }
    Ok(())
}
