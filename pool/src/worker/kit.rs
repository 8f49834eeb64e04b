//! What a new worker is given.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::ids::{WorkerId, worker_id};
use crate::lane;
use crate::observe::ProbeEnds;
use crate::task::SharedAny;

/// All that is one worker's own. It goes to a thread as it is, and to a process in a message: a further field needs
/// nothing else.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerKit {
    #[serde(with = "worker_id")]
    pub(crate) id: WorkerId,
    /// How many workers this process has begun to start before.
    pub(crate) start: u64,
    /// The CPUs that it may use; empty: those of the thread that starts it. The parent puts a process on its CPUs.
    #[serde(skip)]
    pub(crate) cpus: Vec<usize>,
    pub(crate) lane: lane::WorkerSide,
    pub(crate) probes: ProbeEnds,
}

impl WorkerKit {
    pub(crate) fn new(id: WorkerId, cpus: Vec<usize>, lane: lane::WorkerSide, probes: ProbeEnds) -> Self {
        static STARTS: AtomicU64 = AtomicU64::new(1);
        Self { id, start: STARTS.fetch_add(1, Ordering::Relaxed), cpus, lane, probes }
    }

    /// What messages call the worker.
    pub(crate) fn name(&self) -> String {
        format!("worker {}", self.id)
    }
}

/// What all workers of a pool have in common.
pub(crate) struct PoolContext {
    pub(crate) codec: Codec,
    pub(crate) daemon: bool,
    pub(crate) shared: SharedAny,
    /// Whether std has made this thread's random keys. A fork copies them, and so does the next one.
    pub(crate) has_random_keys: bool,
}
