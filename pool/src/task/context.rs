//! What a worker hands to a function besides its item, one field for each mark that a parameter can have.

use super::{Task, WorkerExit, WorkerId, WorkerInit};

/// What a worker hands to a task.
#[expect(missing_debug_implementations, reason = "holds the user's own types")]
pub struct TaskContext<'c, T: Task> {
    /// For `#[worker_id]`.
    pub worker_id: WorkerId,
    /// For `#[shared]`.
    pub shared: &'c T::Shared,
    /// For `#[state]`.
    pub state: &'c mut T::State,
}

/// What a worker hands to an init function.
#[expect(missing_debug_implementations, reason = "holds the user's own types")]
pub struct InitContext<'c, I: WorkerInit> {
    /// For `#[worker_id]`.
    pub worker_id: WorkerId,
    /// For `#[shared]`.
    pub shared: &'c I::Shared,
}

/// What a worker hands to an exit function.
#[expect(missing_debug_implementations, reason = "holds the user's own types")]
pub struct ExitContext<'c, E: WorkerExit> {
    /// For `#[worker_id]`.
    pub worker_id: WorkerId,
    /// For `#[shared]`.
    pub shared: &'c E::Shared,
    /// For `#[state]`, by value.
    pub state: E::State,
}
