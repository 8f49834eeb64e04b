//! Options of pools, as plain data.

mod cpus;
mod pool;
mod start_method;

pub use cpus::CpuIds;
pub(crate) use pool::{PoolConfig, WorkerPolicy};
pub use start_method::StartMethod;

/// The most workers that a pool may have: more than a machine has descriptors and process ids for by default, yet few
/// enough that the pool's tables of them fit in memory.
pub(crate) const MOST_WORKERS: usize = 1 << 16;
