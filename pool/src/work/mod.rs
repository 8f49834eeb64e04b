//! What crosses between a call and whoever carries it out: bytes and counts, no types.

mod exits;
mod feed;
mod inbox;
mod plan;
mod spec;

pub(crate) use exits::{ExitValue, Exits};
pub(crate) use feed::{ChunkWriter, Feed, Halt};
pub(crate) use inbox::{Arrival, Inbox, Outcome, TaskFailure};
pub(crate) use plan::{Chunking, Plan, splits};
pub(crate) use spec::{JobSpec, ProfileSpec, TaskRef};
