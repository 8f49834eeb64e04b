//! Starting workers: one [`Starter`] for each start method.
//!
//! Whatever the method, a worker process is a **child of the main process**, in a process group of its own, tied to the
//! main process by a [lifeline](crate::sys::lifeline). It is born waiting, and goes on only once the parent has noted
//! it. So no process that runs user code is ever unknown to the parent, and a start that fails halfway leaves nothing
//! behind.
//!
//! | method | a worker is |
//! |---|---|
//! | `Spawn` | this program, started again |
//! | `ForkServer` | a fork of a *server*: this program, started again, with one thread and the shared value decoded |
//! | `Fork` | a fork of a server that is itself a fork of the main process, made at the first start |
//! | `Threads` | a thread |
//!
//! A worker gets a [`WorkerKit`] of its own, and the context that all workers of the pool share. The kit goes to a
//! thread as a value, and to a process as a message of the [`protocol`], in which descriptors are fields.
//!
//! # Starts go on beside everything else
//!
//! The pool's lock is held while a starter is at work, so a starter waits for no other process. It begins a start with
//! a message, and has the pool's poll set watch the control socket and the process ([`Watch`]). When that reports
//! something, or the starter's deadline is over, [`Starter::advance`] takes the answers that are there. The lane of a
//! worker is there from the beginning, so orders can be sent before the process is.
//!
//! Two waits are left, neither for a process that runs user code: the fork or exec itself, and new threads of this
//! process, which open their lanes before any user code may run.
//!
//! The server forks siblings, not children of its own: its death harms no worker, and the parent gets their exit
//! statuses.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{Codec, encode_record};
use crate::error::Error;
use crate::ids::WorkerId;
use crate::options::{ProcessOptions, ProcessSettings, StartMethod, Variables};
use crate::shared::Retained;
use crate::sys::clock::now_ns;
use crate::sys::fd::Guarded;
use crate::sys::memfile;
use crate::sys::passed::Passed;
use crate::sys::poll::Source;
pub(crate) use crate::sys::process::Process;
use crate::task::SharedAny;
use crate::worker::WorkerKit;

mod fork;
mod forkserver;
pub(crate) mod child;
#[cfg(test)]
mod fakes;
mod killed;
mod protocol;
mod server;
mod spawn;
mod threads;

pub(crate) use threads::Thread;

/// The configuration that all workers of a pool share, on the parent's side. A worker has a
/// [`PoolContext`](crate::worker::PoolContext).
#[derive(Clone)]
pub(crate) struct WorkerConfig {
    pub(crate) codec: Codec,
    pub(crate) daemon: bool,
    pub(crate) shared: SharedSource,
    pub(crate) allow_fork_with_threads: bool,
    pub(crate) process: Arc<ProcessOptions>,
}

impl WorkerConfig {
    /// Adds the variables of further workers.
    fn add_variables(&mut self, env: Vec<Variables>) {
        Arc::make_mut(&mut self.process).env.extend(env);
    }
}

/// The shared value, as the parent keeps it for its workers.
#[derive(Clone)]
pub(crate) enum SharedSource {
    /// The value in memory: for workers that inherit memory.
    Here(SharedAny),
    /// Encoded, in a sealed memory file; the key names its type. `kept` retains the shared memory to which the bytes
    /// contain handles.
    Encoded { key: u64, bytes: Arc<Guarded>, len: usize, kept: Retained },
}

/// Why a worker could not be started.
#[derive(Debug, Clone)]
pub(crate) struct Unstarted {
    pub(crate) error: Error,
    /// A second try would fail in the same way.
    pub(crate) is_final: bool,
}

impl Unstarted {
    fn for_good(error: Error) -> Self {
        Self { error, is_final: true }
    }
}

impl From<Error> for Unstarted {
    fn from(error: Error) -> Self {
        let is_final =
            matches!(error, Error::ForkWithThreads { .. } | Error::NotInitialized(_) | Error::Registry(_));
        Self { error, is_final }
    }
}

/// A start method at work for one pool. Dropping it ends the processes that it keeps besides the workers, and waits
/// for their ends.
pub(crate) trait Starter: Send {
    /// Begins to start a worker. Its outcome comes from [`settle`](Self::settle) or [`advance`](Self::advance).
    fn start(&mut self, kit: WorkerKit, watch: &dyn Watch) -> Result<(), Unstarted>;

    /// Ends a batch of starts that have begun, and takes the outcomes that are known already. Call it before the lock
    /// is released.
    fn settle(&mut self, watch: &dyn Watch, outcomes: &mut Vec<StartOutcome>);

    /// Goes on with the starts that have begun, as far as their processes have answered.
    fn advance(&mut self, watch: &dyn Watch, outcomes: &mut Vec<StartOutcome>);

    /// When to [`advance`](Self::advance) at the latest, even if the poll set reports nothing.
    fn deadline(&self) -> Option<u64>;

    /// Says whether a caller that is away comes back.
    fn expect_caller(&mut self, _: bool) {}

    /// Whether starts go on only in a turn of a caller.
    fn awaits_caller(&self) -> bool {
        false
    }

    /// Ends all starts that have begun, without outcomes. Waits for the ends of their processes, which are killed.
    fn abandon(&mut self) {}

    /// From now on, workers that inherit this process's memory get its present state, if possible.
    fn refresh(&mut self) {}

    /// Adds the variables of further workers. An error changes nothing.
    fn add_variables(&mut self, _: Vec<Variables>) -> Result<(), Error> {
        Ok(())
    }

    /// Prepares for starts to come. What inherits this process's memory is made now: soon there may be threads.
    fn prepare(&mut self) {}
}

/// Has what the pool sleeps on report a descriptor by which a start goes on.
pub(crate) trait Watch {
    fn watch_start(&self, source: Source<'_>) -> io::Result<()>;
}

/// A worker that was to be started, with its process or thread, or why there is none. Its code has reached this crate,
/// and a process has not opened its lane yet.
pub(crate) type StartOutcome = (WorkerId, Result<Child, Unstarted>);

/// When something is late that may take this long from now.
fn due_in(limit: Duration) -> u64 {
    now_ns().saturating_add(limit.as_nanos() as u64)
}

fn is_over(due: u64) -> bool {
    now_ns() >= due
}

/// A worker, on its parent's side.
#[derive(Debug)]
pub(crate) enum Child {
    Process(Box<Process>),
    Thread(Thread),
}

/// The starter for a method.
pub(crate) fn starter(method: StartMethod, config: WorkerConfig) -> Box<dyn Starter> {
    match method {
        StartMethod::Fork => Box::new(server::Forking::fork(config)),
        StartMethod::Spawn => Box::new(spawn::Spawn::new(config)),
        StartMethod::ForkServer => Box::new(server::Forking::fork_server(config)),
        StartMethod::Threads => Box::new(threads::Threads::new(config)),
    }
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
