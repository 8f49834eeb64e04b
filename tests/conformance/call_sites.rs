//! Errors and all that shows calls say where a call was made, and what its caller calls it.

use std::borrow::Cow;

use futures::executor::{block_on, block_on_stream};
use ndarray::{Array1, ArrayView1, ArrayViewMut1, Axis};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use pool::shared::SharedArray;
use pool::{Error, StartMethod, TaskError, TaskErrorKind, WorkerPool, worker_exit, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{Tokens, assert_usable, builder, pool, square, squares, task_error, wait_for_token};

cases! {
    All: each_call_tells_its_line, chunks_tell_their_line, labels_are_in_errors, any_label,
        gathered_calls_keep_theirs, waiting_for_room, late_calls, inner_calls_tell_theirs, cancelled_chunks,
        init_and_exit;
    Processes: deaths_and_limits, in_a_fork;
}

#[worker_task]
pub(super) fn fails(x: u64) -> u64 {
    panic!("no {x}")
}

#[worker_task]
fn add(a: u64, b: u64) -> u64 {
    assert!(a + b < 100, "too much");
    a + b
}

/// The line of a call, and what it returned.
macro_rules! at {
    ($call:expr) => {
        (line!(), $call)
    };
}

/// Asserts that the error says where its call was made, and that it has this label.
#[track_caller]
fn assert_called(line: u32, label: Option<&str>, error: &TaskError) {
    let at = error.called_at().unwrap_or_else(|| panic!("{error} does not say where"));
    assert!(at.starts_with(&format!("{}:{line}:", file!())), "{at} is not line {line}");
    assert_eq!(error.label(), label);
    let called = label.map_or(format!("called at {at}"), |label| format!("called as `{label}` at {at}"));
    assert!(error.to_string().contains(&format!("; {called}")), "{error}");
    assert!(format!("{error:?}").contains(&format!("\n  {called}")), "{error:?}");
}

#[track_caller]
fn assert_line<R: std::fmt::Debug>((line, result): (u32, Result<R, Error>)) {
    assert_called(line, None, &task_error(result));
}

#[rustfmt::skip]
fn each_call_tells_its_line(method: StartMethod) -> Result<(), Error> {
    let pool = &pool(method)?;
    let (job, mut slots) = (|| fails::job(pool), [0; 3]);
    // On the task's type, on the pool, and on the job.
    assert_line(at!(fails::par_map(pool, 0..3)));
    assert_line(at!(pool.map::<fails>(0..3)));
    assert_line(at!(job().map(0..3)));
    assert_line(at!(fails::par_map_unordered(pool, 0..3)));
    assert_line(at!(pool.map_unordered::<fails>(0..3)));
    assert_line(at!(job().map_unordered(0..3)));
    assert_line(at!(fails::par_map_into(pool, 0..3, &mut slots)));
    assert_line(at!(pool.map_into::<fails>(0..3, &mut slots)));
    assert_line(at!(job().map_into(0..3, &mut slots)));
    assert_line(at!(fails::apply(pool, 7)));
    assert_line(at!(pool.apply::<fails>(7)));
    assert_line(at!(job().apply(7)));
    assert_line(at!(fails::apply_async(pool, 7).get()));
    assert_line(at!(pool.apply_async::<fails>(7).get()));
    assert_line(at!(block_on(job().apply_async(7))));
    assert_line(at!(job().map_async(0..3).get()));
    assert_line(at!(pool.map_async::<fails>(0..3).get()));
    assert_line(at!(fails::par_imap(pool, 0..3).next().unwrap()));
    assert_line(at!(pool.imap::<fails>(0..3).nth(2).unwrap()));
    assert_line(at!(job().imap(0..3).next().unwrap()));
    assert_line(at!(fails::par_imap_unordered(pool, 0..3).next().unwrap()));
    assert_line(at!(pool.imap_unordered::<fails>(0..3).next().unwrap()));
    assert_line(at!(job().imap_unordered(0..3).next().unwrap()));
    assert_line(at!(block_on_stream(fails::par_stream(pool, 0..3)).next().unwrap()));
    assert_line(at!(block_on_stream(pool.stream::<fails>(0..3)).next().unwrap()));
    assert_line(at!(block_on_stream(job().stream(0..3)).next().unwrap()));
    assert_line(at!(block_on_stream(fails::par_stream_unordered(pool, 0..3)).next().unwrap()));
    assert_line(at!(block_on_stream(pool.stream_unordered::<fails>(0..3)).next().unwrap()));
    assert_line(at!(block_on_stream(job().stream_unordered(0..3)).next().unwrap()));
    assert_line(at!(job().reduce::<add>(0..3)));
    // Fails as workers fold the values of chunks, in a call of the pool's own.
    assert_line(at!(square::job(pool).chunk_size(1).reduce::<add>(0..20)));
    for (line, outcomes) in [
        at!(fails::par_map_outcomes(pool, 0..3)),
        at!(pool.map_outcomes::<fails>(0..3)),
        at!(job().map_outcomes(0..3)),
        at!(fails::on_each_worker(pool, 7)),
        at!(pool.on_each_worker::<fails>(7)),
        at!(job().on_each_worker(7)),
    ] {
        outcomes?.iter().for_each(|outcome| assert_called(line, None, outcome.as_ref().unwrap_err()));
    }
    // The line of the call counts, not that of its job, nor of who waits.
    let job = fails::job(pool).label("one");
    let (line, result) = at!(job.apply_async(1));
    assert_called(line, Some("one"), &task_error(result.get()));
    assert_usable(pool);
    Ok(())
}

#[worker_task]
fn fails_on_rows(#[chunk] rows: &[u64]) -> Vec<u64> {
    panic!("no {rows:?}")
}

#[worker_task]
fn sum_of_rows(#[chunk] rows: &[u64]) -> u64 {
    panic!("no {rows:?}")
}

#[worker_task]
fn fails_in_place(#[chunk] rows: &mut [u64]) {
    panic!("no {rows:?}")
}

#[worker_task]
fn fails_on_views(#[chunk] rows: ArrayView1<'_, u64>) -> Array1<u64> {
    panic!("no {rows:?}")
}

#[worker_task]
fn fails_on_views_in_place(#[chunk] rows: ArrayViewMut1<'_, u64>) {
    panic!("no {rows:?}")
}

#[rustfmt::skip]
fn chunks_tell_their_line(method: StartMethod) -> Result<(), Error> {
    let (pool, rows) = (&pool(method)?, [1, 2, 3]);
    let views = Array1::from_iter(rows);
    // Workers of `Fork` would have a copy of an array that is older than they are.
    assert_usable(pool);
    let mut array = SharedArray::from_slice(&rows)?;
    assert_line(at!(fails_on_rows::par_map_slice(pool, &rows)));
    assert_line(at!(fails_on_rows::job(pool).map_slice(&rows)));
    assert_line(at!(fails_on_rows::job(pool).concatenate(false).map_slice(&array)));
    assert_line(at!(sum_of_rows::job(pool).reduce_slice::<add, _>(&rows)));
    assert_line(at!(fails_in_place::par_chunks_mut(pool, &mut array, 2)));
    assert_line(at!(fails_in_place::job(pool).chunks_mut(&mut array, 2)));
    assert_line(at!(fails_on_views::par_map_array(pool, &views, Axis(0))));
    assert_line(at!(fails_on_views::job(pool).map_array(&views, Axis(0))));
    assert_line(at!(fails_on_views_in_place::par_array_chunks_mut(pool, &mut array, 3, 2)));
    assert_line(at!(fails_on_views_in_place::job(pool).array_chunks_mut(&mut array, 3, 2)));
    for (line, outcomes) in [
        at!(fails_in_place::job(pool).chunks_mut_outcomes(&mut array, 2)),
        at!(fails_on_views_in_place::job(pool).array_chunks_mut_outcomes(&mut array, 3, 2)),
    ] {
        outcomes?.iter().for_each(|outcome| assert_called(line, None, outcome.as_ref().unwrap_err()));
    }
    Ok(())
}

#[rustfmt::skip]
fn labels_are_in_errors(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || fails::job(&pool).label("thumbnails");
    for (line, result) in [
        at!(job().map(0..3).map(drop)),
        at!(job().apply(1).map(drop)),
        at!(job().apply_async(1).get().map(drop)),
        at!(job().map_async(0..3).get().map(drop)),
        at!(job().imap(0..3).next().unwrap().map(drop)),
        at!(block_on_stream(job().stream(0..3)).next().unwrap().map(drop)),
        at!(job().reduce::<add>(0..3).map(drop)),
        at!(square::job(&pool).label("thumbnails").chunk_size(1).reduce::<add>(0..20).map(drop)),
    ] {
        assert_called(line, Some("thumbnails"), &task_error(result));
    }
    assert_eq!(square::job(&pool).label("squares").map(0..100)?, squares(100));
    // The last one counts, and an empty one is none.
    let text = String::from("a");
    let given: [Box<dyn Fn() -> Result<u64, Error>>; 5] = [
        Box::new(|| fails::job(&pool).label(String::from("a")).apply(1)),
        Box::new(|| fails::job(&pool).label(&text).apply(1)),
        Box::new(|| fails::job(&pool).label(Cow::Borrowed("a")).apply(1)),
        Box::new(|| fails::job(&pool).label('a').apply(1)),
        Box::new(|| fails::job(&pool).label("b").label("a").apply(1)),
    ];
    given.iter().for_each(|call| assert_eq!(task_error(call()).label(), Some("a")));
    assert_line(at!(fails::job(&pool).label("").apply(1)));
    assert_line(at!(fails::job(&pool).label("a").label("").apply_async(1).get()));
    Ok(())
}

fn any_label(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for (label, shown) in [
        (
            "two\nlines\tand\r\x1b[2J\u{9b}\u{202e}\0".to_owned(),
            "`two\\u{a}lines\\u{9}and\\u{d}\\u{1b}[2J".into(),
        ),
        ("語".repeat(1 << 20), format!("`{}...`", "語".repeat(80))),
        ("\x1b".repeat(1 << 20), "`\\u{1b}\\u{1b}".into()),
        ("`; \"{}\"".into(), "``; \"{}\"`".into()),
    ] {
        for error in [
            task_error(fails::job(&pool).label(&*label).map(0..3)),
            task_error(fails::job(&pool).label(&*label).apply_async(3).get()),
        ] {
            assert_eq!(error.label(), Some(&*label));
            for text in [error.to_string(), format!("{error:?}")] {
                let called = text.split_once("called as ").unwrap().1;
                assert!(called.starts_with(&shown) && text.len() < 4000, "{text}");
                assert!(!called.lines().next().unwrap().contains(|c: char| c.is_control()), "{text}");
            }
            let stored: TaskError = serde_json::from_str(&serde_json::to_string(&error).unwrap()).unwrap();
            assert_eq!(stored, error);
        }
    }
    assert_usable(&pool);
    Ok(())
}

/// Calls that follow each other closely are carried out together, if they are alike.
fn gathered_calls_keep_theirs(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let label = |x: u64| format!("call {x}");
    let calls: Vec<_> = (0..500).map(|x| (x, fails::job(&pool).label(label(x)).apply_async(x))).collect();
    for (x, call) in calls {
        let error = task_error(call.get());
        assert_eq!((error.label(), error.task_index()), (Some(&*label(x)), 0));
        assert!(matches!(error.kind(), TaskErrorKind::Panicked(info) if info.message() == format!("no {x}")));
    }
    let mut calls = Vec::new();
    for x in 0..200 {
        calls.push(at!(fails::apply_async(&pool, x)));
        calls.push(at!(fails::apply_async(&pool, x)));
        calls.push(at!(pool.apply_async::<fails>(x)));
    }
    calls.into_iter().for_each(|(line, call)| assert_line((line, call.get())));
    let fine: Vec<_> = (0..500).map(|x| square::job(&pool).label(label(x)).apply_async(x)).collect();
    assert_eq!(fine.iter().map(|call| call.get()).collect::<Result<Vec<_>, _>>()?, squares(500));
    Ok(())
}

fn waiting_for_room(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).max_queue(1).build()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let first = wait_for_token::apply_async(&pool, (&*started_path, &*go_on_path, 0));
    started.take(1);
    let (line, second) = at!(fails::job(&pool).label("second").apply_async_when_ready(1));
    go_on.put(1);
    // Another function polls it, on another line.
    assert_called(line, Some("second"), &task_error(block_on(async { second.await.await })));
    assert_eq!(first.get()?, 0);
    let (line, third) = at!(block_on(fails::job(&pool).apply_async_when_ready(1)));
    assert_line((line, third.get()));
    Ok(())
}

/// The error of a call on a pool of its own, and the line of that call.
#[worker_task]
fn fails_inside(label: &str) -> (u32, TaskError) {
    let pool = pool(StartMethod::Threads).expect("nested pools are allowed");
    let (line, result) = at!(fails::job(&pool).label(label).apply(1));
    (line, task_error(result))
}

#[worker_task]
fn passes_on() -> u64 {
    let pool = pool(StartMethod::Threads).expect("nested pools are allowed");
    fails::job(&pool).label("inner").apply(1).unwrap()
}

fn inner_calls_tell_theirs(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).daemon(false).build()?;
    let (line, error) = fails_inside::job(&pool).label("outer").apply("inner")?;
    assert_called(line, Some("inner"), &error);
    let (line, result) = at!(passes_on::job(&pool).label("outer").apply(()));
    let error = task_error(result);
    assert_called(line, Some("outer"), &error);
    let TaskErrorKind::Panicked(panic) = error.kind() else { panic!("{error}") };
    assert!(panic.message().contains("\n  called as `inner` at "), "{error:?}");
    Ok(())
}

#[worker_task]
fn waits(#[shared] paths: &(String, String), #[chunk] rows: &mut [u64]) -> u64 {
    wait_for_token(&paths.0, &paths.1, rows.len() as u64)
}

fn cancelled_chunks(method: StartMethod) -> Result<(), Error> {
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let pool = builder(method).shared((started.path(), go_on.path())).build()?;
    // Workers of `Fork` can only start before other threads do.
    assert_usable(&pool);
    let mut array = SharedArray::from_slice(&[0; 40])?;
    let job = waits::job(&pool).label("halves");
    let handle = job.cancel_handle();
    let (line, outcomes) = std::thread::scope(|scope| {
        let call = scope.spawn(|| at!(job.chunks_mut_outcomes(&mut array, 1)));
        started.take(1);
        handle.cancel();
        go_on.put(40);
        call.join().unwrap()
    });
    let outcomes = outcomes?;
    let cancelled = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    let cancelled: Vec<_> = cancelled.filter(|error| *error.kind() == TaskErrorKind::Cancelled).collect();
    assert!(!cancelled.is_empty(), "{outcomes:?}");
    cancelled.into_iter().for_each(|error| assert_called(line, Some("halves"), error));
    Ok(())
}

/// A call that is made too late runs no task, and says so for each.
#[rustfmt::skip]
fn late_calls(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || square::job(&pool).label("late").deadline(std::time::Duration::ZERO);
    let (line, outcomes) = at!(job().map_outcomes(0..3));
    outcomes?.iter().filter_map(|outcome| outcome.as_ref().err()).for_each(|error| {
        assert_called(line, Some("late"), error);
    });
    let (line, results) = at!(job().imap(0..3));
    results.filter_map(|result| result.unwrap_err().task().cloned()).for_each(|error| {
        assert_called(line, Some("late"), &error);
    });
    Ok(())
}

#[worker_init]
fn no_model() -> Result<u64, String> {
    Err("no model".into())
}

#[worker_exit]
fn no_end(#[state] _: u64) -> u64 {
    panic!("no end")
}

#[worker_task(init = no_model)]
fn predict(#[state] model: &mut u64, x: u64) -> u64 {
    *model + x
}

#[worker_task(exit = no_end)]
fn count(#[state] seen: &mut u64) -> u64 {
    *seen += 1;
    *seen
}

fn init_and_exit(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (line, result) = at!(predict::job(&pool).label("predictions").map(0..3));
    assert_called(line, Some("predictions"), &task_error(result));
    assert_line(at!(predict::warm_up(&pool)));
    assert_line(at!(pool.warm_up::<predict>()));
    assert_line(at!(predict::job(&pool).warm_up()));
    assert_line(at!(predict::par_imap(&pool, 0..3).next().unwrap()));
    assert_line(at!(predict::apply_async(&pool, 3).get()));
    assert_eq!(count::job(&pool).label("counts").apply(())?, 1);
    // Workers end after their calls.
    let error = task_error(pool.join());
    assert!(matches!(error.kind(), TaskErrorKind::Exit(_)), "{error}");
    assert_eq!((error.label(), error.called_at()), (None, None));
    Ok(())
}

#[worker_task]
fn ends_badly(how: u64) -> u64 {
    match how {
        0 => std::process::abort(),
        1 => loop {
            std::thread::park();
        },
        _ => how,
    }
}

fn deaths_and_limits(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (line, result) = at!(ends_badly::job(&pool).label("deaths").retries(2).map([3, 0, 4]));
    let error = task_error(result);
    assert_called(line, Some("deaths"), &error);
    assert_eq!(error.attempts(), 3);
    let limit = std::time::Duration::from_millis(50);
    let (line, result) = at!(ends_badly::job(&pool).label("hangs").task_timeout(limit).apply(1));
    assert_called(line, Some("hangs"), &task_error(result));
    Ok(())
}

/// In a fork, calls are as they are elsewhere: an error on a pool of the parent's, and a call on one of its own.
fn in_a_fork(method: StartMethod) -> Result<(), Error> {
    let outer = pool(method)?;
    assert_usable(&outer);
    // SAFETY: a trial runs on the main thread, and threads of the pool's hold no lock that the child needs: it asks
    // the parent's pool only whose it is.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let refused = fails::job(&outer).label("of the parent's pool").apply(1);
            let is_fine = matches!(refused, Err(Error::Forked { .. }))
                && builder(method).build().is_ok_and(|pool: WorkerPool| {
                    let (line, result) = at!(fails::job(&pool).label("of its own").apply(1));
                    std::panic::catch_unwind(|| {
                        assert_called(line, Some("of its own"), &task_error(result));
                    })
                    .is_ok()
                });
            // The pools are left to the kernel, which ends their workers with this process.
            std::process::exit(i32::from(!is_fine));
        }
        ForkResult::Parent { child } => {
            assert!(matches!(waitpid(child, None).unwrap(), WaitStatus::Exited(_, 0)));
        }
    }
    assert_usable(&outer);
    Ok(())
}
