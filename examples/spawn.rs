//! `StartMethod::Spawn`: each worker is this program started anew. It inherits nothing but what it is given: what
//! `main` stored in a global variable is not there.

use std::sync::OnceLock;

use pool::{StartMethod, WorkerPool, worker_task};

static STORED: OnceLock<u32> = OnceLock::new();

#[worker_task]
fn look(#[shared] given: &u32) -> (Option<u32>, u32) {
    (STORED.get().copied(), *given)
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    STORED.get_or_init(|| 1);
    let pool = WorkerPool::builder().workers(2).start_method(StartMethod::Spawn).shared(2).build()?;
    let (stored, given) = look::apply(&pool, ())?;
    println!("a worker sees {stored:?} in the global variable, and was given {given}");
    assert_eq!((stored, given), (None, 2));
    Ok(())
}
