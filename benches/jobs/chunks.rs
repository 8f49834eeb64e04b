//! Default chunks beside chunks of each size: for tasks of each length, all alike or one in a hundred a hundred times
//! longer, with a known number of them or not.

use std::error::Error;

use pool::StartMethod;

use super::work::{compute, ms, steps_per_us};
use super::{WORKERS, builder};
use crate::rounds::{Contender, Session};

/// The work of a round, in microseconds, or two tasks for each worker if those are longer.
const WORK_US: f64 = 50_000.0;

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let steps = steps_per_us();
    for us in [0.05, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6] {
        let count = ((WORK_US / us) as usize).max(2 * WORKERS);
        let tasks = vec![(us * steps) as u64; count];
        compare(session, &format!("tasks of {us} µs"), &tasks, true)?;
        if us == 1.0 {
            compare(session, "tasks of 1 µs, unknown how many", &tasks, false)?;
        }
    }
    for us in [0.5, 50.0] {
        let long = |place: usize| if place % 100 == 57 { 100.0 } else { 1.0 };
        let count = (WORK_US / us) as usize;
        let tasks: Vec<u64> = (0..count).map(|place| (us * steps * long(place)) as u64).collect();
        compare(session, &format!("tasks of {us} µs, one in a hundred 100 times longer"), &tasks, true)?;
        compare(
            session,
            &format!("tasks of {us} µs, one in a hundred 100 times longer, unknown how many"),
            &tasks,
            false,
        )?;
    }
    Ok(())
}

fn compare(session: &mut Session, name: &str, tasks: &[u64], known: bool) -> Result<(), Box<dyn Error>> {
    let expected: Vec<u64> = tasks.iter().map(|steps| compute(*steps)).collect();
    let expected = &expected;
    let sizes = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536];
    let sizes = sizes.into_iter().filter(|size| *size == 1 || size * 2 * WORKERS <= tasks.len());
    let mut contenders = Vec::new();
    for size in std::iter::once(None).chain(sizes.map(Some)) {
        // Large chunks leave a pool's memory in another state than small ones.
        let pool = builder(StartMethod::ForkServer).build()?;
        let name = size.map_or("default".into(), |size| format!("chunks of {size}"));
        contenders.push(Contender::new(name, move || {
            let job = compute::job(&pool);
            let job = if let Some(size) = size { job.chunk_size(size) } else { job };
            let items = tasks.iter().copied();
            // The number of items behind a filter is not known.
            ms(expected, || {
                if known { job.map(items) } else { job.map(items.filter(|_| true)) }.expect("no task fails")
            })
        }));
    }
    session.compare(&format!("chunk sizes: {name}"), "ms", contenders);
    Ok(())
}
