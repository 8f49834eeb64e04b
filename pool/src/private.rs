//! The items that the output of the macros names. Not part of the API.

pub use linkme;
pub use std::vec::Vec;

pub use crate::codec::{Codec, ItemWriter, all_read};
pub use crate::error::returned::{Asked, NoSources, OwnSources, ReturnedError, SourcesOfTarget};
pub use crate::task::arg::{
    Arg, GivesArgTo, HasArg, Kept, KeptAsVec, KeptByOwner, KeptByValue, NoArg, NotKept, RefArg, ValueArg,
    cloned_for_tasks,
};
pub use crate::task::chunk::{
    ArrayParam, Chunk, ChunkItem, ChunkMut, Elements, ElementsFallback, Lend, element,
};
pub use crate::task::registry::POOL_REGISTRY_0_1;
pub use crate::task::shares::{POOL_SHARES_0_1, Shares};
pub use crate::task::{
    Argument, BorrowedArgument, BorrowsFrom, ByDefault, CalledOn, DecodeShared, Entry, ExitContext, ExitOf,
    Fallible, InitContext, InitOf, InstanceName, Lends, LentAsVec, LentByOwner, LentByValue, LentInPlace,
    Named, NoExit, NoShared, NotLent, Output, Package, Pair, PairFallback, PairProbe, Probe, ProbeFallback,
    Public, Reduces, Reference, Registered, RunsOn, SharedAny, Task, TaskContext, ViewArgument, WorkerExit,
    WorkerId, WorkerInit, argument, borrowed_argument, exit_of, init_of, public, view_argument,
};
pub use crate::text::displayed;
#[cfg(feature = "ndarray")]
pub use ndarray;

pub use crate::{array_calls, chunk_calls, sources, task_calls};
