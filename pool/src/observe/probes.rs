//! How one worker is observed: what it prints and logs, what it notes of its time, and how far the calls of its own pools
//! are.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use serde::{Deserialize, Serialize};

use super::logs::{self, Log, Verbosity};
use super::progress::NestedProgress;
use super::stderr::StderrPipe;
use super::timeline::Track;
use crate::ids::WorkerId;
use crate::options::WorkerPolicy;
use crate::sys::passed::Passed;
use crate::sys::pipe::pipe;

/// The parent's side.
#[derive(Debug)]
pub(crate) struct Probes {
    /// A thread prints to its process's stderr.
    pub(super) stderr: Option<StderrPipe>,
    pub(super) log: Option<Log>,
    pub(super) track: Option<Track>,
    pub(super) nested: Option<NestedProgress>,
}

/// The worker's side.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProbeEnds {
    pub(crate) stderr: Option<Passed>,
    /// Where it logs, and how much, if somebody listens.
    pub(crate) log: Option<(Passed, Verbosity)>,
    pub(crate) handles: ProbeHandles,
}

/// Handles of memory in which a worker notes what its parent may look at.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProbeHandles {
    /// What it does when: a [`Track`].
    pub(crate) track: Option<Vec<u8>>,
    /// How far the calls of its own pools are: a [`NestedProgress`].
    pub(crate) nested: Option<Vec<u8>>,
}

impl Probes {
    /// Both sides, for a new worker.
    pub(super) fn open(
        policy: WorkerPolicy,
        is_process: bool,
        keeps_history: bool,
    ) -> io::Result<(Self, ProbeEnds)> {
        let (stderr, printer) = match is_process {
            true => {
                let (reader, writer) = pipe()?;
                (Some(StderrPipe::new(reader, policy.raw_stderr)), Some(writer))
            }
            false => (None, None),
        };
        let (log, log_sender) = logs::open()?;
        let (track, track_handle) = keeps_history.then(Track::open).flatten().unzip();
        let (nested, nested_handle) = policy.nests.then(NestedProgress::open).flatten().unzip();
        let handles = ProbeHandles { track: track_handle, nested: nested_handle };
        let ends = ProbeEnds { stderr: printer, log: log_sender, handles };
        Ok((Self { stderr, log, track, nested }, ends))
    }

    /// The pipes that the parent reads.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let stderr = self.stderr.iter().map(|stderr| stderr.pipe.as_fd());
        stderr.chain(self.log.iter().map(Log::pipe))
    }

    /// Whether the worker shows how far the calls of its own pools are.
    pub(crate) fn shows_progress(&self) -> bool {
        self.nested.is_some()
    }

    /// Shows how far the calls of its own pools are.
    pub(crate) fn show_progress(&mut self, worker: WorkerId) {
        if let Some(nested) = &mut self.nested {
            nested.update(worker);
        }
    }

    /// Answers have come: what was printed before is not the fault of a task that fails now.
    pub(crate) fn note_answers(&mut self) {
        if let Some(stderr) = &mut self.stderr {
            stderr.note_answers();
        }
    }
}
