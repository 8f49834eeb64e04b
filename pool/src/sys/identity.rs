//! The process that owns something, and its forks, which do not.

use super::process_identity::identity;

/// The process that owns something: the one that called [`Owner::here`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    identity: u64,
    pid: u32,
}

impl Owner {
    /// This process.
    pub(crate) fn here() -> Self {
        Self { identity: identity(), pid: std::process::id() }
    }

    /// Whether it is this process.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self.identity == identity()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same() {
        let owner = Owner::here();
        assert!(owner.is_here() && owner.check().is_ok());
        assert!(std::thread::spawn(Owner::here).join().unwrap() == owner);
    }

    #[test]
    fn another_process_is_another() {
        let owner = Owner { identity: identity() + 1, pid: 77 };
        assert_eq!(owner.check(), Err(Forked { owner: 77 }));
    }
}
