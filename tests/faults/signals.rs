//! Signals: a terminal's reach the program, not its workers; workers start with none blocked or ignored.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use pool::{Error, StartMethod, TaskErrorKind, worker_task};

use crate::harness::cases;
use crate::support::{assert_usable, builder, pool};
use crate::victim::{Scene, Victim};

cases! {
    Processes: ctrl_c, ctrl_c_twice, hang_up, stopped_and_continued, stopped_time_does_not_count, fresh_masks,
               worker_ignores_sigterm, host_ignores_sigchld, urgent;
}

/// Signals itself and a fork of itself. Returns its process ID.
#[worker_task]
#[expect(unsafe_code)]
fn signal_all() -> u32 {
    // SAFETY: the child makes system calls only.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::raise(libc::SIGURG);
            libc::_exit(7);
        }
        libc::raise(libc::SIGURG);
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        assert_eq!(libc::WEXITSTATUS(status), 7);
    }
    std::process::id()
}

/// The signal that makes a worker check for its parent does not harm processes with another parent.
fn urgent(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let first = signal_all::apply(&pool, ())?;
    assert_eq!(signal_all::apply(&pool, ())?, first);
    Ok(())
}

fn ctrl_c(method: StartMethod) -> Result<(), Error> {
    for (scene, times) in [(Scene::Idle, 1), (Scene::Busy, 2), (Scene::Nested, 4)] {
        let mut victim = Victim::new(scene, method);
        victim.wait(times);
        victim.signal_group(Signal::SIGINT);
        victim.assert_all_gone();
    }
    Ok(())
}

fn ctrl_c_twice(method: StartMethod) -> Result<(), Error> {
    let mut victim = Victim::new(Scene::Busy, method);
    victim.wait(2);
    victim.signal_group(Signal::SIGINT);
    victim.signal_group(Signal::SIGINT);
    victim.assert_all_gone();
    Ok(())
}

fn hang_up(method: StartMethod) -> Result<(), Error> {
    let mut victim = Victim::new(Scene::Busy, method);
    victim.wait(2);
    victim.signal_group(Signal::SIGHUP);
    victim.assert_all_gone();
    Ok(())
}

fn stopped_and_continued(method: StartMethod) -> Result<(), Error> {
    // Killed while it is stopped, and after it has gone on.
    for goes_on in [false, true] {
        let mut victim = Victim::new(Scene::Busy, method);
        victim.wait(2);
        victim.signal_group(Signal::SIGSTOP);
        if goes_on {
            victim.signal_group(Signal::SIGCONT);
        }
        victim.end(Signal::SIGKILL);
    }
    Ok(())
}

fn stopped_time_does_not_count(method: StartMethod) -> Result<(), Error> {
    let mut victim = Victim::new(Scene::Limited, method);
    victim.wait(1);
    // Its worker goes on meanwhile, past the limit.
    victim.signal(Signal::SIGTSTP);
    thread::sleep(Duration::from_millis(2500));
    victim.signal(Signal::SIGCONT);
    // It has its result; the next limit counts again.
    victim.wait(3);
    victim.end(Signal::SIGKILL);
    Ok(())
}

/// The blocked and the ignored signals of this process, as proc_pid_status(5) shows them.
#[worker_task]
fn masks() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let shown = status.lines().filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"));
    shown.map(ToOwned::to_owned).collect()
}

fn fresh_masks(method: StartMethod) -> Result<(), Error> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGINT] {
        // SAFETY: ignoring runs no code.
        #[expect(unsafe_code)]
        unsafe {
            sigaction(signal, &ignore).unwrap();
        }
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::from(Signal::SIGUSR2)), None).unwrap();
    let pool = pool(method)?;
    for shown in masks::par_map(&pool, [(), ()])? {
        for line in shown {
            let (name, bits) = line.split_once(':').unwrap();
            // The C library keeps two signals for itself and refuses to change them.
            let own = 0b11 << 31;
            // A broken pipe is an error, and a terminal does not stop workers, since nothing would continue them.
            let ignored = [Signal::SIGPIPE, Signal::SIGTTIN, Signal::SIGTTOU];
            let ignored = ignored.iter().fold(0, |bits, signal| bits | 1 << (*signal as u64 - 1));
            let expected = if name == "SigIgn" { ignored } else { 0 };
            assert_eq!(u64::from_str_radix(bits.trim(), 16).map(|bits| bits & !own), Ok(expected), "{name}");
        }
    }
    Ok(())
}

#[worker_task]
fn dies_at_7(x: u64) -> u64 {
    if x == 7 {
        std::process::abort();
    }
    x
}

fn host_ignores_sigchld(method: StartMethod) -> Result<(), Error> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring runs no code.
    #[expect(unsafe_code)]
    unsafe {
        sigaction(Signal::SIGCHLD, &ignore).unwrap();
    }
    // The kernel reaps children itself: the death is still noticed, but not its cause.
    let pool = pool(method)?;
    for (x, outcome) in (0..).zip(dies_at_7::par_map_outcomes(&pool, 0..20)?) {
        match outcome {
            Ok(result) => assert_eq!(result, x),
            Err(error) => assert!(x == 7 && matches!(error.kind(), TaskErrorKind::Died(_)), "{error}"),
        }
    }
    assert_usable(&pool);
    pool.join()?;
    Ok(())
}

#[worker_task]
pub(super) fn hang_and_ignore_sigterm() {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring runs no code.
    #[expect(unsafe_code)]
    unsafe {
        sigaction(Signal::SIGTERM, &ignore).unwrap();
    }
    loop {
        // SAFETY: the call takes no arguments.
        #[expect(unsafe_code)]
        unsafe {
            libc::pause();
        }
    }
}

fn worker_ignores_sigterm(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let limit = Duration::from_millis(100);
    let outcomes = hang_and_ignore_sigterm::job(&pool).task_timeout(limit).map_outcomes([(), ()])?;
    assert!(outcomes.iter().all(Result::is_err));
    assert_usable(&pool);
    Ok(())
}
