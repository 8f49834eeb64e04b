//! The operating system, as the crate uses it: descriptors, control sockets, memory, and processes, which are forked or
//! started, tied to their parent, and ended. Nothing here knows what a pool is.

mod linux;

pub(crate) use linux::*;
