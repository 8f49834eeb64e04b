//! The operating system, as the crate uses it: descriptors, control sockets, memory, and processes: how to fork or
//! start them, tie them to their parent, and end them. Nothing here knows about pools.

mod linux;

pub(crate) use linux::*;
