//! CPUs: how many this process may use, and which ones.

use std::io;
use std::thread::available_parallelism;

use core_affinity::CoreId;

/// The number of CPUs that a set may have. Each CPU's number is lower.
pub(crate) const MOST_CPUS: usize = 1024;

/// Whether a thread can be restricted to several CPUs, not only to one.
pub(crate) const HAS_SETS: bool = false;

/// How many CPUs this process may use, as [`std::thread::available_parallelism`] says: at least 1.
#[must_use]
pub fn cpu_count() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Does nothing: a thread that pins itself does not change the number of CPUs.
pub(crate) fn note_start() {}

/// The CPUs that this process may use, in ascending order. None if the system does not tell.
pub(crate) fn of_process() -> Vec<usize> {
    let mut all: Vec<_> = core_affinity::get_core_ids().unwrap_or_default();
    all.sort();
    all.into_iter().map(|core| core.id).collect()
}

/// None, which pins nothing: a new thread may use all CPUs.
pub(crate) fn unless_this_thread_has_all() -> Vec<usize> {
    Vec::new()
}

/// Restricts this thread to these CPUs.
pub(crate) fn pin_this_thread(cpus: &[usize]) -> io::Result<()> {
    match *cpus {
        [id] if core_affinity::set_for_current(CoreId { id }) => Ok(()),
        [_] => Err(io::Error::other("the system does not pin the thread")),
        _ => super::unsupported(),
    }
}
