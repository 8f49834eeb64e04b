//! The values that a new worker gets.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::ids::{WorkerId, worker_id};
use crate::lane;
use crate::observe::ProbeEnds;
use crate::options::Limit;
use crate::sys::passed::Passed;
use crate::task::SharedAny;

/// Everything that is one worker's own. It goes to a thread as a value, and to a process in a message. A new field
/// needs no other change.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerKit {
    #[serde(with = "worker_id")]
    pub(crate) id: WorkerId,
    /// How many workers this process had begun to start before this one.
    pub(crate) start: u64,
    /// The CPUs that it may use; if empty, those of the thread that starts it. Not sent to a process, which the parent
    /// pins.
    #[serde(skip)]
    pub(crate) cpus: Vec<usize>,
    pub(crate) lane: lane::WorkerSide,
    pub(crate) probes: ProbeEnds,
    /// A file with what a process sets for itself; none if that is nothing.
    pub(crate) settings: Option<Passed>,
    /// The limits that a process sets for itself once it is ready. Not sent: the file has them.
    #[serde(skip)]
    pub(crate) limits: Vec<Limit>,
}

impl WorkerKit {
    pub(crate) fn new(id: WorkerId, cpus: Vec<usize>, lane: lane::WorkerSide, probes: ProbeEnds) -> Self {
        static STARTS: AtomicU64 = AtomicU64::new(1);
        let start = STARTS.fetch_add(1, Ordering::Relaxed);
        Self { id, start, cpus, lane, probes, settings: None, limits: Vec::new() }
    }

    /// The worker's name in messages.
    pub(crate) fn name(&self) -> String {
        format!("worker {}", self.id)
    }
}

/// The context that all workers of a pool share.
pub(crate) struct PoolContext {
    pub(crate) codec: Codec,
    pub(crate) daemon: bool,
    pub(crate) shared: SharedAny,
    /// Whether std has made the random keys of this thread, which all its forks copy.
    pub(crate) has_random_keys: bool,
}
