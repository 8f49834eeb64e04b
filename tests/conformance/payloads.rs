//! Arguments and results of any size, one way and both ways at once.

use pool::{Codec, Error, StartMethod, worker_task};

use crate::harness::cases;
use crate::support::{assert_usable, builder, pool};

cases! {
    All: sizes_around_every_limit, huge_argument, huge_result, both_ways_at_once, sizes_mixed, giant, with_codecs,
         lent_by_their_caller;
}

const MIB: usize = 1 << 20;

// This program is not optimized, so functions that go over megabytes take more than one byte at a time.

/// A body in which a lost or swapped byte shows.
fn body(len: usize, seed: usize) -> Vec<u8> {
    const PERIOD: usize = 1 << 11;
    let period: Vec<u8> = (0..PERIOD).map(|i| ((i * 31) >> 3 ^ seed) as u8).collect();
    let mut body = period.repeat(len.div_ceil(PERIOD));
    body.truncate(len);
    body
}

#[worker_task]
fn flip(bytes: &[u8]) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    let (words, rest) = flipped.as_chunks_mut();
    words.iter_mut().for_each(|word| *word = (!u128::from_ne_bytes(*word)).to_ne_bytes());
    rest.iter_mut().for_each(|byte| *byte = !*byte);
    flipped
}

#[worker_task]
fn weigh(bytes: &[u8]) -> (usize, u128) {
    let (words, rest) = bytes.as_chunks();
    let words = words.iter().map(|word| u128::from_ne_bytes(*word));
    (bytes.len(), words.chain(rest.iter().map(|byte| u128::from(*byte))).fold(0, u128::wrapping_add))
}

#[worker_task]
fn grow(len: usize, seed: usize) -> Vec<u8> {
    body(len, seed)
}

fn sizes_around_every_limit(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    // Powers of two and their neighbours: whatever the sizes of rings and parts are, some of these are at their edges.
    let sizes = (0..=21).flat_map(|bit| [(1usize << bit) - 1, 1 << bit, (1 << bit) + 1]);
    for size in sizes {
        let bodies = [body(size, 1), body(size, 2), body(size, 3)];
        let serial: Vec<_> = bodies.iter().map(|bytes| flip(bytes)).collect();
        assert!(flip::par_map(&pool, bodies.iter().map(Vec::as_slice))? == serial, "{size} bytes");
    }
    Ok(())
}

fn huge_argument(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let bytes = body(64 * MIB, 5);
    assert_eq!(weigh::apply(&pool, &bytes)?, weigh(&bytes));
    assert_usable(&pool);
    Ok(())
}

fn huge_result(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert!(grow::apply(&pool, (64 * MIB, 5))? == body(64 * MIB, 5));
    assert_usable(&pool);
    Ok(())
}

fn both_ways_at_once(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    // More than any buffer holds, so results come back while arguments still go out.
    let bodies: Vec<_> = (0..12).map(|seed| body(5 * MIB + seed, seed)).collect();
    for chunk in [1, 4] {
        let flipped = flip::job(&pool).chunk_size(chunk).map(bodies.iter().map(Vec::as_slice))?;
        assert!(bodies.iter().zip(&flipped).all(|(body, flipped)| flip(body) == *flipped));
        assert_eq!(flipped.len(), bodies.len());
    }
    Ok(())
}

fn sizes_mixed(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let sizes = [0, 1, 100, 5000, 70_000, 300_000, 3_000_000];
    let bodies: Vec<_> = (0..140).map(|i| body(sizes[i * 5 % sizes.len()], i)).collect();
    let serial: Vec<_> = bodies.iter().map(|bytes| flip(bytes)).collect();
    assert!(flip::par_map(&pool, bodies.iter().map(Vec::as_slice))? == serial);
    let imap: Result<Vec<_>, _> = flip::par_imap(&pool, bodies.iter().map(Vec::as_slice)).collect();
    assert!(imap? == serial);
    Ok(())
}

#[worker_task]
fn ends_of(seed: u64, text: &str, numbers: Vec<f64>) -> (u64, usize, f64) {
    (seed, text.len(), numbers[0] + numbers[numbers.len() - 1])
}

#[worker_task]
fn len_of(text: String) -> usize {
    text.len()
}

/// More large arguments than all lanes hold, which are sent straight from the caller's memory where options allow it.
fn lent_by_their_caller(method: StartMethod) -> Result<(), Error> {
    let texts: Vec<String> = (0..40).map(|i| "x".repeat(if i % 7 == 3 { 5 } else { 200_000 + i })).collect();
    let numbers: Vec<Vec<f64>> = (0..40).map(|i| vec![f64::from(i); 90_000]).collect();
    let items =
        || (0..).zip(&texts).zip(&numbers).map(|((seed, text), numbers)| (seed, &**text, numbers.clone()));
    let serial: Vec<_> = items().map(|(seed, text, numbers)| ends_of(seed, text, numbers)).collect();
    let lens: Vec<usize> = texts.iter().map(String::len).collect();
    for codec in [Codec::Bincode, Codec::Postcard, Codec::MessagePack] {
        let pool = builder(method).codec(codec).build()?;
        let job = || ends_of::job(&pool);
        assert_eq!(job().map(items())?, serial);
        for job in
            [job().chunk_size(3), job().max_tasks_active(1), job().n_splits(5), job().worker_lifespan(3)]
        {
            assert_eq!(job.iterable_len(40).map(items())?, serial);
        }
        assert_eq!(job().imap(items()).collect::<Result<Vec<_>, _>>()?, serial);
        assert_eq!(len_of::par_map(&pool, texts.clone())?, lens);
        assert_eq!(len_of::job(&pool).map_outcomes(texts.clone())?.len(), lens.len());
    }
    Ok(())
}

fn giant(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let bytes = vec![7; 256 * MIB];
    let flipped = flip::apply(&pool, &bytes)?;
    assert!(flipped == vec![!7; bytes.len()]);
    assert_usable(&pool);
    Ok(())
}

fn with_codecs(method: StartMethod) -> Result<(), Error> {
    for codec in [Codec::Postcard, Codec::MessagePack] {
        let pool = builder(method).codec(codec).build()?;
        let numbers = |n: u64| (0..n).map(|i| u32::MAX - i as u32).collect::<Vec<_>>();
        for n in [1, 1000, 1_000_000] {
            assert!(double::apply(&pool, numbers(n))? == double(numbers(n)));
        }
    }
    Ok(())
}

#[worker_task]
fn double(numbers: Vec<u32>) -> Vec<u64> {
    numbers.into_iter().map(|number| u64::from(number) * 2).collect()
}
