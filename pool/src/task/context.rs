//! The values that a worker passes to a function besides its item: one field for each attribute of a parameter.

use super::arg::Arg;
use super::{Task, WorkerExit, WorkerId, WorkerInit};

/// The values that a worker passes to a task.
#[expect(missing_debug_implementations, reason = "holds the user's own types")]
pub struct TaskContext<'c, T: Task> {
    /// For `#[worker_id]`.
    pub worker_id: WorkerId,
    /// For `#[shared]`.
    pub shared: &'c T::Shared,
    /// For `#[state]`.
    pub state: &'c mut T::State,
    /// For `#[arg]`.
    pub arg: &'c <T::Arg as Arg>::Lent,
}

/// The values that a worker passes to an init function.
#[expect(missing_debug_implementations, reason = "holds the user's own types")]
pub struct InitContext<'c, I: WorkerInit> {
    /// For `#[worker_id]`.
    pub worker_id: WorkerId,
    /// For `#[shared]`.
    pub shared: &'c I::Shared,
    /// For `#[arg]`: the call's value, which is the function's own.
    pub arg: I::Arg,
}

/// The values that a worker passes to an exit function.
#[expect(missing_debug_implementations, reason = "holds the user's own types")]
pub struct ExitContext<'c, E: WorkerExit> {
    /// For `#[worker_id]`.
    pub worker_id: WorkerId,
    /// For `#[shared]`.
    pub shared: &'c E::Shared,
    /// For `#[state]`, by value.
    pub state: E::State,
}
