//! The alternatives that people use or write, behind a `map` that keeps the order, or behind a call.

mod channels;
mod ipc;
mod spawned;

pub(crate) use channels::{Channels, Requests};
pub(crate) use ipc::{Ipc, serve, serve_if_asked};
pub(crate) use spawned::Spawned;
