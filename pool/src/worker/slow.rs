//! Which tasks took longest, where somebody wants to know.

use crate::sys::ticks::{self, Scale};

/// So many of a worker's tasks are told of.
pub(crate) const TOLD: usize = 5;

/// What the slowest tasks so far took.
#[derive(Debug)]
pub(super) struct Slowest {
    scale: Scale,
    /// When the task that runs began, in ticks.
    began: u64,
    /// In ticks, the longest first.
    took: [u64; TOLD],
}

impl Default for Slowest {
    fn default() -> Self {
        Self { scale: Scale::new(), began: 0, took: [0; TOLD] }
    }
}

impl Slowest {
    /// The next task begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.began = ticks::now();
    }

    /// A task is over, and the next one begins. If it is one of the slowest, says what it took, in nanoseconds. One that is
    /// hardly slower is left out, or tasks of which each takes longer than the one before would all be told of.
    #[inline]
    pub(super) fn end(&mut self) -> Option<u64> {
        let now = ticks::now();
        let took = now.saturating_sub(std::mem::replace(&mut self.began, now));
        let [.., least] = self.took;
        (took > least + least / 10).then(|| self.note(took))
    }

    #[cold]
    fn note(&mut self, took: u64) -> u64 {
        self.took[TOLD - 1] = took;
        self.took.sort_unstable_by(|a, b| b.cmp(a));
        self.scale.ns(took)
    }
}
