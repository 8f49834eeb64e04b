//! The start methods.

use std::fmt;

use crate::sys::HAS_PROCESSES;

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
    /// The default on Linux. The program is started again once, as a server process, and each worker is a fork of that
    /// server. Workers inherit nothing of this process's memory, start fast, and share one decoded shared value.
    #[cfg_attr(not(portable), default)]
    ForkServer,
    /// Workers are threads of this process, so nothing is isolated. Arguments and results are encoded as for
    /// processes, so that a program behaves the same with either. On systems other than Linux this is the default, and
    /// the only method.
    #[cfg_attr(portable, default)]
    Threads,
}

impl StartMethod {
    /// Returns whether workers are processes.
    #[must_use]
    pub fn is_process(self) -> bool {
        self != Self::Threads
    }

    /// Whether this system has it.
    pub(crate) fn is_available(self) -> bool {
        HAS_PROCESSES || !self.is_process()
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
