//! The data that calls and the engine exchange: bytes and counts, none of the user's types.

mod exits;
mod inbox;
mod items;
mod lent;
mod plan;
mod retry;
mod spec;

pub(crate) use exits::{ExitValue, Exits};
pub(crate) use inbox::{Arrival, Asked, Inbox, Outcome, TaskFailure, no_memory};
pub(crate) use items::{Apart, Items, MUCH, Unsent};
pub(crate) use lent::LentItem;
pub(crate) use plan::{Chunking, EachWorker, HeldBytes, Plan, splits};
pub(crate) use retry::{RetryPlan, scatter};
pub(crate) use spec::{Constant, EncodedInput, FunctionRef, JobSpec, ProfileSpec};
