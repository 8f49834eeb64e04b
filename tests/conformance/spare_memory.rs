//! Workers and their lanes give memory back: after large values or many small ones, they keep little while they are
//! idle.

use std::fs;
use std::thread;

use pool::{Codec, Error, StartMethod, TaskErrorKind, worker_exit, worker_task};

use crate::harness::cases;
use crate::support::{assert_usable, builder, task_error};

cases! {
    All: after_large_items, after_large_results, after_large_failures, after_lazy_results, after_asynchronous_calls,
         after_many_small_results, after_results_that_wait;
    Processes: heaps_of_workers;
}

const MIB: u64 = 1 << 20;

/// The most memory that a lane keeps for orders, which can't be given back.
const ORDERS: u64 = 4 * MIB;
/// The most that a lane keeps for replies: the part that small ones go round in.
const REPLIES: u64 = MIB / 4;

/// The memory of all lanes that this process maps, in bytes: for orders, and for replies.
fn lanes() -> (u64, u64) {
    let maps = fs::read_to_string("/proc/self/smaps").expect("/proc is mounted");
    let (mut orders, mut replies, mut name) = (0, 0, "");
    for line in maps.lines() {
        if let Some((_, file)) = line.split_once(" /memfd:") {
            name = file;
        } else if let Some(kib) = line.strip_prefix("Rss:").and_then(|rss| rss.trim().strip_suffix(" kB")) {
            let bytes = kib.trim().parse::<u64>().expect("a number") * 1024;
            match std::mem::take(&mut name) {
                name if name.starts_with("pool orders") => orders += bytes,
                name if name.starts_with("pool replies") => replies += bytes,
                _ => {}
            }
        }
    }
    (orders, replies)
}

/// Waits until the lanes of this many workers keep no more than that.
fn wait_until_lanes_are_small(method: StartMethod, workers: u64) {
    // If workers are threads, this process maps both ends of their lanes.
    let ends = if method == StartMethod::Threads { 2 * workers } else { workers };
    while {
        let (orders, replies) = lanes();
        orders > ends * ORDERS || replies > ends * REPLIES
    } {
        thread::yield_now();
    }
}

#[worker_task]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

#[worker_task]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[worker_task]
fn filled(len: usize) -> Vec<u8> {
    vec![7; len]
}

/// Each codec, with the length of an item that takes several parts. It is longer than a ring where the codec does not
/// encode bytes one by one.
const CODECS: [(Codec, usize); 3] =
    [(Codec::Bincode, 9 << 20), (Codec::Postcard, 3 << 19), (Codec::MessagePack, 3 << 19)];
/// The length of an item that fits into one record.
const ONE_RECORD: usize = 900_000;

fn after_large_items(method: StartMethod) -> Result<(), Error> {
    for (codec, several_parts) in CODECS {
        let pool = builder(method).codec(codec).build()?;
        for len in [ONE_RECORD, several_parts] {
            let items = vec![vec![1; len]; 3];
            assert_eq!(length::par_map(&pool, items.iter().map(Vec::as_slice))?, [len; 3]);
        }
        wait_until_lanes_are_small(method, 2);
        assert_usable(&pool);
    }
    Ok(())
}

fn after_large_results(method: StartMethod) -> Result<(), Error> {
    for (codec, several_parts) in CODECS {
        let pool = builder(method).codec(codec).build()?;
        for len in [ONE_RECORD, several_parts] {
            assert!(filled::par_map(&pool, [len; 4])? == vec![vec![7; len]; 4]);
            wait_until_lanes_are_small(method, 2);
            // Now the ring is short, and wraps at the place where the last result ended.
            assert!(filled::par_map(&pool, [1, len, 2])?.concat() == vec![7; len + 3]);
        }
        wait_until_lanes_are_small(method, 2);
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn fails(len: usize) -> u64 {
    panic!("{}", "ä".repeat(len))
}

fn after_large_failures(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for len in [100_000, 1 << 20] {
        for outcome in fails::par_map_outcomes(&pool, [len; 20])? {
            assert!(matches!(outcome.unwrap_err().kind(), TaskErrorKind::Panicked(_)));
        }
        task_error(fails::apply(&pool, len));
    }
    wait_until_lanes_are_small(method, 1);
    assert_usable(&pool);
    Ok(())
}

fn after_lazy_results(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let lengths = [300_000, 5 << 20, 1 << 20].into_iter().cycle();
    for (result, len) in filled::par_imap(&pool, lengths.clone().take(20)).zip(lengths) {
        assert_eq!(result?.len(), len);
    }
    wait_until_lanes_are_small(method, 2);
    assert_usable(&pool);
    Ok(())
}

fn after_asynchronous_calls(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    if method == StartMethod::Fork {
        // The workers have to start before there is another thread.
        assert_usable(&pool);
    }
    let calls = [3 << 20, 900_000, 9 << 20].map(|len| (len, echo::apply_async(&pool, vec![3; len])));
    for (len, call) in calls {
        assert_eq!(call.get()?.len(), len);
    }
    wait_until_lanes_are_small(method, 1);
    assert_usable(&pool);
    Ok(())
}

/// Small results go round in the first part of the ring, even if the parent is late now and then.
fn after_many_small_results(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    for _ in 0..3 {
        let mut results = length::par_imap(&pool, std::iter::repeat_n(&b"text"[..], 200_000));
        assert_eq!(results.next().transpose()?, Some(4));
        assert_eq!(results.count(), 199_999);
    }
    wait_until_lanes_are_small(method, 2);
    assert_usable(&pool);
    Ok(())
}

/// The worker can't give back memory of results that the parent has not read.
fn after_results_that_wait(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let mut results = filled::par_imap(&pool, [900_000; 4]);
    assert_eq!(results.next().transpose()?.map(|bytes| bytes.len()), Some(900_000));
    assert_eq!(results.map(|result| result.map(|bytes| bytes.len())).sum::<Result<usize, _>>()?, 3 * 900_000);
    wait_until_lanes_are_small(method, 1);
    assert_usable(&pool);
    Ok(())
}

/// This process's memory that belongs to no file, in bytes.
#[worker_task]
fn held() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
    kib.expect("the kernel tells").trim().parse::<u64>().expect("a number") * 1024
}

#[worker_exit]
fn large_exit() -> Vec<u8> {
    vec![1; 12 << 20]
}

#[worker_task(exit = large_exit)]
fn has_large_exit() {}

fn heaps_of_workers(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let before = held::apply(&pool, ())?;
    // glibc keeps as much memory as the largest vector that was freed, and up to twice that.
    for len in [12 << 20, 20 << 20, 20 << 20, 30 << 20] {
        assert_eq!(echo::apply(&pool, vec![9; len])?.len(), len);
    }
    // Small tasks meanwhile do not keep the worker from giving memory back.
    while held::apply(&pool, ())? > before + 3 * MIB {
        thread::yield_now();
    }
    has_large_exit::apply(&pool, ())?;
    assert!(pool.join()?.exit_results::<large_exit>()? == [vec![1; 12 << 20]]);
    Ok(())
}
