//! How much CPU time a child has used.

use std::thread::available_parallelism;

use super::process::Process;

/// The CPU time of a child.
pub(crate) fn of(child: &Process) -> Option<u64> {
    match *child {}
}

/// The time, which passes at least as fast as the CPU time of this thread.
#[cfg(all(test, not(loom)))]
pub(crate) fn of_this_thread() -> std::time::Duration {
    std::time::Duration::from_nanos(super::clock::now_ns())
}

/// The most CPUs that a process can run on at once.
pub(crate) fn most_cpus() -> usize {
    available_parallelism().map_or(1, usize::from)
}
