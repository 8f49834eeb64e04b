//! The number of workers: a pool with more of them than cores, the parent's work for each task of up to 64 of them, and
//! the price of an idle pool.

use std::error::Error;
use std::fs;
use std::thread;
use std::time::Duration;

use pool::{StartMethod, WorkerPool};

use super::work::{compute, ms, steps_per_us};
use super::{METHODS, WORKERS, add_one, builder, own_time};
use crate::rounds::{Contender, Session};

/// Tasks of 100 µs.
const TASKS: usize = 6000;

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    idle(session)?;
    let tasks = vec![(100.0 * steps_per_us()) as u64; TASKS];
    let expected = vec![compute(tasks[0]); TASKS];
    let pool_of = |workers| builder(StartMethod::ForkServer).workers(workers).build();

    let mut contenders = Vec::new();
    for workers in [WORKERS, 4 * WORKERS] {
        let (pool, tasks, expected) = (pool_of(workers)?, &tasks, &expected);
        contenders.push(Contender::new(format!("{workers} workers"), move || {
            ms(expected, || compute::par_map(&pool, tasks.iter().copied()).expect("no task fails"))
        }));
    }
    session.compare("more workers than cores, tasks of 100 µs", "ms", contenders);

    let mut contenders = Vec::new();
    for workers in [1, 2, 4, 8, 16, 32, 64] {
        let (pool, tasks) = (pool_of(workers)?, &tasks);
        contenders.push(Contender::new(format!("{workers} workers"), move || {
            let own = own_time(|| compute::par_map(&pool, tasks.iter().copied()).expect("no task fails"));
            own.as_secs_f64() * 1e6 / TASKS as f64
        }));
    }
    session.compare("the parent's own work for a task of 100 µs", "µs a task", contenders);
    Ok(())
}

/// Pools that have worked, and are idle now.
fn idle(session: &mut Session) -> Result<(), Box<dyn Error>> {
    const REST: Duration = Duration::from_secs(1);
    let pools: Vec<WorkerPool> =
        METHODS.into_iter().map(|method| builder(method).build()).collect::<Result<_, _>>()?;
    for pool in &pools {
        add_one::par_map(pool, 0..1000)?;
    }
    // Workers that spin for a while sleep by now.
    thread::sleep(REST);
    let rest = || {
        let before = Used::now();
        thread::sleep(REST);
        let after = Used::now();
        (after.ns - before.ns, after.times - before.times)
    };
    // This thread, which reads all of that, is woken too.
    let contenders = vec![
        Contender::new("computing, in ns", || rest().0 as f64),
        Contender::new("wake-ups", || rest().1 as f64),
    ];
    session.compare("a second of four pools that have nothing to do", "all processes", contenders);
    drop(pools);
    Ok(())
}

/// The CPU time of all threads of this process and its descendants but this one, and how often they were scheduled.
struct Used {
    ns: u64,
    times: u64,
}

impl Used {
    fn now() -> Self {
        let own = nix::unistd::gettid().to_string();
        let mut used = Self { ns: 0, times: 0 };
        let mut processes = vec![std::process::id().to_string()];
        while let Some(process) = processes.pop() {
            // A process or thread that has ended meanwhile uses nothing.
            let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for thread in threads.flatten() {
                let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
                processes.extend(read("children").split_whitespace().map(str::to_owned));
                if thread.file_name().to_str() != Some(&own) {
                    let figures = read("schedstat");
                    let mut figures = figures.split_whitespace().map(|figure| figure.parse().unwrap_or(0));
                    used.ns += figures.next().unwrap_or(0);
                    used.times += figures.nth(1).unwrap_or(0);
                }
            }
        }
        used
    }
}
