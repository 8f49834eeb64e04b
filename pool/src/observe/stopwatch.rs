//! Measures a worker's tasks for insights: finds the slowest, and has a [`Recorder`] record what runs when.

use super::insights::MAX_SLOWEST;
use crate::ids::TaskIndex;
use crate::observe::timeline::Recorder;
use crate::sys::ticks::{self, Scale};

#[derive(Debug)]
pub(crate) struct Stopwatch {
    scale: Scale,
    /// When the running task began, in ticks.
    began: u64,
    /// The times of the slowest tasks in ticks, the longest first.
    longest: [u64; MAX_SLOWEST],
    recorder: Option<Recorder>,
}

impl Stopwatch {
    pub(crate) fn new(recorder: Option<Recorder>) -> Self {
        Self { scale: Scale::new(), began: 0, longest: [0; MAX_SLOWEST], recorder }
    }

    /// Begins the first task of a run, or an init or exit function.
    #[inline]
    pub(crate) fn begin(&mut self, task: u32, index: TaskIndex) {
        self.began = ticks::now();
        if let Some(recorder) = &mut self.recorder {
            recorder.begin(task, index.number(), self.began);
        }
    }

    /// Ends a task that succeeded; the next one of the run begins now. Returns the task's time in nanoseconds if it is
    /// one of the slowest. It must be a tenth slower than the least of those: otherwise, where each task takes a
    /// little longer than the one before, every one of them would be reported.
    #[inline]
    pub(crate) fn end(&mut self) -> Option<u64> {
        let took = self.lap();
        let [.., least] = self.longest;
        (took > least + least / 10).then(|| self.add_slow(took))
    }

    /// Ends a task; the next one of the run begins now. Returns the task's time in ticks.
    #[inline]
    pub(crate) fn lap(&mut self) -> u64 {
        let now = ticks::now();
        if let Some(recorder) = &mut self.recorder {
            recorder.end(now);
        }
        now.saturating_sub(std::mem::replace(&mut self.began, now))
    }

    /// Ends the run.
    #[inline]
    pub(crate) fn pause(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.pause();
        }
    }

    /// Ends an init or exit function.
    pub(crate) fn end_phase(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.end_phase();
        }
    }

    #[cold]
    fn add_slow(&mut self, took: u64) -> u64 {
        self.longest[MAX_SLOWEST - 1] = took;
        self.longest.sort_unstable_by(|a, b| b.cmp(a));
        self.scale.ns(took)
    }
}
