//! A worker that writes over its lane: it dies, never the parent, and no wrong result is taken for right.
//!
//! `POOL_SCRIBBLE_ROUNDS` says how many rounds (100).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_exit, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{Random, assert_usable, builder, square, squares};

cases! {
    Processes: in_tasks, in_init, in_exit, at_any_time, wiped, orders_cannot_be_written;
}

fn rounds() -> u64 {
    std::env::var("POOL_SCRIBBLE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

/// The addresses of the worker's own half of the lane: its replies, which it can write.
fn lane(name: &str) -> (u64, u64) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains(name)).expect("a worker has its lane mapped");
    let (start, rest) = line.split_once('-').unwrap();
    let (end, _) = rest.split_once(' ').unwrap();
    let number = |text| u64::from_str_radix(text, 16).unwrap();
    (number(start), number(end))
}

/// Writes over the lane, in one of several ways.
fn scribble(seed: u64) {
    let memory: File = OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
    let (start, end) = lane("pool replies");
    let mut random = Random::new(seed);
    let mut noise = |len: usize| (0..len).map(|_| random.next() as u8).collect::<Vec<u8>>();
    let words = 4096;
    match seed % 6 {
        // The words alone.
        0 => memory.write_all_at(&noise(256), start).unwrap(),
        1 => {
            let bytes = noise(8);
            let at = u64::from(bytes[0] & 31) * 8;
            memory.write_all_at(&bytes, start + at).unwrap();
        }
        // The ring, from its start, from behind, here and there.
        2 => memory.write_all_at(&noise(64 << 10), start + words).unwrap(),
        3 => {
            for block in (0..16u64).rev() {
                memory.write_all_at(&noise(4096), start + words + block * 4096).unwrap();
            }
        }
        4 => {
            for _ in 0..500 {
                let bytes = noise(16);
                let at = u64::from_le_bytes(bytes[..8].try_into().unwrap()) % (64 << 10);
                memory.write_all_at(&bytes[8..], start + words + at).unwrap();
            }
        }
        // All of it.
        _ => memory.write_all_at(&noise((end - start) as usize), start).unwrap(),
    }
}

#[worker_task]
fn answer(seed: Option<u64>, x: u64) -> Vec<u64> {
    if let Some(seed) = seed {
        scribble(seed);
        match seed / 6 % 5 {
            0 => std::process::exit(0),
            1 => std::process::abort(),
            2 => panic!("it has scribbled"),
            _ => {}
        }
    }
    (x..x + 50).collect()
}

fn in_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    for round in 0..rounds() {
        let guilty = round * 7 % 40;
        let input = (0..40).map(|x| ((x == guilty).then_some(round), x));
        let job = answer::job(&pool).task_timeout(Duration::from_secs(5));
        let job = if round % 2 == 0 { job } else { job.chunk_size(10) };
        for (x, outcome) in (0..).zip(job.map_outcomes(input)?) {
            match outcome {
                Ok(values) => {
                    assert!(
                        values.iter().copied().eq(x..x + 50),
                        "round {round}: a wrong result of task {x}"
                    );
                }
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        TaskErrorKind::Died(_) | TaskErrorKind::TimedOut(_) | TaskErrorKind::Panicked(_)
                    ),
                    "round {round}: {error}"
                ),
            }
        }
        assert_usable(&pool);
    }
    Ok(())
}

/// Answers; if it is told to, a thread takes all answers back for a while, those that come later too.
#[worker_task]
fn answer_and_wipe(wipe: bool, x: u64) -> u64 {
    if wipe {
        std::thread::spawn(|| {
            let memory = OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
            let (start, _) = lane("pool replies");
            let end = Instant::now() + Duration::from_millis(200);
            while Instant::now() < end {
                memory.write_all_at(&[0; 16 << 10], start + 4096).unwrap();
            }
        });
    }
    x
}

fn wiped(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    for round in 0..rounds() / 5 {
        let input = (0..500).map(|x| (x == round, x));
        for (x, outcome) in (0..).zip(answer_and_wipe::job(&pool).map_outcomes(input)?) {
            match outcome {
                Ok(value) => assert_eq!(value, x, "round {round}"),
                Err(error) => {
                    assert!(matches!(error.kind(), TaskErrorKind::Died(_)), "round {round}: {error}");
                }
            }
        }
    }
    // The last threads may still be writing.
    assert_eq!(square::job(&pool).retries(9).map(0..100)?, squares(100));
    Ok(())
}

#[worker_init]
fn scribbling_init(#[shared] seed: &u64) -> u64 {
    scribble(*seed);
    1
}

#[worker_task(init = scribbling_init)]
fn after_init(#[state] one: &mut u64, x: u64) -> u64 {
    x * *one
}

fn in_init(method: StartMethod) -> Result<(), Error> {
    for seed in 0..rounds() / 10 {
        let pool: WorkerPool<u64> = builder(method).shared(seed).build()?;
        let job = after_init::job(&pool);
        let job = job.worker_init_timeout(Duration::from_secs(5)).task_timeout(Duration::from_secs(5));
        if let Ok(results) = job.map(0..100) {
            assert!(results.into_iter().eq(0..100), "seed {seed}");
        }
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task(exit = scribbling_exit)]
fn before_exit(#[state] calls: &mut u64, x: u64) -> u64 {
    *calls += 1;
    x
}

#[worker_exit]
fn scribbling_exit(#[shared] seed: &u64, #[state] calls: u64) -> u64 {
    scribble(*seed);
    calls
}

fn in_exit(method: StartMethod) -> Result<(), Error> {
    for seed in 0..rounds() / 10 {
        let pool: WorkerPool<u64> = builder(method).shared(seed).build()?;
        let job = before_exit::job(&pool).worker_exit_timeout(Duration::from_secs(5));
        assert!(job.map(0..100)?.into_iter().eq(0..100));
        if let Ok(ended) = pool.join() {
            assert!(ended.exit_results::<scribbling_exit>()?.iter().sum::<u64>() <= 100, "seed {seed}");
        }
    }
    Ok(())
}

/// Writes over the lane of worker 0 again and again, whatever the worker is doing meanwhile.
#[worker_init]
fn scribbler(#[worker_id] id: usize, #[shared] seed: &u64) -> u64 {
    let mut random = Random::new(*seed);
    if id == 0 {
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_micros(random.below(2000)));
                scribble(random.next());
            }
        });
    }
    1
}

#[worker_task(init = scribbler)]
fn repeat(#[state] one: &mut u64, x: u64, bytes: &[u8]) -> (u64, Vec<u8>) {
    (x * *one, bytes.to_vec())
}

fn at_any_time(method: StartMethod) -> Result<(), Error> {
    let bytes: Vec<u8> = (0..30_000).map(|x| x as u8).collect();
    for seed in 0..rounds() / 10 {
        let pool: WorkerPool<u64> = builder(method).shared(seed).build()?;
        let job = repeat::job(&pool).task_timeout(Duration::from_secs(5)).retries(3);
        let part = |x: u64| &bytes[..(x * 7919 % 30_000) as usize];
        let outcomes = job.map_outcomes((0..400).map(|x| (x, part(x))));
        // If it never gets beyond its init, that is the call's error.
        for (x, outcome) in (0..).zip(outcomes.unwrap_or_default()) {
            match outcome {
                Ok(result) => {
                    assert!(result == (x, part(x).to_vec()), "seed {seed}: a wrong result of task {x}");
                }
                Err(error) => assert!(
                    matches!(error.kind(), TaskErrorKind::Died(_) | TaskErrorKind::TimedOut(_)),
                    "seed {seed}: {error}"
                ),
            }
        }
        // The last of them may still be writing; its replacements are not.
        assert_eq!(square::job(&pool).retries(5).map(0..100)?, squares(100));
    }
    Ok(())
}

/// Whether the worker can write to its orders, by any way that the system offers.
#[worker_task]
fn can_write_orders() -> bool {
    let (start, _) = lane("pool orders");
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains("pool orders")).unwrap();
    let anew = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/map_files/{}", line.split(' ').next().unwrap()));
    let written = anew.is_ok_and(|file| file.write_all_at(&[1; 8], 4096).is_ok());
    let _ = start;
    line.contains(" rw") || written
}

fn orders_cannot_be_written(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    assert_eq!(can_write_orders::par_map(&pool, [(), ()])?, [false, false]);
    Ok(())
}
