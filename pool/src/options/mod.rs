//! Options of pools, as plain data.

mod cpus;
mod more;
mod pool;
mod process;
mod start_method;

pub use cpus::CpuIds;
pub(crate) use more::MoreWorkers;
pub(crate) use pool::{IdlePolicy, PoolConfig, WorkerPolicy};
pub use process::Resource;
pub(crate) use process::{Limit, ProcessOptions, ProcessSettings, Variables, limits_as_reason, set_limits};
pub use start_method::StartMethod;

/// The most workers that a pool may have: by default a machine has fewer descriptors and process IDs, but tables of
/// this many workers still fit in memory.
pub(crate) const MOST_WORKERS: usize = 1 << 16;
