//! Counts what the words of a shelf of books begin with: by a loop, by rayon's threads, and by worker processes. Then
//! what only processes can do: one document crashes its task, and all others are counted.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use pool::{Error, WorkerPool, worker_task};
use rayon::prelude::*;

/// How many words begin with a prefix.
type Counts = BTreeMap<String, u64>;

/// Counts what each longer word of a document begins with: its first two letters, and its first three.
#[worker_task]
fn count(document: &str) -> Counts {
    let mut counts = Counts::new();
    skip_brackets(document, &mut |text| {
        for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
            let word = word.to_lowercase();
            for (end, _) in word.char_indices().skip(2).take(2) {
                *counts.entry(word[..end].to_owned()).or_default() += 1;
            }
        }
    });
    counts
}

/// Counts of two documents, or of many, together.
#[worker_task]
fn add(mut a: Counts, b: Counts) -> Counts {
    for (prefix, count) in b {
        *a.entry(prefix).or_default() += count;
    }
    a
}

/// Passes on the text outside of brackets, and returns the rest after the last bracket. Its mistake: it calls itself
/// for each bracket that opens, so enough of those take all of the stack.
fn skip_brackets<'t>(mut text: &'t str, pass_on: &mut dyn FnMut(&str)) -> &'t str {
    while let Some(bracket) = text.find(['(', ')']) {
        pass_on(&text[..bracket]);
        let rest = &text[bracket + 1..];
        if text[bracket..].starts_with(')') {
            return rest;
        }
        text = skip_brackets(rest, &mut |_| ());
    }
    pass_on(text);
    ""
}

#[pool::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths = fs::read_dir(pool_examples::data("moby-dick"))?;
    let chapters: Vec<String> =
        paths.map(|entry| fs::read_to_string(entry?.path())).collect::<Result<_, _>>()?;
    // A shelf with many copies of the book; each document is some of their chapters.
    let shelf: Vec<&String> = std::iter::repeat_n(&chapters, 24).flatten().collect();
    let documents: Vec<String> =
        shelf.chunks(8).map(|chapters| chapters.iter().map(|text| text.as_str()).collect()).collect();
    let documents = || documents.iter().map(String::as_str);

    let serial = timed("a loop", || documents().map(count).reduce(add));
    let threads = timed("rayon", || {
        let documents: Vec<&str> = documents().collect();
        documents.into_par_iter().map(count).reduce_with(add)
    });
    let pooled = timed("pool", || {
        let pool = WorkerPool::builder().build()?;
        count::job(&pool).reduce::<add>(documents())
    })?;
    assert!(serial == threads && serial == pooled, "all three are equal");

    // On a thread this document would end the whole program.
    let broken = "(".repeat(10_000_000);
    let pool = WorkerPool::builder().build()?;
    let (mut counted, mut failed) = (Vec::new(), Vec::new());
    for result in count::par_imap(&pool, documents().chain([broken.as_str()])) {
        match result {
            Ok(counts) => counted.push(counts),
            Err(Error::Task(error)) => failed.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    println!("with a broken document, {} others are counted", counted.len());
    for error in &failed {
        println!("task {} {}", error.task_index(), error.kind());
    }
    assert_eq!(failed.len(), 1);
    assert_eq!(counted.into_iter().reduce(add), serial);
    Ok(())
}

fn timed<R>(name: &str, job: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let counts = job();
    println!("{name:6} {:>8.1?}", Duration::from_micros(start.elapsed().as_micros() as u64));
    counts
}
