//! Results that become one: sums of numbers, which cost next to nothing each, and maps of counts, which are large for
//! what they cost.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::hint::black_box;

use pool::shared::SharedArray;
use pool::worker_task;
use rayon::prelude::*;

use super::work::ms;
use super::{METHODS, WORKERS, add_one, builder};
use crate::rounds::{Contender, Session};

const NUMBERS: u64 = 10_000_000;
/// How many chapters a document has, and how many copies of the book there are.
const CHAPTERS: usize = 8;
const COPIES: usize = 24;

type Counts = HashMap<String, u64>;

#[worker_task]
fn sum(#[chunk] numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |sum, number| sum ^ black_box(*number))
}

#[worker_task]
pub(super) fn add(a: u64, b: u64) -> u64 {
    a ^ b
}

/// Counts words by their first two and first three letters.
#[worker_task]
fn count(document: &str) -> Counts {
    let mut counts = Counts::new();
    for word in document.split(|c: char| !c.is_alphabetic()) {
        let word = word.to_lowercase();
        for (end, _) in word.char_indices().skip(2).take(2) {
            *counts.entry(word[..end].to_owned()).or_default() += 1;
        }
    }
    counts
}

#[worker_task]
fn merge(mut a: Counts, b: Counts) -> Counts {
    for (prefix, count) in b {
        *a.entry(prefix).or_default() += count;
    }
    a
}

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let rayon = &rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
    let numbers = &SharedArray::from_slice(&(0..NUMBERS).collect::<Vec<_>>())?;
    let copied = &numbers.to_vec();
    let expected = &Some(sum(copied));

    let mut contenders = vec![
        Contender::new("serial loop", || ms(expected, || Some(sum(copied)))),
        Contender::new("rayon", || {
            ms(expected, || rayon.install(|| copied.par_chunks(100_000).map(sum).reduce_with(add)))
        }),
    ];
    for method in METHODS {
        let pool = builder(method).build()?;
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            ms(expected, || sum::job(&pool).reduce_slice::<add, _>(numbers).expect("no task fails"))
        }));
    }
    session.compare("10 million numbers of a shared array into one, by chunks", "ms", contenders);

    let one_by_one = || copied.iter().map(|&x| add_one(black_box(x))).reduce(add);
    let expected = &one_by_one();
    let mut contenders = vec![
        Contender::new("serial loop", || ms(expected, one_by_one)),
        Contender::new("rayon", || {
            ms(expected, || {
                rayon.install(|| copied.par_iter().map(|&x| add_one(black_box(x))).reduce_with(add))
            })
        }),
    ];
    for method in METHODS {
        let pool = builder(method).build()?;
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            let numbers = copied.iter().copied();
            ms(expected, || add_one::job(&pool).reduce::<add>(numbers).expect("no task fails"))
        }));
    }
    session.compare("x + 1 over 10 million numbers into one, one by one", "ms", contenders);

    let documents = &documents()?;
    let serial = || documents.iter().map(|document| count(document)).reduce(merge);
    let expected = &serial();
    let mut contenders = vec![
        Contender::new("serial loop", || ms(expected, serial)),
        Contender::new("rayon", || {
            ms(expected, || rayon.install(|| documents.par_iter().map(|text| count(text)).reduce_with(merge)))
        }),
    ];
    for method in METHODS {
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            ms(expected, || {
                let pool = builder(method).build().expect("a pool can be made");
                let documents = documents.iter().map(String::as_str);
                count::job(&pool).reduce::<merge>(documents).expect("no task fails")
            })
        }));
    }
    session.compare("counts over documents into one, pool included", "ms", contenders);
    Ok(())
}

fn documents() -> Result<Vec<String>, Box<dyn Error>> {
    let folder = fs::read_dir(super::programs::data("moby-dick"))?;
    let chapters: Vec<String> =
        folder.map(|entry| fs::read_to_string(entry?.path())).collect::<Result<_, _>>()?;
    let shelf: Vec<&str> = std::iter::repeat_n(&chapters, COPIES).flatten().map(String::as_str).collect();
    Ok(shelf.chunks(CHAPTERS).map(<[&str]>::concat).collect())
}
