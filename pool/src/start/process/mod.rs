//! Workers that are processes: how they are started, and what they do first.

mod child;
mod fork;
mod forkserver;
mod killed;
mod protocol;
mod server;
mod spawn;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::{Child, Process, SharedSource, StartOutcome, Starter, Unstarted, Watch, WorkerConfig};
use crate::codec::encode_record;
use crate::error::Error;
use crate::options::{ProcessSettings, StartMethod};
use crate::sys::clock::now_ns;
use crate::sys::memfile;
use crate::sys::passed::Passed;
use crate::worker::WorkerKit;

pub(super) use child::decode_shared;
pub(crate) use child::live;

/// The starter for a method whose workers are processes.
pub(super) fn starter(method: StartMethod, config: WorkerConfig) -> Box<dyn Starter> {
    match method {
        StartMethod::Fork => Box::new(server::Forking::fork(config)),
        StartMethod::Spawn => Box::new(spawn::Spawn::new(config)),
        StartMethod::ForkServer => Box::new(server::Forking::fork_server(config)),
        StartMethod::Threads => unreachable!("threads have a starter of their own"),
    }
}

/// When something is late that may take this long from now.
fn due_in(limit: Duration) -> u64 {
    now_ns().saturating_add(limit.as_nanos() as u64)
}

fn is_over(due: u64) -> bool {
    now_ns() >= due
}

/// A file with what a process is to set for itself; none if that is nothing.
fn file_of(settings: &ProcessSettings) -> io::Result<Option<OwnedFd>> {
    if settings.is_empty() {
        return Ok(None);
    }
    let write = |out: &mut _| encode_record(settings, out).map_err(io::Error::other);
    Ok(Some(memfile::sealed("pool settings", write)?.0))
}

/// Puts into its kit what this worker is to set for itself.
fn add_settings(config: &WorkerConfig, method: StartMethod, kit: &mut WorkerKit) -> Result<(), Error> {
    let settings = config.process.of_worker(kit.id.0, method);
    let file = file_of(&settings).and_then(|file| file.map(Passed::new).transpose());
    kit.settings = file.map_err(|error| Error::start(kit.name(), error))?;
    Ok(())
}

/// How long a new process may take to answer.
const BOOT_LIMIT: Duration = Duration::from_secs(10);

/// How long it may take if it decodes a shared value first. A millisecond more for each KiB is more than any codec
/// needs.
fn boot_limit(shared: &SharedSource) -> Duration {
    match shared {
        SharedSource::Here(_) => BOOT_LIMIT,
        SharedSource::Encoded { len, .. } => BOOT_LIMIT + Duration::from_millis(*len as u64 >> 10),
    }
}
