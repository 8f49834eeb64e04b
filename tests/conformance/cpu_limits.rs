//! A task may use so much CPU time, whatever the time that passes meanwhile.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use pool::shared::SharedCounter;
use pool::{Error, Retry, StartMethod, TaskError, TaskErrorKind, worker_task};
use serde::{Deserialize, Serialize};

use crate::harness::cases;
use crate::support::{assert_fails, assert_usable, builder, pool, ready, square, task_error};

cases! {
    All: wrong_limits;
    Processes: sleeping_is_free, spinning_is_not, each_call, threads_count_together, waited_children_count,
        beside_a_busy_machine, each_task_has_its_own, short_tasks, retried, while_nobody_asks, with_a_time_limit,
        with_a_much_later_one, panics_have_time_for_a_backtrace, reduced, in_an_init_function;
}

const LIMIT: Duration = Duration::from_millis(100);

/// How much CPU time this process has used.
fn used() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("there is such a clock"))
}

/// Uses so much of it.
fn spin(time: Duration) {
    let began = used();
    while used() - began < time {
        std::hint::spin_loop();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Does {
    Sleep(u64),
    Spin(u64),
    SpinForEver,
    SpinInThreads(usize),
}
use Does::{Sleep, Spin, SpinForEver, SpinInThreads};

fn run(does: Does) {
    match does {
        Sleep(ms) => std::thread::sleep(Duration::from_millis(ms)),
        Spin(ms) => spin(Duration::from_millis(ms)),
        SpinForEver => spin(Duration::MAX),
        SpinInThreads(threads) => std::thread::scope(|scope| {
            (0..threads).for_each(|_| _ = scope.spawn(|| spin(Duration::MAX)));
        }),
    }
}

#[worker_task]
fn act(does: Does, x: u64) -> u64 {
    run(does);
    x
}

#[worker_task]
fn add(one: u64, other: u64) -> u64 {
    one + other
}

#[track_caller]
fn assert_over(error: &TaskError, limit: Duration) {
    match error.kind() {
        TaskErrorKind::CpuLimitExceeded { used, limit: of } => {
            assert!(*of == limit && *used >= limit, "{error}");
        }
        _ => panic!("{error}"),
    }
    let text = error.to_string();
    assert!(text.contains("of CPU time, more than its limit of 100ms, its worker was killed"), "{text}");
}

/// Far longer than the limit.
fn sleeping_is_free(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || act::job(&pool).cpu_limit(LIMIT);
    assert_eq!(job().map([(Sleep(600), 1), (Sleep(700), 2)])?, [1, 2]);
    assert_eq!(job().apply_async((Sleep(500), 3)).get()?, 3);
    Ok(())
}

fn spinning_is_not(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for chunk in [1, 6] {
        let does = [Sleep(1), SpinForEver, Spin(20), SpinForEver, Sleep(300), Spin(1)];
        let job = act::job(&pool).chunk_size(chunk).cpu_limit(LIMIT);
        let outcomes = job.map_outcomes((0..6).map(|x| (does[x as usize], x)))?;
        for (x, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(value) => assert!(value == x && does[x as usize] != SpinForEver),
                Err(error) => {
                    assert_eq!((does[x as usize], error.task_index() as u64), (SpinForEver, x));
                    assert_over(&error, LIMIT);
                }
            }
        }
        assert_usable(&pool);
    }
    Ok(())
}

fn each_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || act::job(&pool).cpu_limit(LIMIT);
    let items = [(SpinForEver, 1)];
    let errors = [
        job().map(items).map(drop),
        job().map_unordered(items).map(drop),
        job().map_into(items, &mut [0]).map(drop),
        job().apply(items[0]).map(drop),
        job().imap(items).next().unwrap().map(drop),
        job().map_async(items).get().map(drop),
        job().apply_async(items[0]).get().map(drop),
        job().on_each_worker(items[0])?.remove(0).map(drop).map_err(Error::Task),
    ];
    errors.map(task_error).iter().for_each(|error| assert_over(error, LIMIT));
    assert_usable(&pool);
    Ok(())
}

fn threads_count_together(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for threads in [1, 2, 8] {
        let error = task_error(act::job(&pool).cpu_limit(LIMIT).apply((SpinInThreads(threads), 1)));
        assert_over(&error, LIMIT);
    }
    Ok(())
}

/// A shell that uses this much CPU time, or more.
fn shell(for_ever: bool) -> Child {
    let script =
        if for_ever { "while :; do :; done" } else { "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done" };
    Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::null()).spawn().expect("there is a shell")
}

#[worker_task]
fn wait_for_children(count: usize) {
    for _ in 0..count {
        assert!(shell(false).wait().expect("it is a child").success());
    }
}

fn waited_children_count(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(wait_for_children::job(&pool).cpu_limit(LIMIT).apply(10_000));
    assert_over(&error, LIMIT);
    assert_usable(&pool);
    Ok(())
}

/// What others use is theirs.
fn beside_a_busy_machine(method: StartMethod) -> Result<(), Error> {
    struct Others(Vec<Child>);
    impl Drop for Others {
        fn drop(&mut self) {
            for other in &mut self.0 {
                let _ = other.kill();
                let _ = other.wait();
            }
        }
    }
    let pool = ready(method)?;
    let _others = Others((0..6).map(|_| shell(true)).collect());
    let began = Instant::now();
    let limit = 5 * LIMIT;
    let job = act::job(&pool).cpu_limit(limit);
    // Each of them uses most of its limit, which takes several times as long here.
    assert_eq!(job.map((0..4).map(|x| (Spin(250), x)))?, [0, 1, 2, 3]);
    assert!(began.elapsed() >= limit);
    Ok(())
}

/// In one worker, whose clock goes on from task to task.
fn each_task_has_its_own(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for chunk in [1, 20] {
        let job = act::job(&pool).chunk_size(chunk).cpu_limit(LIMIT);
        assert_eq!(job.map((0..20).map(|x| (Spin(30), x)))?.len(), 20);
    }
    Ok(())
}

fn short_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || square::job(&pool).cpu_limit(LIMIT);
    assert_eq!(job().map(0..200_000)?.len(), 200_000);
    let calls: Vec<_> = (0..2000).map(|x| job().apply_async(x)).collect();
    assert!((0..).zip(&calls).all(|(x, call)| call.get().is_ok_and(|value| value == square(x))));
    Ok(())
}

#[worker_task]
fn spins_at_first(#[shared] tries: &SharedCounter) -> u64 {
    let tried = tries.fetch_add(1);
    if tried < 2 {
        spin(Duration::MAX);
    }
    tried
}

fn retried(method: StartMethod) -> Result<(), Error> {
    let is_over = |error: &TaskError| matches!(error.kind(), TaskErrorKind::CpuLimitExceeded { .. });
    for retry in [Retry::times(2), Retry::times(9).on(is_over)] {
        let pool = builder(method).shared(SharedCounter::new(0)?).build()?;
        assert_eq!(spins_at_first::job(&pool).cpu_limit(LIMIT).retry(retry).apply(())?, 2);
    }
    Ok(())
}

fn while_nobody_asks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let mut results = act::job(&pool).cpu_limit(LIMIT).imap([(SpinForEver, 0)]);
    // It gets the only worker once that is free, although nobody asks for the first result.
    assert_eq!(act::apply(&pool, (Sleep(0), 1))?, 1);
    assert_over(&task_error(results.next().unwrap()), LIMIT);
    Ok(())
}

/// The one that is reached first counts.
fn with_a_time_limit(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || act::job(&pool).task_timeout(5 * LIMIT);
    let error = task_error(job().cpu_limit(LIMIT).apply((Sleep(100_000), 1)));
    assert!(matches!(error.kind(), TaskErrorKind::TimedOut(limit) if *limit == 5 * LIMIT), "{error}");
    let error =
        task_error(act::job(&pool).task_timeout(600 * LIMIT).cpu_limit(LIMIT).apply((SpinForEver, 1)));
    assert_over(&error, LIMIT);
    Ok(())
}

fn with_a_much_later_one(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for limit in [Duration::from_secs(3600), Duration::MAX] {
        assert_eq!(act::job(&pool).cpu_limit(limit).map([(Spin(200), 1), (Sleep(50), 2)])?, [1, 2]);
    }
    let outcomes = act::job(&pool).cpu_limit(Duration::from_nanos(1)).map_outcomes([(SpinForEver, 1)])?;
    assert!(outcomes[0].is_err());
    Ok(())
}

#[worker_task]
fn spin_and_panic(ms: u64) {
    spin(Duration::from_millis(ms));
    std::panic::resume_unwind(Box::new("in time"));
}

fn panics_have_time_for_a_backtrace(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(spin_and_panic::job(&pool).cpu_limit(LIMIT).apply(30));
    assert!(matches!(error.kind(), TaskErrorKind::Panicked(_)), "{error}");
    Ok(())
}

fn reduced(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || act::job(&pool).chunk_size(20).cpu_limit(LIMIT);
    // Together they use far more than one of them may.
    assert_eq!(job().reduce::<add>((0..40).map(|x| (Spin(20), x)))?, Some((0..40).sum()));
    let items = (0..40).map(|x| (if x == 33 { SpinForEver } else { Spin(1) }, x));
    let error = task_error(job().reduce::<add>(items));
    assert_eq!(error.task_index(), 33);
    assert_over(&error, LIMIT);
    Ok(())
}

/// It has a limit of its own.
fn in_an_init_function(method: StartMethod) -> Result<(), Error> {
    #[derive(Clone, Copy)]
    struct Slow;
    #[pool::worker_init]
    fn slow() -> Slow {
        spin(4 * LIMIT);
        Slow
    }
    #[worker_task(init = slow)]
    fn with_slow(#[state] _slow: &mut Slow, x: u64) -> u64 {
        x
    }
    let pool = builder(method).workers(1).build()?;
    assert_eq!(with_slow::job(&pool).cpu_limit(LIMIT).map(0..3)?, [0, 1, 2]);
    Ok(())
}

fn wrong_limits(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || square::job(&pool).cpu_limit(Duration::ZERO);
    assert_fails!(job().map([1]), Error::Option { option: "cpu_limit", .. });
    assert_fails!(job().apply_async(1).get(), Error::Option { option: "cpu_limit", .. });
    let long = square::job(&pool).cpu_limit(Duration::from_secs(3600)).map([2]);
    if method == StartMethod::Threads {
        assert_fails!(long, Error::Option { option: "cpu_limit", .. });
    } else {
        assert_eq!(long?, [4]);
    }
    Ok(())
}
