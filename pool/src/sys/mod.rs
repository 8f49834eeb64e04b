//! What the operating system gives, in the crate's words: descriptors, control sockets, processes and how they are
//! born, tied to their parent, and ended. Nothing here knows what a pool is.

mod linux;

pub(crate) use linux::*;
