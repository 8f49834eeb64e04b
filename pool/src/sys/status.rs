//! How processes end.

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    Exited(i32),
    Signaled {
        signal: i32,
        core_dumped: bool,
    },
    /// It was killed, but has not ended.
    Stuck,
    /// It is gone, and other code of the program reaped it.
    Unknown,
}

impl ExitStatus {
    /// The signal that ended it.
    pub(crate) fn signal(self) -> Option<i32> {
        match self {
            Self::Signaled { signal, .. } => Some(signal),
            _ => None,
        }
    }
}
