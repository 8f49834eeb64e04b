//! The options of a pool after they were checked.

use super::StartMethod;
use crate::codec::Codec;

/// The options that stay the same for the pool's whole life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolConfig {
    pub(crate) method: StartMethod,
    pub(crate) codec: Codec,
    pub(crate) order_tasks: bool,
    /// How many tasks may be outstanding in the background.
    pub(crate) max_queue: Option<usize>,
    /// At most this many threads help callers decode.
    pub(crate) decode_threads: usize,
    pub(crate) policy: WorkerPolicy,
}

/// How a pool treats its workers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerPolicy {
    /// Whether they stay when no job is open.
    pub(crate) keep_alive: bool,
    /// When idle workers leave, if they do.
    pub(crate) idle: Option<IdlePolicy>,
    /// How many bytes a worker may grow by, until it is replaced after its task.
    pub(crate) memory_limit: Option<u64>,
    /// Whether workers measure what they do.
    pub(crate) insights: bool,
    /// Whether they are processes that may build pools of their own.
    pub(crate) nests: bool,
    /// Whether control characters in their stderr output are passed on unchanged.
    pub(crate) raw_stderr: bool,
}

/// When idle workers leave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdlePolicy {
    /// How long they have had nothing to do.
    pub(crate) timeout_ns: u64,
    /// How many stay in any case.
    pub(crate) least: usize,
}
