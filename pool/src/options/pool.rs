//! The options of a pool, as they were checked.

use super::StartMethod;
use crate::codec::Codec;

/// What does not change in the pool's life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolConfig {
    pub(crate) workers: usize,
    pub(crate) method: StartMethod,
    pub(crate) codec: Codec,
    pub(crate) order_tasks: bool,
    pub(crate) policy: WorkerPolicy,
}

/// How a pool keeps its workers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerPolicy {
    /// They stay when no job is open.
    pub(crate) keep_alive: bool,
    /// How many bytes one may hold between tasks.
    pub(crate) memory_limit: Option<u64>,
    /// Somebody wants to know what they did.
    pub(crate) insights: bool,
    /// They are processes that may have pools of their own.
    pub(crate) nests: bool,
    /// What they print to stderr is passed on with its control characters.
    pub(crate) raw_stderr: bool,
}
