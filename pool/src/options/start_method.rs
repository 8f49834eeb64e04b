//! The start methods.

use std::fmt;

/// How workers come into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StartMethod {
    /// A copy of this process, with all that lies in its memory: as it is at the first call, and again whenever a
    /// call finds no workers and no other threads. The first call is refused while the process has other threads,
    /// which a copy would not have.
    Fork,
    /// This program started anew for each worker: nothing of its memory is inherited, and a worker that is started later takes
    /// as long as the first.
    Spawn,
    /// A copy of a server process, which is this program started anew: nothing is inherited, starts are fast, and
    /// the shared value is decoded once for all workers.
    #[default]
    ForkServer,
    /// Threads of this process: no isolation. Arguments and results are encoded as for processes, so that a program
    /// does the same with either.
    Threads,
}

impl StartMethod {
    /// Whether workers are processes.
    #[must_use]
    pub fn is_process(self) -> bool {
        self != Self::Threads
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
