//! The alternatives that people use or write, each behind a `map` that keeps the order.

mod channels;
mod ipc;
mod spawned;

pub(crate) use channels::Channels;
pub(crate) use ipc::{Ipc, serve, serve_if_asked};
pub(crate) use spawned::Spawned;
