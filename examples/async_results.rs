//! Results that nobody waits for yet: collected later, awaited, handed to a callback, or no longer wanted.

use std::sync::mpsc;

use pool::{Error, WorkerPool, worker_task};

/// How many steps a number takes to reach 1: halve it if it is even, else triple it and add 1.
#[worker_task]
fn collatz_steps(start: u64) -> u32 {
    let mut n = start;
    let mut steps = 0;
    while n != 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

#[worker_task]
fn never_ends() {
    loop {
        std::thread::park();
    }
}

#[pool::main]
fn main() -> Result<(), Error> {
    let pool = WorkerPool::new(2)?;

    let later = collatz_steps::apply_async(&pool, 27);
    println!("27 takes {} steps", later.get()?);
    assert_eq!(later.get()?, collatz_steps(27));

    let (left, right) = (collatz_steps::apply_async(&pool, 97), collatz_steps::apply_async(&pool, 871));
    let sum = pollster::block_on(async { Ok::<u32, Error>(left.await? + right.await?) })?;
    println!("97 and 871 take {sum} steps together");
    assert_eq!(sum, collatz_steps(97) + collatz_steps(871));

    let (sender, receiver) = mpsc::channel();
    let _called = collatz_steps::apply_async(&pool, 6_171).on_success(move |&steps| {
        sender.send(steps).expect("the receiver waits below");
    });
    let steps = receiver.recv().expect("the callback is called");
    println!("6171 takes {steps} steps");
    assert_eq!(steps, collatz_steps(6_171));

    let unwanted = never_ends::apply_async(&pool, ());
    unwanted.cancel();
    assert!(matches!(unwanted.get(), Err(Error::Cancelled)));
    println!("what never ends was cancelled");
    Ok(())
}
