//! Random calls and faults from several threads on one pool, for a while: memory, descriptors, mappings and processes
//! end up as they began.
//!
//! `POOL_SOAK_SECONDS` says for how long (10).

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_task};

use crate::harness::cases;
use crate::harness::leftovers::threads;
use crate::support::{Random, assert_usable, builder, die, use_one_arena};

cases! {
    Processes: random_calls_and_faults;
}

#[derive(Default)]
struct Calls(u64);

/// Ends as its fate says, or returns bytes.
#[worker_task]
fn live(#[state] calls: &mut Calls, fate: u32, x: u64, bytes: &[u8]) -> (u64, Vec<u8>) {
    calls.0 += 1;
    match fate {
        0 => panic!("as fate would have it"),
        1 => die(Signal::SIGKILL),
        2 => std::process::exit(5),
        3 => loop {
            std::hint::spin_loop();
        },
        _ => (x, bytes.to_vec()),
    }
}

/// The system's allocator, with a count of the allocated bytes: resident memory says little, because allocators keep
/// freed memory.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all calls go to the system's allocator unchanged.
#[expect(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's word.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's word.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.fetch_add(size, Ordering::Relaxed);
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's word.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// The resources of this process that may leak.
#[derive(Debug, Clone, Copy)]
struct Possessions {
    descriptors: usize,
    mappings: usize,
    threads: usize,
    allocated: usize,
    resident_kib: u64,
}

impl Possessions {
    /// What it has once the pool's own threads have ended, which they do when they have nothing to do.
    fn now() -> Self {
        while threads().iter().any(|name| ["pool background", "pool callbacks"].contains(&&**name)) {
            thread::yield_now();
        }
        // SAFETY: it only returns free memory to the system.
        #[cfg(target_env = "gnu")]
        unsafe {
            nix::libc::malloc_trim(0);
        }
        let entries = |path| fs::read_dir(path).unwrap().count();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        Self {
            descriptors: entries("/proc/self/fd"),
            mappings: fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
            threads: threads().len(),
            allocated: ALLOCATED.load(Ordering::Relaxed),
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

fn one_call(pool: &WorkerPool, random: &mut Random) {
    let len = [0, 3, 100, 5000, 200_000][random.below(5) as usize];
    let bytes = vec![random.below(256) as u8; len];
    let n = random.below(60);
    let faults = random.below(3) == 0;
    let seed = random.below(u64::from(u32::MAX));
    let fate = |x: u64| if faults { ((seed + x * 2_654_435_761) % 97) as u32 } else { 50 };
    let hangs = (0..n).any(|x| fate(x) == 3);
    // Tasks that hang end by a short limit, and then a loaded machine may hold up any other as long.
    let limit = Duration::from_secs(if hangs { 4 } else { 60 });
    let items = (0..n).map(|x| (fate(x), x, &*bytes));
    let check = |x: u64, outcome: Result<&(u64, Vec<u8>), &TaskErrorKind>| match (fate(x), outcome) {
        // A panic may exceed the limit while its backtrace is made.
        (0, Err(TaskErrorKind::Panicked(_) | TaskErrorKind::TimedOut(_)))
        | (1 | 2, Err(TaskErrorKind::Died(_)))
        | (3, Err(TaskErrorKind::TimedOut(_))) => {}
        (_, Err(TaskErrorKind::TimedOut(_))) if hangs => {}
        (_, Ok((result, echo))) => assert!(*result == x && *echo == bytes),
        (fate, other) => panic!("task {x} of fate {fate}: {:?}", other.err()),
    };
    let job = live::job(pool).task_timeout(limit);
    let job = if random.below(4) == 0 { job.worker_lifespan(1 + random.below(30) as usize) } else { job };
    let job = if random.below(3) == 0 { job.chunk_size(1 + random.below(9) as usize) } else { job };
    match random.below(5) {
        0 => {
            let taken = random.below(n + 1) as usize;
            for (x, result) in (0..).zip(job.imap(items).take(taken)) {
                let result = result
                    .map_err(|error| error.task().map(|task| task.kind().clone()).expect("a task's error"));
                check(x, result.as_ref());
            }
        }
        1 => {
            let result = job.map(items);
            assert!(result.is_ok() || (0..n).any(|x| fate(x) < 4), "{:?}", result.err());
        }
        2 => {
            let result = job.map_async(items);
            if random.below(2) == 0 {
                result.cancel();
            }
            let _ = result.get();
        }
        _ => {
            let outcomes = job.map_outcomes(items).unwrap();
            assert_eq!(outcomes.len() as u64, n);
            for (x, outcome) in (0..).zip(outcomes) {
                check(x, outcome.as_ref().map_err(|error| error.kind()));
            }
        }
    }
}

fn random_calls_and_faults(method: StartMethod) -> Result<(), Error> {
    let seconds = std::env::var("POOL_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    // The C library's allocator would keep free memory in an arena for each thread, for good.
    use_one_arena();
    let pool = builder(method).build()?;
    assert_usable(&pool);
    let mut before = None;
    // The first round warms allocators and buffers up.
    for seconds in [1.min(seconds), seconds] {
        let end = Instant::now() + Duration::from_secs(seconds);
        thread::scope(|scope| {
            let call = |seed| {
                let mut random = Random::new(seed);
                while Instant::now() < end {
                    one_call(&pool, &mut random);
                }
            };
            let callers: Vec<_> = (1..=4).map(|seed| scope.spawn(move || call(seed))).collect();
            // The scope would not wait until they are gone.
            callers.into_iter().for_each(|caller| caller.join().unwrap());
        });
        assert_usable(&pool);
        before.get_or_insert_with(Possessions::now);
    }
    let (before, after) = (before.unwrap(), Possessions::now());
    println!("before {before:?}\nafter  {after:?}");
    assert!(after.descriptors <= before.descriptors + 20, "{before:?} {after:?}");
    assert!(after.threads <= before.threads + 1, "{before:?} {after:?}");
    assert!(after.mappings <= before.mappings + 20, "{before:?} {after:?}");
    assert!(after.allocated <= before.allocated + (4 << 20), "{before:?} {after:?}");
    if cfg!(target_env = "gnu") {
        assert!(after.resident_kib <= before.resident_kib + (8 << 10), "{before:?} {after:?}");
    }
    Ok(())
}
