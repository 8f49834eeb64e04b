//! Linux.

pub(crate) mod clock;
pub(crate) mod cpu;
pub(crate) mod credentials;
pub(crate) mod faults;
pub(crate) mod fd;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod identity;
pub(crate) mod inherit;
pub(crate) mod inheritable;
pub(crate) mod leave;
pub(crate) mod lifeline;
pub(crate) mod memfile;
pub(crate) mod memory;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod socket;
pub(crate) mod stack;
pub(crate) mod standard;
pub(crate) mod threads;
pub(crate) mod ticks;
pub(crate) mod write;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use nix::errno::Errno;

/// The error of a system call, with the call's name: a sandbox may deny a call, and a number does not say which.
pub(crate) fn named<E: Into<io::Error>>(call: &str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("{call}: {error}"))
    }
}

/// Makes a system call again for as long as a signal handler interrupts it.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// The text of a file of the kernel's. Such a file does not say how long it is, and to find out as std does takes many
/// calls.
pub(crate) fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::with_capacity(8192);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}
