//! What the operating system gives, in the crate's words: descriptors, control sockets, processes and how they are
//! born, tied to their parent, and ended. Nothing here knows what a pool is.

pub(crate) mod fd;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod inherit;
pub(crate) mod lifeline;
pub(crate) mod memfile;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod socket;
pub(crate) mod threads;

use nix::errno::Errno;

/// Makes a system call again for as long as a signal handler interrupts it.
fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}
