//! Which worker, or worker of a worker, a call belongs to.

use std::fmt;

use crate::ids::WorkerId;

/// The numbers of the workers on the way from this process to a call: 16 bits each, the outermost in the lowest,
/// counted from 1. Four levels are kept, and deeper ones dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WorkerPath(u64);

impl WorkerPath {
    /// The path to this process itself.
    pub(super) const HERE: Self = Self(0);

    pub(super) fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// The same path, seen by the parent of that worker.
    pub(super) fn of_worker(self, worker: WorkerId) -> Self {
        Self(self.0 << 16 | (worker.0 as u64 + 1) & 0xffff)
    }
}

impl fmt::Display for WorkerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::HERE {
            return Ok(());
        }
        f.write_str("worker")?;
        let levels = (0..4).map(|level| self.0 >> (16 * level) & 0xffff).take_while(|worker| *worker > 0);
        for (level, worker) in levels.enumerate() {
            write!(f, "{}{}", if level == 0 { ' ' } else { '/' }, worker - 1)?;
        }
        f.write_str(": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_worker_comes_first() {
        assert_eq!(WorkerPath::HERE.to_string(), "");
        let nested = WorkerPath::HERE.of_worker(WorkerId(2)).of_worker(WorkerId(0));
        assert_eq!(nested.to_string(), "worker 0/2: ");
        assert_eq!(WorkerPath(u64::MAX).to_string(), "worker 65534/65534/65534/65534: ");
    }
}
