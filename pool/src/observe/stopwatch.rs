//! What a worker notes of its tasks where somebody wants insights: which took longest, and what was done when.

use super::insights::TOLD;
use crate::ids::TaskIndex;
use crate::observe::timeline::Recorder;
use crate::sys::ticks::{self, Scale};

/// Watches the tasks.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    scale: Scale,
    /// When the task that runs began, in ticks.
    began: u64,
    /// What the slowest tasks took, in ticks, the longest first.
    took: [u64; TOLD],
    recorder: Option<Recorder>,
}

impl Stopwatch {
    pub(crate) fn new(recorder: Option<Recorder>) -> Self {
        Self { scale: Scale::new(), began: 0, took: [0; TOLD], recorder }
    }

    /// Tasks begin, with this one.
    #[inline]
    pub(crate) fn begin(&mut self, task: u32, index: TaskIndex) {
        self.began = ticks::now();
        if let Some(recorder) = &mut self.recorder {
            recorder.begin(task, index.number(), self.began);
        }
    }

    /// A task is over, and the next one begins. If it is one of the slowest, says what it took, in nanoseconds. One that is
    /// hardly slower is left out, or tasks of which each takes longer than the one before would all be told of.
    #[inline]
    pub(crate) fn end(&mut self) -> Option<u64> {
        let took = self.next();
        let [.., least] = self.took;
        (took > least + least / 10).then(|| self.note(took))
    }

    /// A task has failed, and the next one begins: what it took, in ticks.
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        let now = ticks::now();
        if let Some(recorder) = &mut self.recorder {
            recorder.end(now);
        }
        now.saturating_sub(std::mem::replace(&mut self.began, now))
    }

    /// No more of them follow now.
    #[inline]
    pub(crate) fn rest(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.pause();
        }
    }

    /// What began last is over, and was no task.
    pub(crate) fn end_phase(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.end_phase();
        }
    }

    #[cold]
    fn note(&mut self, took: u64) -> u64 {
        self.took[TOLD - 1] = took;
        self.took.sort_unstable_by(|a, b| b.cmp(a));
        self.scale.ns(took)
    }
}
