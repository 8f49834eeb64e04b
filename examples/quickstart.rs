//! Counts how many words of Moby Dick begin with which letters, once in this process and once on a pool. Each
//! worker counts into its own state; when it ends, its exit function hands the counts over.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use pool::{WorkerPool, worker_exit, worker_task};

/// How many words begin with a prefix.
type Counts = BTreeMap<String, u64>;

/// Counts what each word begins with, from three letters on, and says how many words there were.
#[worker_task(exit = hand_over)]
fn count_prefixes(#[state] counts: &mut Counts, document: &str) -> u64 {
    let mut words = 0;
    for word in document.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        for (end, _) in word.char_indices().skip(3) {
            *counts.entry(word[..end].to_owned()).or_default() += 1;
        }
        words += 1;
    }
    words
}

#[worker_exit]
fn hand_over(#[state] counts: Counts) -> Counts {
    counts
}

#[pool::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths = fs::read_dir(pool_examples::data("moby-dick"))?;
    let documents: Vec<String> =
        paths.map(|entry| fs::read_to_string(entry?.path())).collect::<Result<_, _>>()?;

    let start = Instant::now();
    let mut serial = Counts::new();
    let serial_words: u64 = documents.iter().map(|document| count_prefixes(&mut serial, document)).sum();
    let serial_time = start.elapsed();

    let start = Instant::now();
    let pool = WorkerPool::builder().build()?;
    let words: u64 = count_prefixes::par_map(&pool, documents.iter().map(String::as_str))?.iter().sum();
    let workers = pool.workers();
    let mut pooled = Counts::new();
    for (prefix, count) in pool.join()?.exit_results::<hand_over>()?.into_iter().flatten() {
        *pooled.entry(prefix).or_default() += count;
    }
    let pooled_time = start.elapsed();

    println!("serial:     {} in {serial_time:.1?}", answer(serial_words, &serial));
    println!("{workers} workers: {} in {pooled_time:.1?}", answer(words, &pooled));
    assert_eq!((serial_words, &serial), (words, &pooled));
    println!("the answers are equal, in all {} prefixes", pooled.len());
    Ok(())
}

fn answer(words: u64, counts: &Counts) -> String {
    let mut common: Vec<_> = counts.iter().collect();
    common.sort_by_key(|&(prefix, &count)| (std::cmp::Reverse(count), prefix));
    let common: Vec<_> = common.iter().take(5).map(|(prefix, count)| format!("{prefix}… {count}")).collect();
    format!("{words} words; {}", common.join(", "))
}
