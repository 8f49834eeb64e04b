//! The tasks that can run on a pool.

use super::{ExitOf, InitOf, RunsOn, Task};

/// A task that can run on a `WorkerPool<S>`, with its own init and exit functions: the three borrow nothing with
/// `#[shared]`, or the `S` that the pool shares.
///
/// Sealed: every [`Task`] that fits has it.
#[diagnostic::on_unimplemented(
    message = "task `{Self}` cannot run on a pool that shares `{S}`",
    label = "its `#[shared]` parameter has another type than this pool's shared value",
    note = "give the pool the value that it borrows: `WorkerPool::builder().shared(..)`"
)]
pub trait ReadyFor<S>:
    Task<Init: InitOf<<Self as Task>::State> + RunsOn<S>, Exit: ExitOf<<Self as Task>::State> + RunsOn<S>>
    + RunsOn<S>
{
}
impl<T, S> ReadyFor<S> for T where
    T: Task<Init: InitOf<T::State> + RunsOn<S>, Exit: ExitOf<T::State> + RunsOn<S>> + RunsOn<S>
{
}

/// The same, for the calls on a task's own type. Those are declared whether or not anyone calls them, and the bounds of
/// [`ReadyFor`] that do not name the pool would have to hold for the declaration.
#[diagnostic::on_unimplemented(
    message = "task `{Self}` cannot run on a pool that shares `{S}`",
    label = "its `#[shared]` parameter has another type than this pool's shared value",
    note = "give the pool the value that it borrows: `WorkerPool::builder().shared(..)`"
)]
pub trait CalledOn<S>: Task + RunsOn<S> {
    /// [`Task::Init`], known to fit.
    type OwnInit: InitOf<Self::State> + RunsOn<S>;
    /// [`Task::Exit`], known to fit.
    type OwnExit: ExitOf<Self::State> + RunsOn<S>;
}
impl<T: ReadyFor<S>, S> CalledOn<S> for T {
    type OwnInit = T::Init;
    type OwnExit = T::Exit;
}
