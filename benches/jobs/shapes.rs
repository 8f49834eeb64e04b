//! Items and results of other shapes than a number: texts, tuples, options, structs, maps, vectors. The tasks do next
//! to nothing, so the time is the price of handing them over; only counting words takes about a microsecond.

use std::collections::HashMap;
use std::error::Error;

use pool::{WorkerPool, worker_task};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::payload::filled;
use super::{METHODS, WORKERS, builder, time};
use crate::peers::Channels;
use crate::rounds::{Contender, Session};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    name: String,
    place: String,
    values: Vec<u32>,
}

#[worker_task]
fn length(text: &str) -> usize {
    text.len()
}

#[worker_task]
fn swapped(pair: (u64, u64)) -> (u64, u64) {
    (pair.1, pair.0)
}

#[worker_task]
fn joined(number: u64, factor: f64, count: u32) -> (u64, f64, u32) {
    (number, factor, count)
}

#[worker_task]
fn halved(x: u64) -> Option<u64> {
    x.is_multiple_of(2).then_some(x / 2)
}

#[worker_task]
fn checked(x: u64) -> Result<u64, String> {
    x.checked_add(1).ok_or_else(|| "there is no such number".into())
}

#[worker_task]
pub(super) fn passed_on(record: Record) -> Record {
    record
}

#[worker_task]
fn words(text: &str) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

#[worker_task]
pub(super) fn series(x: f64) -> Vec<f64> {
    vec![x; 1024]
}

pub(super) fn record(task: u64) -> Record {
    Record {
        name: format!("the name of {task}"),
        place: format!("a place for {task}"),
        values: (0..8).collect(),
    }
}

const MILLION: u64 = 1_000_000;
const SOME: u64 = 200_000;

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let texts: Vec<String> = (0..1000).map(|x| format!("the text with the number {x}")).collect();
    let texts: &[&'static str] = &texts.leak().iter().map(|text| &**text).collect::<Vec<_>>();
    let some_texts = |tasks: u64| (0..tasks).map(|task| texts[task as usize % texts.len()]);

    compare(session, "&str -> usize", some_texts(MILLION), length, |pool, items| {
        length::par_map(pool, items)
    })?;
    compare(session, "two numbers -> two", (0..MILLION).map(|x| (x, x + 1)), swapped, |pool, items| {
        swapped::par_map(pool, items)
    })?;
    let three = (0..MILLION).map(|x| (x, 0.5, 7));
    compare(
        session,
        "three arguments -> three",
        three,
        |(a, b, c)| joined(a, b, c),
        |pool, items| joined::par_map(pool, items),
    )?;
    compare(session, "u64 -> Option<u64>", 0..MILLION, halved, |pool, items| halved::par_map(pool, items))?;
    compare(session, "u64 -> Result<u64, String>", 0..MILLION, checked, |pool, items| {
        checked::par_map(pool, items)
    })?;
    compare(session, "two strings and a vector", (0..SOME).map(record), passed_on, |pool, items| {
        passed_on::par_map(pool, items)
    })?;
    compare(session, "&str -> HashMap", some_texts(SOME), words, |pool, items| words::par_map(pool, items))?;
    compare(session, "8 KiB of f64 out", (0..10_000).map(f64::from), series, |pool, items| {
        series::par_map(pool, items)
    })?;
    compare(session, "1 MiB of bytes out", 0..100, filled, |pool, items| filled::par_map(pool, items))
}

/// Each contender clones the items, and takes the clones by value.
fn compare<I, R>(
    session: &mut Session,
    shape: &str,
    items: impl Iterator<Item = I>,
    call: fn(I) -> R,
    by_pool: impl Fn(&WorkerPool, std::iter::Cloned<std::slice::Iter<'_, I>>) -> Result<Vec<R>, pool::Error>,
) -> Result<(), Box<dyn Error>>
where
    I: Clone + Send + Sync + 'static,
    R: Clone + PartialEq + Send + 'static,
{
    let items: &[I] = &items.collect::<Vec<_>>();
    let expected: &[R] = &items.iter().cloned().map(call).collect::<Vec<_>>();
    let by_pool = &by_pool;
    let ns_a_task = |call: &dyn Fn() -> Vec<R>| {
        let mut results = Vec::new();
        let took = time(|| results = call());
        assert!(results == expected, "a result is wrong");
        took.as_nanos() as f64 / items.len() as f64
    };
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
    let channels = Channels::new(WORKERS, call);
    let mut contenders = vec![
        Contender::new("serial loop", || ns_a_task(&|| items.iter().cloned().map(call).collect())),
        Contender::new("rayon", || {
            ns_a_task(&|| rayon.install(|| items.par_iter().cloned().map(call).collect()))
        }),
        Contender::new("crossbeam-channel", || ns_a_task(&|| channels.map(items.iter().cloned()))),
    ];
    for method in METHODS {
        let pool = builder(method).build()?;
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            ns_a_task(&|| by_pool(&pool, items.iter().cloned()).expect("no task fails"))
        }));
    }
    session.compare(shape, "ns a task", contenders);
    Ok(())
}
