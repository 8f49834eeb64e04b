//! Where the system gives no processes that could be workers. The pool's builder has refused their start methods.

use super::{Starter, WorkerConfig};
use crate::codec::Codec;
use crate::options::StartMethod;
use crate::sys::fd::Guarded;
use crate::task::SharedAny;

/// No process is started with a worker's arguments, so this one is not one, whatever its arguments are.
pub(crate) fn live() {}

pub(super) fn starter(method: StartMethod, _: WorkerConfig) -> Box<dyn Starter> {
    unreachable!("{method} was refused")
}

pub(super) fn decode_shared(_: Codec, _: u64, _: u64, bytes: &Guarded) -> Result<SharedAny, String> {
    match *bytes {}
}
