//! Errors of tasks are values: equal to their copies, stored as JSON and read back, and they cross between processes.

use std::time::Duration;

use pool::{Death, Error, StartMethod, TaskError, TaskErrorKind, worker_exit, worker_init, worker_task};
use serde_json::{Value, json};

use super::codecs::CODECS;
use crate::harness::cases;
use crate::support::{assert_usable, builder, pool, task_error};

cases! {
    All: survived_failures, failures_of_init_and_exit, they_cross_between_processes;
    Linux: inner_ones_come_out;
    Processes: deaths, time_limits;
}

#[worker_task(fallible)]
fn fails(how: u32) -> Result<u32, std::num::ParseIntError> {
    match how {
        0 => panic!("no \x1b[2J"),
        1 => "one".parse(),
        2 => std::process::abort(),
        3 => std::process::exit(3),
        4 => loop {
            std::thread::park();
        },
        _ => Ok(how),
    }
}

/// Stores an error as JSON, asserts that it is read back as it was, and returns its JSON.
#[track_caller]
fn stored(error: &TaskError) -> Value {
    let text = serde_json::to_string(error).unwrap();
    let read: TaskError = serde_json::from_str(&text).unwrap();
    assert_eq!(&read, error);
    assert_eq!(format!("{read} {read:?}"), format!("{error} {error:?}"));
    assert_eq!((read.task_name(), read.task_index()), (error.task_name(), error.task_index()));
    assert_eq!((read.worker_id(), read.attempts()), (error.worker_id(), error.attempts()));
    assert_eq!((read.argument(), read.stderr_tail()), (error.argument(), error.stderr_tail()));
    assert_eq!(read.kind(), error.kind());
    serde_json::from_str(&text).unwrap()
}

fn survived_failures(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let outcomes = fails::par_map_outcomes(&pool, [0, 7, 1])?;
    let [panicked, fine, failed] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(*fine, Ok(7), "outcomes can be compared");
    let panicked = stored(panicked.as_ref().unwrap_err());
    assert_eq!(panicked["kind"]["panicked"]["message"], "no \u{1b}[2J");
    let work = &panicked["work"]["task"];
    assert!(work["name"].as_str().unwrap().ends_with("stored_errors::fails") && work["index"] == 0, "{work}");
    let failed = stored(failed.as_ref().unwrap_err());
    let why = json!({"message": "invalid digit found in string", "sources": []});
    assert_eq!((&failed["kind"]["failed"], &failed["argument"]), (&why, &json!("1")));
    assert_usable(&pool);
    Ok(())
}

fn deaths(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(fails::job(&pool).retries(1).apply(2));
    let form = stored(&error);
    let signal = json!({"signaled": {"number": 6, "name": "SIGABRT"}});
    assert_eq!((&form["kind"]["died"]["cause"], &form["attempts"]), (&signal, &json!(2)), "{form}");
    assert_eq!(form["earlier"][0]["died"]["cause"], signal);
    let exited = stored(&task_error(fails::apply(&pool, 3)));
    assert_eq!(exited["kind"]["died"]["cause"], json!({"exited": 3}));
    let death: Death = serde_json::from_value(exited["kind"]["died"].clone()).unwrap();
    assert_eq!((death.exit_code(), death.signal()), (Some(3), None));
    assert_ne!(error.kind(), &TaskErrorKind::Died(death));
    Ok(())
}

fn time_limits(method: StartMethod) -> Result<(), Error> {
    let limit = Duration::from_millis(50);
    let pool = pool(method)?;
    let error = task_error(fails::job(&pool).task_timeout(limit).apply(4));
    assert_eq!(stored(&error)["kind"], json!({"timed_out": {"secs": 0, "nanos": 50_000_000}}));
    assert_eq!(*error.kind(), TaskErrorKind::TimedOut(limit));
    Ok(())
}

#[worker_init]
fn no_model() -> Result<u64, String> {
    Err("no model".into())
}

#[worker_init]
fn model() -> u64 {
    7
}

#[worker_exit]
fn fails_at_the_end(#[state] model: u64) -> u64 {
    panic!("{model} is left")
}

#[worker_task(init = no_model)]
fn predict(#[state] model: &mut u64, x: u64) -> u64 {
    *model + x
}

fn failures_of_init_and_exit(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let form = stored(&task_error(predict::apply(&pool, 1)));
    assert_eq!(form["kind"]["init"]["failed"]["message"], "no model");
    let work = &form["work"]["init"];
    assert!(work["function"].as_str().unwrap().ends_with("no_model"), "{work}");
    assert!(work["task"].as_str().unwrap().ends_with("predict"), "{work}");
    let job = predict::job(&pool).worker_init::<model>().worker_exit::<fails_at_the_end>();
    assert_eq!(job.apply(1)?, 8);
    let form = stored(&task_error(pool.join()));
    assert_eq!(form["kind"]["exit"]["panicked"]["message"], "7 is left");
    assert!(form["work"]["exit"]["function"].as_str().unwrap().ends_with("fails_at_the_end"), "{form}");
    Ok(())
}

#[worker_task]
fn same(error: TaskError, kind: TaskErrorKind) -> (TaskErrorKind, Result<(), TaskError>) {
    (kind, Err(error))
}

fn they_cross_between_processes(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        for error in fails::par_map_outcomes(&pool, [0, 1])?.into_iter().map(Result::unwrap_err) {
            let kind = error.kind().clone();
            assert_eq!(same::apply(&pool, (error.clone(), kind.clone()))?, (kind, Err(error)), "{codec:?}");
        }
    }
    Ok(())
}

#[worker_task]
fn fails_inside(how: u32) -> Result<u32, TaskError> {
    let pool = pool(StartMethod::ForkServer).expect("nested pools are allowed");
    fails::par_map_outcomes(&pool, [how]).expect("the call is made").remove(0)
}

fn inner_ones_come_out(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).daemon(false).build()?;
    let form = stored(&fails_inside::apply(&pool, 3)?.unwrap_err());
    assert_eq!(form["kind"]["died"]["cause"], json!({"exited": 3}));
    assert_eq!(fails_inside::apply(&pool, 8)?, Ok(8));
    Ok(())
}
