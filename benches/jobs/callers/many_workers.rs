//! Pools of far more workers than there is work.

use std::collections::HashSet;
use std::error::Error;
use std::iter::repeat_n;
use std::thread;
use std::time::Duration;

use pool::{StartMethod, WorkerPool, worker_task};

use super::us_a_call;
use crate::jobs::work::ms;
use crate::jobs::{WORKERS, add_one, builder, time};
use crate::rounds::{Contender, Session};

const MANY: usize = 1000;
const CALLS: u64 = 2000;

/// Keeps its worker for so long, and tells which one that is.
#[worker_task]
fn keep(#[worker_id] id: usize, time: Duration) -> usize {
    thread::sleep(time);
    id
}

pub(super) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let mut contenders = Vec::new();
    for (method, workers) in [
        (StartMethod::ForkServer, WORKERS),
        (StartMethod::ForkServer, MANY),
        (StartMethod::Threads, WORKERS),
        (StartMethod::Threads, MANY),
    ] {
        let pool = all_started(method, workers)?;
        contenders.push(Contender::new(format!("pool, {method}, {workers} workers"), move || {
            let call = |x| assert_eq!(add_one::apply(&pool, x).expect("no task fails"), x + 1);
            us_a_call(CALLS as usize, time(|| (0..CALLS).for_each(call)))
        }));
    }
    session.compare("apply, one after another, by the number of workers", "µs a call", contenders);

    let contender = |workers| {
        Contender::new(format!("pool of {workers} workers"), move || {
            ms(&vec![1, 2], || {
                let pool =
                    builder(StartMethod::ForkServer).workers(workers).build().expect("a pool can be made");
                let results = add_one::par_map(&pool, 0..2).expect("no task fails");
                pool.join().expect("workers end");
                results
            })
        })
    };
    session.compare("two items, pool included", "ms", [WORKERS, 64].map(contender).into());
    Ok(())
}

/// A pool whose workers are all there. They start when there is work for them, so all must be kept for as long as the
/// starts take.
fn all_started(method: StartMethod, workers: usize) -> Result<WorkerPool, Box<dyn Error>> {
    let pool = builder(method).workers(workers).build()?;
    let (mut started, mut time) = (HashSet::new(), Duration::from_millis(100));
    while started.len() < workers {
        started.extend(keep::job(&pool).chunk_size(1).map(repeat_n(time, workers))?);
        time *= 2;
    }
    Ok(pool)
}
