//! Type-erased glue: pointers to the functions that [`super`] makes for each type, so that the registry can run a
//! function without knowing its type.

use std::any::Any;
use std::sync::Arc;

use super::constant::Constant;
use super::memory::Memory;
use crate::codec::Codec;
use crate::lane::Responder;
use crate::observe::logs::LogSender;
use crate::observe::stopwatch::Stopwatch;
use crate::task::WorkerId;
use crate::wire::{ChunkHead, Failure, Items};

/// A shared value as workers hold it.
pub type SharedAny = Arc<dyn Any + Send + Sync>;

/// How a function is run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Glue {
    Task(TaskGlue),
    Init(InitGlue),
    Exit(ExitGlue),
}

/// How a task is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskGlue {
    /// Runs a chunk and answers each of its tasks.
    pub(crate) run: RunChunk,
    /// Runs a chunk and folds the results, with the reducer of another task.
    pub(crate) fold_results: FoldChunk,
    /// Runs a chunk whose items are values to be folded into one each, with its own reducer.
    pub(crate) fold_values: RunChunk,
    /// The [`Reducer`] of its output's type.
    pub(crate) reducer: &'static (dyn Any + Send + Sync),
    /// Makes the state of a task without an init function, if the state's type has a `Default`.
    pub(crate) default_state: fn() -> Option<Box<dyn Any>>,
}

/// Runs a chunk and answers each of its tasks.
pub(crate) type RunChunk = fn(TaskEnv<'_>, ChunkHead, Items<'_>, &mut Responder<'_>);

/// Runs a chunk and folds the results with this reducer.
pub(crate) type FoldChunk =
    fn(TaskEnv<'_>, ChunkHead, Items<'_>, &(dyn Any + Send + Sync), &mut Responder<'_>);

/// Calls a task that makes one result of two; `None` if the task is not such a function. The failure is in a box so
/// that a number comes back in registers.
pub(crate) struct Reducer<R>(pub(super) Option<fn(WorkerId, &SharedAny, R, R) -> Result<R, Box<Failure>>>);

/// The parts of a worker that every chunk uses.
pub(crate) struct TaskEnv<'w> {
    pub(crate) id: WorkerId,
    pub(crate) codec: Codec,
    pub(crate) shared: &'w SharedAny,
    pub(crate) state: &'w mut dyn Any,
    /// The constant of the call, if it has one.
    pub(crate) constant: Option<&'w mut Constant>,
    pub(crate) memory: &'w mut Memory,
    pub(crate) watch: &'w mut Stopwatch,
    pub(crate) log: &'w LogSender,
}

/// How an init function is run: it gets the bytes of its constant, and returns the worker's state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InitGlue {
    pub(crate) run: fn(WorkerId, Codec, &SharedAny, &[u8]) -> Result<Box<dyn Any>, Failure>,
}

/// How an exit function is run: it takes the worker's state and returns its encoded result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExitGlue {
    pub(crate) run: fn(WorkerId, Codec, &SharedAny, Box<dyn Any>) -> Result<Vec<u8>, Failure>,
}
