//! A worker ends after exactly this many tasks, and a new one takes its place.

use std::collections::BTreeMap;

use pool::{Error, StartMethod, worker_task};

use crate::harness::cases;
use crate::support::{builder, pool, square, squares};

cases! {
    All: each_task_once, never_more_than_its_span, counts_over_calls;
    Processes: same_process_for_its_span;
}

#[worker_task]
fn age(#[state] tasks: &mut u64, x: u64) -> (u64, u64, u32) {
    *tasks += 1;
    (x, *tasks, std::process::id())
}

fn each_task_once(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2, 4] {
        let pool = builder(method).workers(workers).build()?;
        for lifespan in [1, 2, 3] {
            for chunk in [1, 4] {
                let job = || age::job(&pool).worker_lifespan(lifespan).chunk_size(chunk);
                let numbers: Vec<u64> = job().map(0..12)?.into_iter().map(|(x, ..)| x).collect();
                assert_eq!(numbers, (0..12).collect::<Vec<_>>());
            }
        }
    }
    Ok(())
}

fn never_more_than_its_span(method: StartMethod) -> Result<(), Error> {
    for (lifespan, chunk) in [(1, 1), (2, 5), (3, 2), (5, 100)] {
        let pool = pool(method)?;
        let ages = age::job(&pool).worker_lifespan(lifespan).chunk_size(chunk).map(0..31)?;
        assert!(ages.iter().all(|(_, tasks, _)| *tasks <= lifespan as u64), "{lifespan} {chunk}: {ages:?}");
        let newborn = ages.iter().filter(|(_, tasks, _)| *tasks == 1).count();
        assert!(newborn >= 31usize.div_ceil(lifespan), "{lifespan} {chunk}: {ages:?}");
    }
    Ok(())
}

fn counts_over_calls(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let mut ages = Vec::new();
    for x in 0..9 {
        ages.push(age::job(&pool).worker_lifespan(3).apply(x)?.1);
    }
    assert_eq!(ages, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
    assert_eq!(square::job(&pool).worker_lifespan(1000).map(0..2500)?, squares(2500));
    Ok(())
}

fn same_process_for_its_span(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let mut tasks_of = BTreeMap::new();
    for (.., process) in age::job(&pool).worker_lifespan(3).map(0..12)? {
        *tasks_of.entry(process).or_insert(0) += 1;
    }
    assert_eq!(tasks_of.into_values().collect::<Vec<_>>(), [3; 4]);
    Ok(())
}
