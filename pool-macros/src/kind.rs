//! The three kinds of function that workers run.

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Task,
    Init,
    Exit,
}

impl Kind {
    /// Its attribute, as written.
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Self::Task => "#[worker_task]",
            Self::Init => "#[worker_init]",
            Self::Exit => "#[worker_exit]",
        }
    }

    /// The name of its attribute.
    pub(crate) fn name(self) -> &'static str {
        self.attribute().trim_start_matches("#[").trim_end_matches(']')
    }

    /// The kind whose attribute has this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Task, Self::Init, Self::Exit].into_iter().find(|kind| kind.name() == name)
    }

    /// Its noun in messages.
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
            Self::Task => "`for`, `fallible`, `init`, `exit`, `name`, `crate`",
            Self::Init | Self::Exit => "`for`, `fallible`, `name`, `crate`",
        }
    }
}
