//! Some tasks panic, one takes its whole process down: each costs its own outcome, and nothing else.

use pool::{TaskErrorKind, WorkerPool, worker_task};

#[worker_task]
fn divide(dividend: u32, divisor: u32) -> u32 {
    if divisor == 13 {
        std::process::abort();
    }
    dividend / divisor
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    let pool = WorkerPool::new(2)?;
    let items = [(84, 2), (1, 0), (84, 13), (100, 10), (5, 0), (7, 7)];
    let outcomes = divide::par_map_outcomes(&pool, items)?;

    for (item, outcome) in items.iter().zip(&outcomes) {
        match outcome {
            Ok(quotient) => println!("{item:?}: {quotient}"),
            Err(error) => println!("{item:?}: {error}"),
        }
    }
    for ((dividend, divisor), outcome) in items.into_iter().zip(&outcomes) {
        match (divisor, outcome.as_ref().map_err(|error| error.kind())) {
            (0, Err(TaskErrorKind::Panicked(panic))) => assert!(panic.message().contains("divide by zero")),
            (13, Err(TaskErrorKind::Died(death))) => assert_eq!(death.signal(), Some(6)),
            (_, Ok(&quotient)) => assert_eq!(quotient, dividend / divisor),
            _ => panic!("not what {dividend} / {divisor} gives: {outcome:?}"),
        }
    }
    Ok(())
}
