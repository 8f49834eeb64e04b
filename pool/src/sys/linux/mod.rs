//! Linux.

pub(crate) mod clock;
pub(crate) mod cpu;
pub(crate) mod cpu_time;
pub(crate) mod credentials;
pub(crate) mod errno;
pub(crate) mod eventfd;
pub(crate) mod faults;
pub(crate) mod fd;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod handle;
pub(crate) mod heap;
pub(crate) mod inherit;
pub(crate) mod inheritable;
pub(crate) mod leave;
pub(crate) mod lifeline;
pub(crate) mod limits;
#[cfg_attr(all(loom, test), expect(dead_code, reason = "a model's lane lies in no mapping"))]
pub(crate) mod mapping;
pub(crate) mod memfile;
pub(crate) mod memory;
pub(crate) mod own_stack;
pub(crate) mod passed;
pub(crate) mod pidfd;
pub(crate) mod pipe;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod process_identity;
pub(crate) mod program;
pub(crate) mod random;
pub(crate) mod settings;
pub(crate) mod socket;
pub(crate) mod spill;
pub(crate) mod standard;
pub(crate) mod threads;
mod traced;
pub(crate) mod waker;
pub(crate) mod write;

use std::io;

use nix::errno::Errno;

use super::{ExitStatus, Resource, read_text};

/// Whether workers can be processes.
pub(crate) const HAS_PROCESSES: bool = true;

/// Adds the name of the system call or file to an error: a sandbox may deny a call, and the number alone does not say
/// which. If the cause is a limit on descriptors, also adds the limit and how to raise it.
pub(crate) fn named<E: Into<io::Error>>(call: &str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = error.into();
        let limit = error.raw_os_error().and_then(limits::of_descriptors).unwrap_or_default();
        io::Error::new(error.kind(), format!("{call}: {error}{limit}"))
    }
}

/// Repeats a system call for as long as signal handlers interrupt it.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}
