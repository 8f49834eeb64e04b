//! What the tests of starters put in the place of an engine.

use super::*;
use crate::lane::{self, ParentEnd};
use crate::observe::ProbeEnds;
use crate::sys::poll::PollSet;

/// A poll set on which nobody sleeps.
pub(super) struct Unwatched;

impl Watch for Unwatched {
    fn watch_start(&self, _: Source<'_>) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn config() -> WorkerConfig {
    WorkerConfig {
        codec: Codec::default(),
        daemon: true,
        shared: SharedSource::Here(Arc::new(())),
        allow_fork_with_threads: false,
        process: Arc::default(),
    }
}

/// The kit of a worker without probes, and the parent's end of its lane.
pub(super) fn kit(worker: usize) -> (ParentEnd, WorkerKit) {
    let (parent, lane) = lane::open(PollSet::new().unwrap().waker().unwrap()).unwrap();
    (parent, WorkerKit::new(WorkerId(worker), Vec::new(), lane, ProbeEnds::default()))
}
