//! The program has little memory left: what does not fit is an error of its task.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pool::{Error, StartMethod, TaskErrorKind, worker_task};

use crate::harness::cases;
use crate::support::{assert_usable, builder, pool, task_error, use_one_arena};

cases! {
    All: short_of_memory_at_first;
    Processes: results_without_memory, many_results_without_memory, arguments_without_memory,
               arguments_kept_without_memory;
}

#[worker_task]
fn zeros(bytes: usize) -> Vec<u8> {
    vec![0; bytes]
}

#[worker_task]
fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// However little memory the program may have, a result that does not fit is an error of that task.
fn results_without_memory(method: StartMethod) -> Result<(), Error> {
    const BYTES: usize = 100 << 20;
    const SMALL_BYTES: usize = 3_000_000;
    let pool = pool(method)?;
    assert_usable(&pool);
    let mut refused = 0;
    for more in (20..=400).step_by(20) {
        let _limit = MemoryLimit::leaving(more << 20);
        let lengths = [
            zeros::apply(&pool, BYTES).map(|zeros| zeros.len()),
            text::apply(&pool, BYTES).map(|text| text.len()),
        ];
        for length in lengths {
            match length {
                Ok(length) => assert_eq!(length, BYTES),
                error => {
                    let error = task_error(error);
                    assert!(
                        matches!(error.kind(), TaskErrorKind::Decode(why) if why.contains("memory")),
                        "{error}"
                    );
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 0, "no limit was too small");
    let argument = vec![0; SMALL_BYTES];
    // Not even enough for one part of a result, nor in what the allocator has kept.
    for free in (4..=128).step_by(4) {
        assert_usable(&pool);
        let _limit = MemoryLimit::leaving(16 << 20);
        let mut rest = Vec::with_capacity(1 << 16);
        while rest.len() < rest.capacity() {
            let mut block = Vec::<u8>::new();
            if block.try_reserve_exact(64 << 10).is_err() {
                break;
            }
            rest.push(block);
        }
        rest.truncate(rest.len() - free);
        match len_or_death::apply(&pool, &argument) {
            Ok(len) => assert_eq!(len, SMALL_BYTES),
            error => {
                let error = task_error(error);
                assert!(
                    matches!(error.kind(), TaskErrorKind::Encode(why) if why.contains("memory")),
                    "{error}"
                );
            }
        }
        match zeros::apply(&pool, SMALL_BYTES) {
            Ok(zeros) => assert_eq!(zeros.len(), SMALL_BYTES),
            error => {
                let error = task_error(error);
                assert!(
                    matches!(error.kind(), TaskErrorKind::Decode(why) if why.contains("memory")),
                    "{error}"
                );
            }
        }
    }
    assert_usable(&pool);
    Ok(())
}

/// Limits the memory of this program until it is dropped.
struct MemoryLimit;

impl MemoryLimit {
    /// Leaves the program so many bytes beyond what it has.
    fn leaving(bytes: u64) -> Self {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        let (_, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
        setrlimit(Resource::RLIMIT_AS, (pages * 4096 + bytes).min(hard), hard).unwrap();
        Self
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let (_, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
        setrlimit(Resource::RLIMIT_AS, hard, hard).unwrap();
    }
}

/// Several large results together are more than one, wherever they wait for their caller.
fn many_results_without_memory(method: StartMethod) -> Result<(), Error> {
    const BYTES: usize = 30 << 20;
    let pool = pool(method)?;
    assert_usable(&pool);
    let is_told = |kind: &TaskErrorKind| matches!(kind, TaskErrorKind::Decode(why) if why.contains("memory"));
    let mut refused = 0;
    for more in (20..=320).step_by(60) {
        let _limit = MemoryLimit::leaving(more << 20);
        for outcome in zeros::job(&pool).chunk_size(1).map_outcomes([BYTES; 4])? {
            match outcome {
                Ok(zeros) => assert_eq!(zeros.len(), BYTES),
                Err(error) => assert!(is_told(error.kind()), "{error}"),
            }
        }
        match zeros::job(&pool).chunk_size(1).map_async([BYTES; 4]).get() {
            Ok(all) => assert!(all.len() == 4 && all.iter().all(|zeros| zeros.len() == BYTES)),
            error => {
                let error = task_error(error);
                assert!(is_told(error.kind()), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "no limit was too small");
    assert_usable(&pool);
    Ok(())
}

/// Ends its worker if the first byte says so.
#[worker_task]
fn len_or_death(bytes: &[u8]) -> usize {
    if bytes[0] == DEADLY {
        std::process::abort();
    }
    bytes.len()
}

const DEADLY: u8 = 2;

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Scattered(Vec<u32>);

#[worker_task]
fn sum_of(numbers: Scattered) -> u64 {
    numbers.0.into_iter().map(u64::from).sum()
}

/// However little memory the program may have: an argument that it cannot encode is that task's error, and so is one
/// that ends its worker, with the argument or without.
fn arguments_without_memory(method: StartMethod) -> Result<(), Error> {
    // Another arena would have room of its own for what is refused here.
    use_one_arena();
    // So large that the allocator gives it back at once.
    const BYTES: usize = 40 << 20;
    let pool = builder(method).workers(1).build()?;
    let (mild, deadly) = (vec![1; BYTES], vec![DEADLY; BYTES]);
    let numbers = || Scattered(vec![1; BYTES / 32]);
    let (mut refused, mut died) = (0, 0);
    let mut check = |result: Result<usize, Error>| match result {
        Ok(len) => assert_eq!(len, BYTES),
        Err(error @ Error::Start { .. }) => {
            assert!(error.to_string().contains("the background thread"), "{error}");
        }
        error => match task_error(error).kind() {
            TaskErrorKind::Encode(why) => {
                assert!(why.contains("no memory to encode it"), "{why}");
                refused += 1;
            }
            TaskErrorKind::Died(_) => died += 1,
            other => panic!("{other:?}"),
        },
    };
    // Encoding takes at most two copies, and another one was made for the error.
    for more in (2..=134).step_by(12) {
        let numbers = numbers();
        // The worker is there before the limit, which it would inherit.
        assert_usable(&pool);
        let _limit = MemoryLimit::leaving(more << 20);
        check(len_or_death::apply(&pool, &mild));
        check(len_or_death::apply_async(&pool, &mild).get());
        check(sum_of::apply(&pool, numbers).map(|sum| sum as usize * 32));
        check(len_or_death::apply(&pool, &deadly));
    }
    assert!(refused > 2 && died > 2, "{refused} refused, {died} died");
    assert_usable(&pool);
    Ok(())
}

/// An argument that goes to another worker is not copied: the memory of one is enough for all attempts.
fn arguments_kept_without_memory(method: StartMethod) -> Result<(), Error> {
    const BYTES: usize = 64 << 20;
    let pool = builder(method).workers(1).build()?;
    let (mild, deadly) = (vec![1; BYTES], vec![DEADLY; BYTES]);
    assert_usable(&pool);
    let limit = MemoryLimit::leaving((BYTES + BYTES / 2) as u64);
    let error = task_error(len_or_death::job(&pool).retries(2).apply(&deadly));
    assert!(matches!(error.kind(), TaskErrorKind::Died(_)) && error.attempts() == 3, "{error}");
    drop(limit);
    // One that has not begun.
    assert_usable(&pool);
    let limit = MemoryLimit::leaving((BYTES + BYTES / 2) as u64);
    let items = [&deadly[..8], &mild];
    let mut lens = len_or_death::job(&pool).chunk_size(2).map_outcomes(items)?.into_iter();
    let error = lens.next().unwrap().unwrap_err();
    assert!(matches!(error.kind(), TaskErrorKind::Died(_)), "{error}");
    assert_eq!(lens.next().unwrap().unwrap(), BYTES);
    drop(limit);
    assert_usable(&pool);
    Ok(())
}

/// Memory that is short while the pool is built and there again later: the pool knows its own process all the same.
fn short_of_memory_at_first(method: StartMethod) -> Result<(), Error> {
    // Memory from the allocator, so that no more of the system is needed.
    drop(std::hint::black_box(vec![vec![1u8; 1000]; 100]));
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    setrlimit(Resource::RLIMIT_AS, (pages * 4096).min(hard), hard).unwrap();
    let built = pool(method);
    setrlimit(Resource::RLIMIT_AS, hard, hard).unwrap();
    assert_usable(&built?);
    Ok(())
}
