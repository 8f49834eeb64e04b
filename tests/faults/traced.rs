//! Tasks that ask to be traced, which makes the program their tracer, though it knows nothing of that; then they get a
//! signal, which stops them until their tracer lets them go on.

use std::thread;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use pool::{Error, StartMethod, TaskError, TaskErrorKind, WorkerPool, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{assert_usable, builder};

cases! {
    Processes: in_the_thread_that_started_it, in_another_thread, beside_the_first_thread, in_an_init,
               with_harmless_signals;
}

/// Has this thread traced.
fn trace_me() {
    // SAFETY: the request takes no other argument.
    #[expect(unsafe_code)]
    unsafe {
        assert_eq!(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0), 0);
    }
}

/// How a task gets its signal.
const CRASH: u32 = 0;
const SEND: u32 = 1;
const ABORT: u32 = 2;

const FATAL: [(u32, Signal); 3] =
    [(CRASH, Signal::SIGSEGV), (SEND, Signal::SIGUSR1), (ABORT, Signal::SIGABRT)];

fn get_signal(how: u32) {
    match how {
        // SAFETY: there is no page at this address: the read ends this worker, whose memory nothing else has.
        #[expect(unsafe_code)]
        CRASH => unsafe {
            std::ptr::without_provenance::<u8>(8).read_volatile();
        },
        SEND => raise(Signal::SIGUSR1).unwrap(),
        _ => std::process::abort(),
    }
}

#[worker_task]
fn traced(how: Option<u32>) {
    if let Some(how) = how {
        trace_me();
        get_signal(how);
    }
}

/// Items of which each gets a signal, and then some that get none.
fn items() -> impl Iterator<Item = Option<u32>> {
    FATAL.iter().map(|(how, _)| Some(*how)).chain([None; 10])
}

/// The guilty tasks alone fail, and the errors name their signals.
fn assert_named(outcomes: &[Result<(), TaskError>]) {
    for (index, outcome) in outcomes.iter().enumerate() {
        match (outcome, FATAL.get(index)) {
            (Ok(()), None) => {}
            (Err(error), Some((_, signal))) => {
                let named = matches!(error.kind(), TaskErrorKind::Died(death)
                    if death.signal() == Some(*signal as i32));
                assert!(named, "{signal}: {error}");
            }
            (other, _) => panic!("{index}: {other:?}"),
        }
    }
}

/// A pool whose workers this thread has started.
fn started(method: StartMethod) -> Result<WorkerPool, Error> {
    let pool = builder(method).workers(FATAL.len()).build()?;
    assert_usable(&pool);
    Ok(pool)
}

fn in_the_thread_that_started_it(method: StartMethod) -> Result<(), Error> {
    let pool = started(method)?;
    assert_named(&traced::job(&pool).chunk_size(1).map_outcomes(items())?);
    assert_usable(&pool);
    Ok(())
}

fn in_another_thread(method: StartMethod) -> Result<(), Error> {
    let pool = started(method)?;
    let call = || traced::job(&pool).chunk_size(1).map_outcomes(items());
    assert_named(&thread::scope(|scope| scope.spawn(call).join().unwrap())?);
    assert_usable(&pool);
    Ok(())
}

/// The traced thread is one that the task has started.
#[worker_task]
fn traced_beside(how: Option<u32>) {
    thread::spawn(move || traced(how)).join().unwrap();
}

fn beside_the_first_thread(method: StartMethod) -> Result<(), Error> {
    let pool = started(method)?;
    assert_named(&traced_beside::job(&pool).chunk_size(1).map_outcomes(items())?);
    assert_usable(&pool);
    Ok(())
}

#[worker_init]
fn traced_init() -> u64 {
    trace_me();
    get_signal(CRASH);
    1
}

#[worker_task(init = traced_init)]
fn with_state(#[state] state: &mut u64, x: u64) -> u64 {
    *state + x
}

fn in_an_init(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let error = with_state::par_map(&pool, 0..4).unwrap_err();
    assert!(error.to_string().contains("SIGSEGV"), "{error}");
    assert_usable(&pool);
    Ok(())
}

/// Gets a signal that it ignores, then one that it handles.
#[worker_task]
fn goes_on(x: u64) -> u64 {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    #[expect(unsafe_code)]
    unsafe {
        sigaction(Signal::SIGUSR2, &action).unwrap();
    }
    for signal in [Signal::SIGCHLD, Signal::SIGUSR2] {
        trace_me();
        raise(signal).unwrap();
    }
    x
}

/// The thread that has started the worker can let it go on.
fn with_harmless_signals(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    assert_eq!(goes_on::apply(&pool, 7)?, 7);
    assert_usable(&pool);
    Ok(())
}
