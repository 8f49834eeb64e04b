//! The three kinds of function that workers run.

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    Init,
    Exit,
}

impl Kind {
    /// As its attribute is written.
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Self::Task => "#[worker_task]",
            Self::Init => "#[worker_init]",
            Self::Exit => "#[worker_exit]",
        }
    }

    /// As a message calls it.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Task => "worker task",
            Self::Init => "worker init",
            Self::Exit => "worker exit",
        }
    }

    /// The options of its attribute.
    pub(crate) fn options(self) -> &'static str {
        match self {
            Self::Task => "`init`, `exit`, `name`, `crate`",
            Self::Init | Self::Exit => "`name`, `crate`",
        }
    }
}
