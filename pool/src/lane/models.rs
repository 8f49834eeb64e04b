//! The lane under a model checker (`RUSTFLAGS="--cfg loom"`): the real ends over tiny rings, in every order that two
//! threads can take, and with every value that the memory model may show them. The checker finds deadlocks, such as a
//! lost wake-up, and memory that both sides use at once.
//!
//! Each model says how many preemptions a schedule may have; a thread that waits or ends is not preempted.

use super::sync::{Half, Life, ParentWaker};
use super::*;

mod parent;
mod worker;

mod death;
mod recall;
mod records;
mod sleep;

use parent::Parent;
use worker::{Log, Worker};

/// Tries every schedule with at most this many preemptions.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A lane whose worker has this life.
fn lane(life: &Life) -> (Parent, Worker) {
    let (down, up) = (Half::new(ParentControlBlock::default()), Half::new(WorkerControlBlock::default()));
    let (waker, log) = (ParentWaker::new_model(), Log::default());
    let end = WorkerEnd::over(down.seen_by(life), up.seen_by(life), waker.clone());
    let worker = Worker { end, waker: waker.clone(), log: log.clone() };
    (Parent::new(ParentEnd::new(down, up), waker, log), worker)
}
