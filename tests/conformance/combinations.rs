//! With every combination of the options that spread tasks over workers and time, the maps return what a serial loop
//! returns.

use pool::{Codec, Error, StartMethod, WorkerPool, worker_task};

use crate::harness::cases;
use crate::support::{builder, sorted};

cases! {
    All: chunking_and_lifespan, bincode, postcard, messagepack, fresh_workers;
}

#[worker_task]
fn label(number: u32, text: &str) -> String {
    format!("{number} {text}")
}

const TASKS: u32 = 40;

fn items() -> impl Iterator<Item = (u32, &'static str)> {
    (0..TASKS).map(|number| (number, if number % 2 == 0 { "even" } else { "odd" }))
}

/// How a job is cut into chunks.
#[derive(Debug, Clone, Copy)]
enum Chunks {
    Adaptive,
    Size(usize),
    Splits(usize),
}

/// A row of the table: the options of a job.
#[derive(Debug, Clone, Copy)]
struct Row {
    chunks: Chunks,
    lifespan: Option<usize>,
    active: Option<usize>,
}

fn rows() -> impl Iterator<Item = Row> {
    let chunks = [Chunks::Adaptive, Chunks::Size(1), Chunks::Size(3), Chunks::Splits(3), Chunks::Splits(100)];
    let row = |chunks| {
        let with = move |lifespan| [None, Some(2)].map(|active| Row { chunks, lifespan, active });
        [None, Some(1), Some(2), Some(7)].into_iter().flat_map(with)
    };
    chunks.into_iter().flat_map(row)
}

/// All four maps, with these options.
fn assert_maps_equal_serial(pool: &WorkerPool, row: Row) -> Result<(), Error> {
    let job = || {
        let mut job = label::job(pool);
        job = match row.chunks {
            Chunks::Adaptive => job,
            Chunks::Size(size) => job.chunk_size(size),
            Chunks::Splits(splits) => job.n_splits(splits).iterable_len(TASKS as usize),
        };
        job = if let Some(lifespan) = row.lifespan { job.worker_lifespan(lifespan) } else { job };
        if let Some(active) = row.active { job.max_tasks_active(active) } else { job }
    };
    let serial: Vec<String> = items().map(|(number, text)| label(number, text)).collect();
    let in_any_order = sorted(serial.clone());
    assert_eq!(job().map(items())?, serial, "map {row:?}");
    assert_eq!(sorted(job().map_unordered(items())?), in_any_order, "map_unordered {row:?}");
    assert_eq!(job().imap(items()).collect::<Result<Vec<_>, _>>()?, serial, "imap {row:?}");
    let unordered = job().imap_unordered(items()).collect::<Result<Vec<_>, _>>()?;
    assert_eq!(sorted(unordered), in_any_order, "imap_unordered {row:?}");
    let outcomes: Result<Vec<_>, _> = job().map_outcomes(items())?.into_iter().collect();
    assert_eq!(outcomes?, serial, "map_outcomes {row:?}");
    Ok(())
}

fn chunking_and_lifespan(method: StartMethod) -> Result<(), Error> {
    // It is slow to execute the program again for each task.
    let quick = |row: &Row| method != StartMethod::Spawn || row.lifespan.is_none_or(|lifespan| lifespan > 2);
    let pool = builder(method).build()?;
    rows().filter(quick).try_for_each(|row| assert_maps_equal_serial(&pool, row))
}

fn bincode(method: StartMethod) -> Result<(), Error> {
    with_codec(method, Codec::Bincode)
}

fn postcard(method: StartMethod) -> Result<(), Error> {
    with_codec(method, Codec::Postcard)
}

fn messagepack(method: StartMethod) -> Result<(), Error> {
    with_codec(method, Codec::MessagePack)
}

fn with_codec(method: StartMethod, codec: Codec) -> Result<(), Error> {
    for order_tasks in [false, true] {
        for workers in [1, 3] {
            let pool = builder(method).workers(workers).codec(codec).order_tasks(order_tasks).build()?;
            for row in rows().filter(|row| row.lifespan.is_none_or(|lifespan| lifespan == 7)) {
                assert_maps_equal_serial(&pool, row)?;
            }
        }
    }
    Ok(())
}

fn fresh_workers(method: StartMethod) -> Result<(), Error> {
    for order_tasks in [false, true] {
        let pool = builder(method).keep_alive(false).order_tasks(order_tasks).build()?;
        for row in rows().filter(|row| row.lifespan.is_none() && row.active.is_none()) {
            assert_maps_equal_serial(&pool, row)?;
        }
    }
    Ok(())
}
