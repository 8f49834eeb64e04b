//! The means by which a parent observes one worker: pipes for what it prints and logs, and shared memory in which it
//! records its time and the progress of calls on pools of its own.

use std::io;

use serde::{Deserialize, Serialize};

use super::logs::{self, Log, Verbosity};
use super::progress::NestedProgress;
use super::stderr::StderrPipe;
use super::timeline::Track;
use crate::ids::WorkerId;
use crate::options::WorkerPolicy;
use crate::sys::pipe::{Writer, pipe};
use crate::sys::poll::Source;

/// The parent's side.
#[derive(Debug)]
pub(crate) struct Probes {
    /// None for a thread: it prints to the stderr of its process.
    pub(super) stderr: Option<StderrPipe>,
    pub(super) log: Option<Log>,
    pub(super) track: Option<Track>,
    pub(super) nested: Option<NestedProgress>,
}

/// The worker's side.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProbeEnds {
    pub(crate) stderr: Option<Writer>,
    /// The pipe for its log, and how much to log, if anyone listens.
    pub(crate) log: Option<(Writer, Verbosity)>,
    /// The handle of a [`Track`].
    pub(crate) track: Option<Vec<u8>>,
    /// The handle of a [`NestedProgress`].
    pub(crate) nested: Option<Vec<u8>>,
}

impl Probes {
    /// Makes both sides for a new worker.
    pub(super) fn open(
        policy: WorkerPolicy,
        is_process: bool,
        keeps_history: bool,
    ) -> io::Result<(Self, ProbeEnds)> {
        let stderr = if is_process { Some(pipe()?) } else { None };
        let (stderr, stderr_end) = stderr.unzip();
        let stderr = stderr.map(|pipe| StderrPipe::new(pipe, policy.raw_stderr));
        let (log, log_end) = logs::open()?;
        let (track, track_end) = keeps_history.then(Track::open).flatten().unzip();
        let (nested, nested_end) = policy.nests.then(NestedProgress::open).flatten().unzip();
        let ends = ProbeEnds { stderr: stderr_end, log: log_end, track: track_end, nested: nested_end };
        Ok((Self { stderr, log, track, nested }, ends))
    }

    /// The pipes that the parent reads.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = Source<'_>> {
        let stderr = self.stderr.iter().map(|stderr| stderr.pipe.source());
        stderr.chain(self.log.iter().map(Log::pipe))
    }

    /// Whether the worker can show the progress of calls on pools of its own.
    pub(crate) fn shows_progress(&self) -> bool {
        self.nested.is_some()
    }

    /// Shows the progress of calls that the worker makes on pools of its own.
    pub(crate) fn show_progress(&mut self, worker: WorkerId) {
        if let Some(nested) = &mut self.nested {
            nested.update(worker);
        }
    }

    /// Answers have arrived: what was printed before belongs to no task that fails from here on.
    pub(crate) fn note_answers(&mut self) {
        if let Some(stderr) = &mut self.stderr {
            stderr.note_answers();
        }
    }
}
