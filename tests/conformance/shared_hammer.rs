//! All shared types under load: first by two workers, then by workers that are killed meanwhile, then with workers that
//! overwrite the shared memory.
//!
//! `POOL_HAMMER_SECONDS` sets how long each case takes (default: 0.5).

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool::shared::{
    BarrierError, SharedArray, SharedBarrier, SharedCounter, SharedMutex, SharedSemaphore, SharedValue,
};
use pool::{Error, StartMethod, worker_task};
use serde::{Deserialize, Serialize};

use crate::harness::cases;
use crate::support::{Random, assert_usable, builder};

cases! {
    All: together;
    Processes: killed_at_random, scribbled_over;
}

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// How long a case takes.
fn duration() -> Duration {
    let seconds = std::env::var("POOL_HAMMER_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(0.5))
}

/// One object of each type.
#[derive(Clone, Serialize, Deserialize)]
struct Anvil {
    integers: SharedArray<u16>,
    floats: SharedArray<f64>,
    largest: SharedValue<i64>,
    strokes: SharedCounter,
    /// A count, and three times that.
    pair: SharedMutex<[u64; 2]>,
    semaphore: SharedSemaphore,
    inside: SharedValue<u32>,
    barrier: SharedBarrier,
    /// The processes at work, which are to be killed.
    workers: SharedArray<i32>,
}

impl Anvil {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            integers: SharedArray::zeroed(16)?,
            floats: SharedArray::zeroed(16)?,
            largest: SharedValue::new(i64::MIN)?,
            strokes: SharedCounter::new(0)?,
            pair: SharedMutex::new([0, 0])?,
            semaphore: SharedSemaphore::new(1)?,
            inside: SharedValue::new(0)?,
            barrier: SharedBarrier::new(2)?,
            workers: SharedArray::zeroed(2)?,
        })
    }

    /// Uses everything that works without a partner.
    fn strike(&self, stroke: u64) {
        self.integers.fetch_add((stroke % 16) as usize, 1);
        self.floats.fetch_add((stroke % 16) as usize, 0.5);
        self.largest.fetch_update(|largest| largest.max(stroke.cast_signed()));
        self.strokes.fetch_add(1);
        {
            let mut pair = self.pair.lock().unwrap_or_else(|poisoned| {
                let mut pair = poisoned.into_inner();
                // A dead holder has left at most one change unfinished.
                assert!(pair[1].abs_diff(pair[0] * 3) <= 3, "{pair:?}");
                pair[1] = pair[0] * 3;
                self.pair.clear_poison();
                pair
            });
            assert_eq!(pair[1], pair[0] * 3);
            pair[0] += 1;
            pair[1] += 3;
        }
        let _permit = self.semaphore.acquire();
        // A worker that died here has left its number, but no living worker is inside.
        let before = self.inside.swap(std::process::id());
        assert!(before == 0 || is_dead(before), "process {before} is inside too");
        self.inside.set(0);
    }
}

/// By proc_pid_stat(5): the state follows the name, which is in parentheses.
fn is_dead(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with(['Z', 'X']))
}

/// Works for this many milliseconds, and returns its number of strokes.
#[worker_task]
fn hammer(#[shared] anvil: &Anvil, millis: u64) -> Result<u64, BarrierError> {
    let end = Instant::now() + Duration::from_millis(millis);
    let mut strokes = 0;
    let until_end = anvil.barrier.wait_timeout(LONG)?;
    while Instant::now() < end {
        for _ in 0..100 {
            anvil.strike(strokes);
            strokes += 1;
        }
    }
    anvil.barrier.wait_timeout(LONG)?;
    // Both workers stay in step for a while.
    for _ in 0..100 {
        anvil.barrier.wait_timeout(LONG)?;
    }
    assert!(until_end < 2);
    Ok(strokes)
}

fn together(method: StartMethod) -> Result<(), Error> {
    let anvil = Anvil::new()?;
    let pool = builder(method).order_tasks(true).shared(anvil.clone()).build()?;
    let millis = duration().as_millis() as u64;
    let strokes = hammer::job(&pool).chunk_size(1).map([millis; 2])?;
    let strokes: Vec<u64> = strokes.into_iter().map(|strokes| strokes.expect("both are there")).collect();
    let all: u64 = strokes.iter().sum();
    assert_eq!(anvil.strokes.get(), all);
    assert_eq!(*anvil.pair.lock().unwrap(), [all, all * 3]);
    assert_eq!(anvil.largest.get(), strokes.iter().max().unwrap().cast_signed() - 1);
    assert_eq!(anvil.floats.iter().sum::<f64>(), all as f64 / 2.0);
    let integers = anvil.integers.iter().fold(0u16, |sum, integer| sum.wrapping_add(integer));
    assert_eq!(integers, all as u16);
    Ok(())
}

/// Strikes until it is killed or time is up.
#[worker_task]
fn strike_until(#[shared] anvil: &Anvil, #[worker_id] id: usize, millis: u64) -> u64 {
    let end = Instant::now() + Duration::from_millis(millis);
    anvil.workers.set(id, std::process::id().cast_signed());
    let mut strokes = 0;
    while Instant::now() < end {
        anvil.strike(strokes);
        strokes += 1;
    }
    anvil.workers.set(id, 0);
    strokes
}

fn killed_at_random(method: StartMethod) -> Result<(), Error> {
    let anvil = Anvil::new()?;
    let pool = builder(method).shared(anvil.clone()).build()?;
    let end = Instant::now() + duration();
    let mut random = Random::new(u64::from(std::process::id()));
    let mut kills = 0;
    while Instant::now() < end {
        anvil.workers.fill(0);
        let tasks: Vec<_> = (0..2).map(|_| strike_until::apply_async(&pool, 20)).collect();
        for id in 0..2 {
            let begun = Instant::now();
            while anvil.workers.get(id) == 0 && begun.elapsed() < Duration::from_millis(50) {
                std::hint::spin_loop();
            }
            let pause = Duration::from_micros(random.below(3_000));
            std::thread::sleep(pause);
            let pid = anvil.workers.get(id);
            if pid != 0 && random.below(3) > 0 && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
                kills += 1;
            }
        }
        for task in tasks {
            // The worker may have been killed.
            let _ = task.get_timeout(LONG);
        }
        // However they died, everything still works.
        anvil.strike(0);
    }
    println!("{kills} workers were killed");
    let pair = anvil.pair.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(pair[0] > 0 && anvil.strokes.get() > 0);
    drop(pair);
    assert!(anvil.semaphore.acquire_timeout(LONG).is_some());
    assert_usable(&pool);
    Ok(())
}

/// Overwrites the first bytes of a shared object with noise.
#[worker_task]
fn scribble(#[shared] anvil: &Anvil, what: &str, seed: u64) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let memory = OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
    let mut random = Random::new(seed);
    let name = format!("/memfd:pool {what} ");
    // The pages that are writable; the others hold the locks.
    for line in maps.lines().filter(|line| line.contains(&name) && line.contains(" rw-s ")) {
        let start = u64::from_str_radix(line.split_once('-').unwrap().0, 16).unwrap();
        let noise: Vec<u8> = (0..128).map(|_| random.next() as u8).collect();
        memory.write_all_at(&noise, start).unwrap();
    }
    assert_eq!(anvil.workers.len(), 2);
}

fn scribbled_over(method: StartMethod) -> Result<(), Error> {
    let anvil = Anvil::new()?;
    let pool = builder(method).shared(anvil.clone()).build()?;
    let end = Instant::now() + duration();
    let mut seed = 0;
    while seed == 0 || Instant::now() < end {
        for what in ["SharedArray", "SharedMutex", "SharedSemaphore", "SharedBarrier"] {
            seed += 1;
            scribble::apply(&pool, (what, seed))?;
        }
        assert_eq!(anvil.integers.to_vec().len(), 16);
        let _ = anvil.pair.lock();
        anvil.pair.clear_poison();
        assert!(anvil.pair.try_lock_for(LONG).is_ok());
        assert!(anvil.semaphore.acquire_timeout(LONG).is_some() && anvil.semaphore.try_acquire().is_some());
        assert!(anvil.barrier.wait_timeout(Duration::from_millis(1)).is_err());
        anvil.barrier.reset();
        assert_eq!(anvil.barrier.wait_timeout(Duration::from_millis(1)), Err(BarrierError::TimedOut));
    }
    Ok(())
}
