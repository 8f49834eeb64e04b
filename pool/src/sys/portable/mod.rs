//! Any system, with std alone: workers are threads, and share the memory of their process.

pub(crate) mod clock;
pub(crate) mod cpu;
pub(crate) mod cpu_time;
pub(crate) mod errno;
pub(crate) mod faults;
pub(crate) mod fd;
pub(crate) mod futex;
pub(crate) mod handle;
pub(crate) mod heap;
pub(crate) mod lifeline;
mod local;
pub(crate) mod mapping;
pub(crate) mod memfile;
pub(crate) mod memory;
pub(crate) mod own_stack;
pub(crate) mod passed;
pub(crate) mod pipe;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod process_identity;
pub(crate) mod program;
pub(crate) mod random;
pub(crate) mod settings;
pub(crate) mod spill;
pub(crate) mod standard;
pub(crate) mod threads;
pub(crate) mod waker;
pub(crate) mod write;
pub(crate) mod zeroed;

use std::io;

use super::Resource;

/// Whether workers can be processes.
pub(crate) const HAS_PROCESSES: bool = false;

/// Adds the name of what was called to an error.
pub(crate) fn named<E: Into<io::Error>>(call: &str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("{call}: {error}"))
    }
}

/// The error of all that std cannot do.
fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
