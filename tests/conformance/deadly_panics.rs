//! Panics that cannot unwind, and stack overflows, end the worker. The error quotes what they print.

use std::panic::catch_unwind;

use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_task};

use super::panics::{How, panics};
use crate::harness::cases;
use crate::support::{assert_usable, builder, task_error};

cases! {
    Processes: ends_the_process, ends_in_a_thread_of_the_tasks, out_of_stack;
}

extern "C" fn called_by_c(row: i32) {
    panic!("cannot compare row {row}");
}

/// Panics while another panic unwinds.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        panic!("second: flush failed");
    }
}

#[worker_task]
fn ends(kind: u8, in_thread: bool) {
    drop(catch_unwind(|| panic!("this was handled before")));
    let end = move || match kind {
        0 => called_by_c(17),
        _ => {
            let _loud = Loud;
            panic!("first: disk full");
        }
    };
    if in_thread { std::thread::spawn(end).join().unwrap() } else { end() }
}

/// The texts that the error of each end must contain.
const OF_THE_ENDS: [&[&str]; 2] = [
    &["cannot compare row 17", "deadly_panics.rs:"],
    &["first: disk full", "second: flush failed", "deadly_panics.rs:"],
];

pub(super) fn assert_ends(pool: &WorkerPool, in_thread: bool) -> Result<(), Error> {
    for (kind, texts) in (0..).zip(OF_THE_ENDS) {
        panics::apply(pool, (vec![(How::Thread, 3), (How::Here, 12_345)], None, 1))?;
        let error = task_error(ends::apply(pool, (kind, in_thread)));
        assert!(matches!(error.kind(), TaskErrorKind::Died(death) if death.signal() == Some(6)), "{error}");
        for text in [error.to_string(), format!("{error:?}")] {
            texts.iter().for_each(|part| assert!(text.contains(part), "no {part:?} in {text}"));
            assert!(!text.contains("12345"), "that was handled in the task before: {text}");
        }
    }
    assert_usable(pool);
    Ok(())
}

fn ends_the_process(method: StartMethod) -> Result<(), Error> {
    assert_ends(&builder(method).workers(1).build()?, false)
}

fn ends_in_a_thread_of_the_tasks(method: StartMethod) -> Result<(), Error> {
    assert_ends(&builder(method).workers(1).build()?, true)
}

#[worker_task]
fn recurse(in_thread: bool) -> u64 {
    fn down(depth: u64) -> u64 {
        let page = std::hint::black_box([depth; 512]);
        if depth == u64::MAX { 0 } else { down(depth + 1) + page[7] }
    }
    if !in_thread {
        return down(0);
    }
    std::thread::Builder::new().name("deep".into()).spawn(|| down(0)).unwrap().join().unwrap()
}

/// std's handler of stack overflows stays in place, and the error quotes what it prints.
fn out_of_stack(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for in_thread in [false, true] {
        let error = task_error(recurse::apply(&pool, in_thread));
        assert!(matches!(error.kind(), TaskErrorKind::Died(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("overflowed its stack") && text.contains("'deep'") == in_thread, "{text}");
    }
    Ok(())
}
