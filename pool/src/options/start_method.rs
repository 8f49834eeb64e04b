//! The start methods.

use std::fmt;

/// How a pool starts its workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StartMethod {
    /// Each worker is a fork of this process, with all of its memory: as it is at the first call, and again whenever a
    /// call finds no workers and no other threads. The first call fails while the process has other threads, because a
    /// fork would not have them.
    Fork,
    /// Each worker is this program, started again. It inherits nothing of this process's memory, and each start takes
    /// as long as starting the program does.
    Spawn,
    /// The default. The program is started again once, as a server process, and each worker is a fork of that server.
    /// Workers inherit nothing of this process's memory, start fast, and share one decoded shared value.
    #[default]
    ForkServer,
    /// Workers are threads of this process, so nothing is isolated. Arguments and results are encoded as for
    /// processes, so that a program behaves the same with either.
    Threads,
}

impl StartMethod {
    /// Returns whether workers are processes.
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
