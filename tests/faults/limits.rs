//! Limits on what a worker uses: memory, and descriptors of the parent.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pool::shared::SharedArray;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{assert_fails, assert_usable, builder, pool, ready, square, squares, task_error};

cases! {
    All: wrong_limits;
    Processes: leaks, within_the_limit, bursts, init_is_the_baseline, a_later_init_is_too, few_descriptors,
               blinded_workers, a_blinded_parent, same_descriptors, small_files;
}

const MIB: u64 = 1 << 20;

fn wrong_limits(method: StartMethod) -> Result<(), Error> {
    assert_fails!(builder(method).memory_limit(0).build(), Error::Option { option: "memory_limit", .. });
    if !method.is_process() {
        assert_fails!(
            builder(method).memory_limit(MIB).build(),
            Error::Option { option: "memory_limit", .. }
        );
    }
    Ok(())
}

static LEAKED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Keeps this many bytes for good, and returns the worker's number.
#[worker_task]
fn leak(bytes: usize) -> (u32, u64) {
    let mut leaked = LEAKED.lock().unwrap();
    leaked.push(vec![1; bytes]);
    (std::process::id(), leaked.iter().map(|bytes| bytes.len() as u64).sum())
}

fn leaks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).memory_limit(16 * MIB).build()?;
    for chunk in [1, 100] {
        let results = leak::job(&pool).chunk_size(chunk).map([4 << 20; 100])?;
        let mut processes: Vec<u32> = results.iter().map(|(process, _)| *process).collect();
        processes.dedup();
        assert!(processes.len() >= 100 / 6, "{} processes", processes.len());
        // A worker that is over the limit by one task was seen between tasks.
        let most = results.iter().map(|(_, held)| *held).max().unwrap();
        assert!((16 * MIB..=32 * MIB).contains(&most), "{most} bytes were held");
    }
    Ok(())
}

fn within_the_limit(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).memory_limit(64 * MIB).build()?;
    let mut processes: Vec<u32> =
        leak::par_map(&pool, [1000; 1000])?.iter().map(|(process, _)| *process).collect();
    processes.dedup();
    assert_eq!(processes.len(), 1);
    Ok(())
}

/// Takes much memory, unless it is told to take none, and holds it until it is killed for that.
#[worker_task]
fn burst(bursts: bool, x: u64) -> u64 {
    if !bursts {
        return x;
    }
    let _held = std::hint::black_box(vec![1u8; 256 * MIB as usize]);
    loop {
        std::thread::park();
    }
}

pub(super) fn bursts(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).memory_limit(32 * MIB).build()?;
    let outcomes = burst::par_map_outcomes(&pool, (0..20).map(|x| (x == 7, x)))?;
    for (index, outcome) in outcomes.iter().enumerate() {
        if index == 7 {
            let error = outcome.as_ref().unwrap_err();
            let TaskErrorKind::Died(death) = error.kind() else { panic!("{error}") };
            assert!(death.out_of_memory() && death.to_string().contains("limit of 33554432"), "{death}");
        } else {
            assert_eq!(outcome.as_ref().ok(), Some(&(index as u64)));
        }
    }
    let error = task_error(burst::job(&pool).retries(2).apply((true, 1)));
    assert_eq!(error.attempts(), 3);
    assert_eq!(error.earlier_attempts().len(), 2);
    assert!(error.earlier_attempts().iter().all(|kind| matches!(kind, TaskErrorKind::Died(_))));
    assert_usable(&pool);
    Ok(())
}

#[worker_init]
fn large_state() -> Vec<u8> {
    vec![1; 200 << 20]
}

#[worker_task(init = large_state)]
fn with_large_state(#[state] state: &mut Vec<u8>, x: usize) -> (u32, u8) {
    (std::process::id(), state[x])
}

fn init_is_the_baseline(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).memory_limit(32 * MIB).build()?;
    let mut processes: Vec<u32> =
        with_large_state::par_map(&pool, 0..1000)?.iter().map(|(process, _)| *process).collect();
    processes.dedup();
    assert_eq!(processes.len(), 1, "what init has made is not counted");
    Ok(())
}

#[worker_init]
fn slow_large_state() -> Vec<u8> {
    let state = large_state();
    std::thread::sleep(Duration::from_millis(100));
    state
}

/// A worker that has a baseline already makes the state of another task.
fn a_later_init_is_too(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).memory_limit(32 * MIB).build()?;
    let (process, _) = leak::apply(&pool, 1)?;
    let job = with_large_state::job(&pool).worker_init::<slow_large_state>();
    assert_eq!(job.apply(0)?, (process, 1));
    Ok(())
}

fn few_descriptors(method: StartMethod) -> Result<(), Error> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // Room for some of the workers, or for none, so that it runs out at any point of a start.
    for room in 0..48 {
        setrlimit(Resource::RLIMIT_NOFILE, open + room, hard).unwrap();
        let built = builder(method).workers(16).build();
        let result = built.and_then(|pool| square::par_map(&pool, 0..200));
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        match result {
            Ok(results) => assert_eq!(results, squares(200), "with fewer workers"),
            Err(Error::Start { reason, .. }) => {
                assert!(reason.contains("EMFILE") || reason.contains("open files"), "{reason}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_usable(&pool(method)?);
    Ok(())
}

/// Asserts that this call's worker was killed because it held too much.
#[track_caller]
fn assert_out_of_memory<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = task_error(result);
    assert!(matches!(error.kind(), TaskErrorKind::Died(death) if death.out_of_memory()), "{error}");
}

/// Asserts that a worker of this pool that takes much memory is killed for that.
#[track_caller]
pub(super) fn assert_limited(pool: &WorkerPool) {
    assert_out_of_memory(burst::apply(pool, (true, 1)));
}

/// The descriptors on which this process measures memory.
fn meters() -> Vec<i32> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let meters =
        open.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|file| file.ends_with("statm")));
    meters.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Puts a file in place of these descriptors.
fn replace(numbers: &[i32], file: &File) {
    for number in numbers {
        // SAFETY: not sound for the pool, whose descriptor is replaced: this is the fault that is tested.
        #[expect(unsafe_code)]
        let replaced = unsafe { nix::libc::dup2(file.as_raw_fd(), *number) };
        assert_eq!(replaced, *number);
    }
}

/// A file that reads like the measure of a process that holds far too much.
fn false_measure() -> File {
    let file = File::from(memfd_create("pool tests", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all_at(b"900000000 800000000 0 0 0 0 0\n", 0).unwrap();
    file
}

/// Loses its worker the descriptor with which that measures itself, and lets it open no other one. Returns the worker's
/// number.
#[worker_task]
fn lose_the_meter(x: usize) -> u32 {
    let meters = meters();
    assert_eq!(meters.len(), 1, "{x}");
    replace(&meters, &false_measure());
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    std::process::id()
}

/// A worker that can't measure itself any more is replaced after its task.
fn blinded_workers(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).memory_limit(32 * MIB).build()?;
    let mut processes = lose_the_meter::job(&pool).chunk_size(10).map(0..10)?;
    processes.sort();
    processes.dedup();
    assert_eq!(processes.len(), 10, "one for each task");
    assert_limited(&pool);
    Ok(())
}

/// A program that closes the descriptor with which it measures a worker gets another one, and reads nothing from the
/// file that has the number now.
fn a_blinded_parent(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).memory_limit(32 * MIB).build()?;
    let before = meters();
    let (process, _) = leak::apply(&pool, 1)?;
    let mut meters = meters();
    meters.retain(|meter| !before.contains(meter));
    assert_eq!(meters.len(), 1);
    let file = false_measure();
    replace(&meters, &file);
    assert_eq!(linger::apply(&pool, ())?, process);
    assert_limited(&pool);
    drop(pool);
    // Its number is still the program's.
    let link = std::fs::read_link(format!("/proc/self/fd/{}", meters[0])).unwrap();
    assert!(link.to_string_lossy().contains("pool tests"), "{link:?}");
    nix::unistd::close(meters[0]).unwrap();
    Ok(())
}

/// Takes long enough for a look at the memory of its worker, whose number it returns.
#[worker_task]
fn linger() -> u32 {
    std::thread::sleep(Duration::from_millis(100));
    std::process::id()
}

/// Runs it with this limit on the length of files.
fn with_small_files<R>(bytes: u64, run: impl FnOnce() -> R) -> R {
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, bytes, hard).unwrap();
    let result = run();
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard).unwrap();
    result
}

/// Makes an array larger than the worker may.
#[worker_task]
fn array_in_small_files(bytes: u64) -> Option<String> {
    with_small_files(bytes, || SharedArray::<u8>::zeroed(1 << 20)).err().map(|error| error.to_string())
}

/// Each of these would end the program by SIGXFSZ.
fn small_files(method: StartMethod) -> Result<(), Error> {
    #[track_caller]
    fn check<T>(result: Result<Vec<T>, Error>) {
        match result {
            Ok(_) => {}
            Err(Error::Start { reason, .. }) => {
                assert!(reason.contains("RLIMIT_FSIZE") && reason.contains("ulimit -f"), "{reason}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    for bytes in [0, 1, MIB, 16 * MIB] {
        let squares = || builder(method).build().and_then(|pool| square::par_map(&pool, 0..100));
        check(with_small_files(bytes, squares));
        // A worker that was there before, and those that would take its place.
        let pool = ready(method)?;
        check(with_small_files(bytes, || square::job(&pool).worker_lifespan(1).map(0..10)));
        drop(pool);
        let large = || builder(method).shared(vec![7u8; 32 << 20]).build();
        check(with_small_files(bytes, || large().and_then(|pool| square::par_map(&pool, 0..100))));
    }
    let pool = builder(method).insights(true).build()?;
    assert_usable(&pool);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("timeline-{}", std::process::id()));
    let saved = with_small_files(100, || pool.timeline().save(&path)).unwrap_err();
    std::fs::remove_file(path).unwrap();
    assert!(saved.to_string().contains("RLIMIT_FSIZE"), "{saved}");
    with_small_files(100, || pool.timeline().save("/dev/null")).unwrap();
    drop(pool);
    // Methods that make no file for the value are not affected: workers inherit it. The others report the limit.
    let shared = with_small_files(16 * MIB, || builder(method).shared(vec![7u8; 32 << 20]).build());
    assert_eq!(shared.is_err(), method != StartMethod::Fork);
    let pool = ready(method)?;
    let error = array_in_small_files::apply(&pool, 1 << 16)?.expect("it is too large");
    assert!(error.contains("RLIMIT_FSIZE"), "{error}");
    assert_usable(&pool);
    Ok(())
}

/// The open descriptors of this process.
#[worker_task]
fn descriptors() -> Vec<String> {
    let mut open: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|file| file.to_string_lossy().split(':').next().unwrap_or_default().to_owned())
        .filter(|file| !file.starts_with("/proc/"))
        .collect();
    open.sort();
    open
}

fn same_descriptors(method: StartMethod) -> Result<(), Error> {
    let before = descriptors().len();
    let pools = [builder(method).workers(3).build()?, builder(method).workers(3).build()?];
    let mut seen: Vec<Vec<String>> = Vec::new();
    for _ in 0..2 {
        for pool in &pools {
            // The second time, the workers are replacements.
            seen.extend(descriptors::job(pool).worker_lifespan(1).chunk_size(1).map([(); 6])?);
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    // The descriptors with which this program was started, the parent's waker, and the two ties to the parent.
    assert!(seen[0].len() <= before + 3, "{before} before: {seen:?}");
    Ok(())
}
