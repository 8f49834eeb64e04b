//! Memory files that a new process gets from its parent together with the shared value.
//!
//! A process finds the memory of a handle among the open files of the handle's owner, and the system does not show
//! these if the owner has given up privileges or is not dumpable. So such an owner sends along the files that its
//! shared value needs.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::file::path_of;
use crate::sys::fd::Guarded;

/// A memory file, and the name that the kernel shows for it.
#[derive(Debug)]
struct Granted {
    name: PathBuf,
    file: Guarded,
}

thread_local! {
    /// The files that came with the value that this thread is decoding.
    static GRANTED: RefCell<Vec<Granted>> = const { RefCell::new(Vec::new()) };
}

/// Decodes a value that came with these files, and closes them.
pub(crate) fn with_granted<R>(files: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> io::Result<R> {
    /// Closes the files, even if decoding panics.
    struct Close;
    impl Drop for Close {
        fn drop(&mut self) {
            drop(GRANTED.take());
        }
    }
    let granted = files.into_iter().map(|file| {
        let file = Guarded::new(file)?;
        Ok(Granted { name: fs::read_link(path_of(&file))?, file })
    });
    GRANTED.set(granted.collect::<io::Result<_>>()?);
    let _close = Close;
    Ok(decode())
}

/// Opens the file with this name again, if it came with the value.
pub(super) fn reopen(name: &Path) -> Option<OwnedFd> {
    GRANTED.with_borrow(|granted| {
        let found = granted.iter().find(|granted| granted.name == name)?;
        super::file::reopen(found.file.intact().ok()?).ok()
    })
}
