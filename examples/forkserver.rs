//! `StartMethod::ForkServer`, the default: a small server, started anew from this program, forks the workers. That
//! is sound whatever threads this process has, and a fresh worker is cheap: here every task gets one.

use std::collections::HashSet;
use std::sync::mpsc;
use std::{process, thread};

use pool::{Error, StartMethod, WorkerPool, worker_task};

#[worker_task]
fn process_id() -> u32 {
    process::id()
}

#[pool::main]
fn main() -> Result<(), Error> {
    // Lives until `main` ends, which drops the sender.
    let (_sender, end_of_main) = mpsc::channel::<()>();
    thread::spawn(move || end_of_main.recv());

    let pool = WorkerPool::builder().workers(2).start_method(StartMethod::Fork).build()?;
    let refused = process_id::apply(&pool, ()).expect_err("there is another thread");
    println!("Fork: {refused}");
    assert!(matches!(refused, Error::ForkWithThreads { .. }));

    let pool = WorkerPool::builder().workers(2).start_method(StartMethod::ForkServer).build()?;
    let processes = process_id::job(&pool).worker_lifespan(1).map((0..8).map(|_| ()))?;
    println!("ForkServer: 8 tasks ran in processes {processes:?}");
    assert_eq!(processes.iter().collect::<HashSet<_>>().len(), 8);
    Ok(())
}
