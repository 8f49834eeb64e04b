//! Which process this is: its ID tells. Where a program can fork at all, it is to fork no process that uses pools.

/// The process that owns something: the one that called [`Owner::here`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pid: u32,
}

impl Owner {
    /// This process.
    pub(crate) fn here() -> Self {
        Self { pid: std::process::id() }
    }

    /// Whether it is this process.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self == Self::here()
    }

    /// # Errors
    /// In a fork of the owner.
    #[inline]
    pub(crate) fn check(self) -> Result<(), Forked> {
        if self.is_here() { Ok(()) } else { Err(Forked { owner: self.pid }) }
    }
}

/// The error in a fork of the owner. Holds the owner's process ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forked {
    pub(crate) owner: u32,
}
