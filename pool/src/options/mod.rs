//! Options of pools, as plain data.

mod cpus;
mod pool;
mod start_method;

pub use cpus::CpuIds;
pub(crate) use pool::{PoolConfig, WorkerPolicy};
pub use start_method::StartMethod;

/// More workers than any machine has descriptors and process numbers for by default, and few enough to be counted in
/// memory.
pub(crate) const MOST_WORKERS: usize = 1 << 16;
