//! The operating system, as the crate uses it: descriptors, control sockets, memory, and processes: how to fork or
//! start them, tie them to their parent, and end them. Nothing here knows about pools.
//!
//! `linux` has all of it, and `portable` what std gives on any system: threads, and memory that they share. Both have
//! modules, types and functions of the same names. What cannot exist elsewhere, such as a child process, is a type
//! without values there, so code above needs no case for it.

#[cfg(not(portable))]
mod linux;
#[cfg(portable)]
mod portable;
pub(crate) mod identity;
mod resource;
pub(crate) mod signal;
pub(crate) mod stack;
mod status;
pub(crate) mod ticks;

#[cfg(not(portable))]
pub(crate) use linux::*;
#[cfg(portable)]
pub(crate) use portable::*;
pub use resource::Resource;
pub(crate) use status::ExitStatus;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file of the kernel's, such as one in /proc. It does not tell its length, and std would take many calls to
/// find out.
pub(crate) fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::with_capacity(8192);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}
