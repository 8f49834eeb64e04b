//! Where backtraces are enabled, the error of a panic has one, however long it takes to resolve.

use std::path::Path;
use std::time::Duration;

use pool::{Error, StartMethod, TaskError, TaskErrorKind, WorkerPool, worker_task};

use super::deadly_panics::assert_ends;
use super::panics::{How, UNKNOWN, panic_of, panics, with_default, with_init};
use crate::harness::{apart, cases};
use crate::support::{assert_usable, builder, pool, task_error};

cases! {
    All: backtraces;
    Processes: time_of_a_backtrace;
    Apart: with_backtraces, with_full_backtraces, with_limits;
}

#[worker_task]
fn in_layers(x: u64) -> u64 {
    layer(x)
}

#[inline(never)]
fn layer(x: u64) -> u64 {
    std::hint::black_box([1u64].map(|y| deepest(x + y))[0])
}

#[inline(never)]
fn deepest(x: u64) -> u64 {
    [1, 2][std::hint::black_box(x as usize + 7)]
}

fn backtraces(method: StartMethod) -> Result<(), Error> {
    let play = |full: bool| {
        let mut part = match full {
            false => apart(Path::new("/proc/self/exe"), with_backtraces, method),
            true => apart(Path::new("/proc/self/exe"), with_full_backtraces, method),
        };
        let part =
            part.env("RUST_BACKTRACE", if full { "full" } else { "1" }).env_remove("RUST_LIB_BACKTRACE");
        assert!(part.status().unwrap().success());
    };
    play(false);
    play(true);
    Ok(())
}

fn backtrace_of(method: StartMethod) -> Result<(TaskError, String), Error> {
    let pool = pool(method)?;
    let error = task_error(in_layers::apply(&pool, 1));
    let backtrace = panic_of(&error).backtrace().expect("backtraces are wanted").to_owned();
    Ok((error, backtrace))
}

fn with_backtraces(method: StartMethod) -> Result<(), Error> {
    let (error, backtrace) = backtrace_of(method)?;
    let names: Vec<_> = backtrace.lines().filter(|line| !line.trim_start().starts_with("at ")).collect();
    assert!(names[0].contains("0: ") && names[0].ends_with("backtraces::deepest"), "{backtrace}");
    assert!(names.iter().any(|name| name.ends_with("backtraces::layer")), "{backtrace}");
    assert!(names.last().is_some_and(|name| name.ends_with("backtraces::in_layers")), "{backtrace}");
    assert!(
        !backtrace.contains("pool::task::run") && !backtrace.contains("rust_begin_unwind"),
        "{backtrace}"
    );
    let shown = format!("{error:?}");
    assert!(shown.contains("\n  backtrace:\n") && shown.contains("backtraces::deepest\n"), "{shown}");
    assert!(!error.to_string().contains("backtraces::deepest"), "{error}");
    // A panic without a backtrace does not get that of an earlier panic that was handled.
    let pool = builder(method).workers(1).build()?;
    let error = task_error(panics::apply(&pool, (vec![(How::Here, 1)], Some(How::Made), 2)));
    assert_eq!((panic_of(&error).location(), panic_of(&error).backtrace()), (UNKNOWN, None));
    let error = task_error(panics::apply(&pool, (vec![(How::Here, 1)], Some(How::Thread), 2)));
    assert!(
        panic_of(&error).backtrace().is_some_and(|backtrace| backtrace.contains("panics::begin")),
        "{error:?}"
    );
    if method != StartMethod::Threads {
        assert_ends(&pool, false)?;
        assert_ends(&pool, true)?;
    }
    Ok(())
}

fn with_full_backtraces(method: StartMethod) -> Result<(), Error> {
    let (_, backtrace) = backtrace_of(method)?;
    assert!(
        backtrace.contains("pool::task::run") && backtrace.contains("backtraces::deepest"),
        "{backtrace}"
    );
    Ok(())
}

fn time_of_a_backtrace(method: StartMethod) -> Result<(), Error> {
    let mut part = apart(Path::new("/proc/self/exe"), with_limits, method);
    assert!(part.env("RUST_BACKTRACE", "1").env_remove("RUST_LIB_BACKTRACE").status().unwrap().success());
    Ok(())
}

/// Resolving a backtrace takes longer than these time limits of a task and an init function, and does not count.
fn with_limits(method: StartMethod) -> Result<(), Error> {
    let limit = Duration::from_millis(8);
    let told = |call: &dyn Fn(&WorkerPool) -> TaskError| {
        // On a busy machine, the task itself may exceed the limit.
        let mut errors = (0..50).map(|_| {
            let pool = builder(method).workers(1).build().unwrap();
            assert_usable(&pool);
            call(&pool)
        });
        let is_told = |error: &TaskError| !error.to_string().contains("timed out");
        let error = errors.find(is_told).expect("it is told as a panic");
        assert!(panic_of(&error).backtrace().is_some(), "{error}");
    };
    told(&|pool| task_error(in_layers::job(pool).task_timeout(limit).apply(1)));
    told(&|pool| task_error(with_init::job(pool).worker_init_timeout(limit).apply(())));
    told(&|pool| task_error(with_default::job(pool).worker_init_timeout(limit).apply(())));
    let pool = builder(method).workers(1).build()?;
    let endless = task_error(spins::job(&pool).task_timeout(limit).apply(()));
    assert!(matches!(endless.kind(), TaskErrorKind::TimedOut(after) if *after == limit), "{endless}");
    Ok(())
}

#[worker_task]
fn spins() {
    loop {
        std::hint::spin_loop();
    }
}
