//! Each fault in each state of a worker, in `apply` and in `map_outcomes`: the guilty task's error names the cause,
//! every other result is right, the pool goes on.

use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_exit, worker_init, worker_task};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::harness::Case;
use crate::support::{assert_usable, builder, die, task_error};

/// Where the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(non_camel_case_types)]
enum Place {
    sending,
    decoding,
    running,
    encoding,
    collecting,
    in_init,
    in_exit,
    /// As the shared value is decoded, in the worker or in the fork server.
    starting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(non_camel_case_types)]
enum Fault {
    panics,
    panics_without_text,
    fails,
    exits_with_0,
    exits_with_3,
    aborts,
    is_killed,
    is_terminated,
    segfaults,
    runs_out_of_stack,
    panics_in_a_drop,
    loops,
    stops,
}

/// Each of these is a case for each start method.
macro_rules! matrix {
    ($($place:ident: $($fault:ident)+;)+) => {
        pub(super) const CASES: &[Case] = &[$($(Case {
            path: concat!(module_path!(), "::", stringify!($place), "::", stringify!($fault)),
            run: |method| check(method, Place::$place, Fault::$fault),
            scope: crate::harness::Scope::Processes,
        }),+),+];
    };
}

matrix! {
    sending: panics fails;
    decoding: panics fails exits_with_0 exits_with_3 aborts is_killed segfaults runs_out_of_stack loops stops;
    running: panics panics_without_text exits_with_0 exits_with_3 aborts is_killed is_terminated segfaults
             runs_out_of_stack panics_in_a_drop loops stops;
    encoding: panics fails exits_with_0 exits_with_3 aborts is_killed segfaults runs_out_of_stack loops stops;
    collecting: panics fails;
    in_init: panics fails exits_with_0 exits_with_3 aborts is_killed segfaults loops stops;
    in_exit: panics exits_with_0 exits_with_3 aborts is_killed segfaults loops stops;
    starting: panics fails exits_with_0 exits_with_3 aborts is_killed segfaults;
}

/// Commits the fault; the text is an error's.
fn commit(fault: Fault) -> String {
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    match fault {
        Fault::panics => panic!("as asked"),
        Fault::panics_without_text => std::panic::panic_any(7u8),
        Fault::fails => "it fails as asked".into(),
        Fault::exits_with_0 => std::process::exit(0),
        Fault::exits_with_3 => std::process::exit(3),
        Fault::aborts => std::process::abort(),
        Fault::is_killed => die(Signal::SIGKILL),
        Fault::is_terminated => die(Signal::SIGTERM),
        Fault::segfaults => die(Signal::SIGSEGV),
        Fault::runs_out_of_stack => overflow(1).to_string(),
        Fault::panics_in_a_drop => {
            let _second = PanicsInDrop;
            panic!("the first");
        }
        Fault::loops => loop {
            std::hint::spin_loop();
        },
        Fault::stops => {
            nix::sys::signal::raise(Signal::SIGSTOP).unwrap();
            "nobody lets it go on".into()
        }
    }
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 1000]);
    overflow(frame[1] + 1) + frame[2]
}

/// Whether this process is a worker, or the server that forks them: they have names.
fn is_worker() -> bool {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    name.starts_with("pool-")
}

/// An argument and a result that commits a fault in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trap {
    spring: Option<(Place, Fault)>,
    value: u64,
}

impl Trap {
    fn at(&self, here: Place) -> Result<(), String> {
        match self.spring {
            Some((place, fault)) if place == here => Err(commit(fault)),
            _ => Ok(()),
        }
    }
}

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let here = if is_worker() { Place::encoding } else { Place::sending };
        self.at(here).map_err(serde::ser::Error::custom)?;
        (self.spring, self.value).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (spring, value) = Deserialize::deserialize(deserializer)?;
        let trap = Self { spring, value };
        let here = if is_worker() { Place::decoding } else { Place::collecting };
        trap.at(here).map_err(serde::de::Error::custom)?;
        Ok(trap)
    }
}

#[worker_task]
fn spring(trap: Trap) -> Trap {
    trap.at(Place::running).unwrap();
    trap
}

/// A time limit that only hanging tasks reach.
const LIMIT: Duration = Duration::from_secs(1);

fn check(method: StartMethod, place: Place, fault: Fault) -> Result<(), Error> {
    match place {
        Place::in_init | Place::in_exit => return check_functions(method, place, fault),
        Place::starting => return check_start(method, fault),
        _ => {}
    }
    let pool = builder(method).build()?;
    let hangs = matches!(fault, Fault::loops | Fault::stops);
    let item = |x: u64| Trap { spring: (x == 7).then_some((place, fault)), value: x };
    for chunk in [None, Some(1), Some(20)] {
        let mut job = spring::job(&pool);
        job = if hangs { job.task_timeout(LIMIT) } else { job };
        job = if let Some(chunk) = chunk { job.chunk_size(chunk) } else { job };
        let outcomes = job.map_outcomes((0..30).map(item))?;
        assert_eq!(outcomes.len(), 30);
        for (index, outcome) in outcomes.iter().enumerate() {
            if index == 7 {
                let error = outcome.as_ref().expect_err("task 7 commits the fault");
                assert_eq!((error.task_index(), error.attempts()), (7, 1));
                assert_names(error.kind(), place, fault);
            } else {
                assert_eq!(outcome.as_ref().map_err(Clone::clone)?, &item(index as u64));
            }
        }
        assert_usable(&pool);
    }
    let job = if hangs { spring::job(&pool).task_timeout(LIMIT) } else { spring::job(&pool) };
    assert_names(task_error(job.apply(item(7))).kind(), place, fault);
    assert_eq!(spring::apply(&pool, item(8))?, item(8));
    let job = if hangs { spring::job(&pool).task_timeout(LIMIT) } else { spring::job(&pool) };
    let error = task_error(job.map((0..30).map(item)));
    assert_eq!(error.task_index(), 7);
    assert_usable(&pool);
    Ok(())
}

/// The error names the fault.
#[track_caller]
fn assert_names(kind: &TaskErrorKind, place: Place, fault: Fault) {
    let signal = |wanted: i32| matches!(kind, TaskErrorKind::Died(death) if death.signal() == Some(wanted));
    let code = |wanted: i32| matches!(kind, TaskErrorKind::Died(death) if death.exit_code() == Some(wanted));
    let right = match (fault, place) {
        (Fault::panics | Fault::fails, Place::sending) => matches!(kind, TaskErrorKind::Encode(_)),
        (Fault::panics | Fault::fails, Place::collecting) => matches!(kind, TaskErrorKind::Decode(_)),
        (Fault::panics, _) => {
            matches!(kind, TaskErrorKind::Panicked(info)
                if info.message() == "as asked" && info.location().contains("matrix.rs:"))
        }
        (Fault::panics_without_text, _) => {
            matches!(kind, TaskErrorKind::Panicked(info) if info.message() == "non-string payload")
        }
        (Fault::fails, Place::decoding) => {
            matches!(kind, TaskErrorKind::Decode(why) if why.contains("as asked"))
        }
        (Fault::fails, Place::encoding) => {
            matches!(kind, TaskErrorKind::Encode(why) if why.contains("as asked"))
        }
        (Fault::fails, _) => matches!(kind, TaskErrorKind::Failed(why) if why.contains("as asked")),
        (Fault::exits_with_0, _) => code(0),
        (Fault::exits_with_3, _) => code(3),
        (Fault::aborts | Fault::panics_in_a_drop, _) => signal(libc::SIGABRT),
        (Fault::is_killed, _) => signal(libc::SIGKILL),
        (Fault::is_terminated, _) => signal(libc::SIGTERM),
        // Rust's own handler says that the stack is exhausted, then aborts.
        (Fault::runs_out_of_stack, _) => signal(libc::SIGABRT) || signal(libc::SIGSEGV),
        (Fault::segfaults, _) => signal(libc::SIGSEGV),
        (Fault::loops | Fault::stops, _) => matches!(kind, TaskErrorKind::TimedOut(limit) if *limit == LIMIT),
    };
    assert!(right, "{fault:?} while {place:?} gave: {kind}");
}

#[worker_init]
fn faulty_init(#[shared] trap: &(Place, Fault)) -> Result<u64, String> {
    if trap.0 == Place::in_init { Err(commit(trap.1)) } else { Ok(0) }
}

#[worker_task(init = faulty_init, exit = faulty_exit)]
fn with_functions(#[state] state: &mut u64, x: u64) -> u64 {
    *state += x;
    x
}

#[worker_exit]
fn faulty_exit(#[shared] trap: &(Place, Fault), #[state] state: u64) -> u64 {
    if trap.0 == Place::in_exit {
        commit(trap.1);
    }
    state
}

fn check_functions(method: StartMethod, place: Place, fault: Fault) -> Result<(), Error> {
    let pool = builder(method).shared((place, fault)).build()?;
    let hangs = matches!(fault, Fault::loops | Fault::stops);
    let job = || {
        let job = with_functions::job(&pool);
        if hangs { job.worker_init_timeout(LIMIT).worker_exit_timeout(LIMIT) } else { job }
    };
    let cause = |error: Error| match task_error(Err::<(), _>(error)).kind() {
        TaskErrorKind::Init(cause) if place == Place::in_init => (**cause).clone(),
        TaskErrorKind::Exit(cause) if place == Place::in_exit => (**cause).clone(),
        other => panic!("{fault:?} {place:?} gave: {other}"),
    };
    if place == Place::in_init {
        for _ in 0..2 {
            assert_names(&cause(job().map(0..30).unwrap_err()), place, fault);
            // Tasks that need no state do not suffer.
            assert_usable(&pool);
        }
        return Ok(());
    }
    assert_eq!(job().map(0..30)?, (0..30).collect::<Vec<_>>());
    assert_names(&cause(pool.join().map(drop).unwrap_err()), place, fault);
    Ok(())
}

/// A shared value that commits a fault as it is decoded.
#[derive(Debug)]
struct SharedTrap(Fault);

impl Serialize for SharedTrap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedTrap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom(commit(Fault::deserialize(deserializer)?)))
    }
}

#[worker_task]
fn needs_shared(#[shared] trap: &SharedTrap, x: u64) -> u64 {
    x + u64::from(trap.0 == Fault::loops)
}

fn check_start(method: StartMethod, fault: Fault) -> Result<(), Error> {
    let pool: WorkerPool<SharedTrap> = builder(method).shared(SharedTrap(fault)).build()?;
    for _ in 0..2 {
        match (method, needs_shared::par_map(&pool, 0..30)) {
            // Nothing is decoded if memory is inherited.
            (StartMethod::Fork, result) => assert_eq!(result?, (0..30).collect::<Vec<_>>()),
            (_, Err(Error::Start { reason, .. })) => assert!(!reason.is_empty()),
            (_, other) => panic!("{fault:?} at the start gave: {other:?}"),
        }
    }
    Ok(())
}
