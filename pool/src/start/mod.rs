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
//! thread as a value, and to a process as a message (`process/protocol.rs`), in which descriptors are fields.
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
use std::sync::Arc;

use crate::codec::Codec;
use crate::error::Error;
use crate::ids::WorkerId;
use crate::options::{ProcessOptions, StartMethod, Variables};
use crate::shared::Retained;
use crate::sys::fd::Guarded;
use crate::sys::poll::Source;
pub(crate) use crate::sys::process::Process;
use crate::task::SharedAny;
use crate::worker::{PoolContext, WorkerKit};

#[cfg(test)]
mod fakes;
#[cfg_attr(portable, path = "process/none.rs")]
mod process;
mod threads;

pub(crate) use process::live;
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

/// A worker, on its parent's side.
#[derive(Debug)]
pub(crate) enum Child {
    Process(Box<Process>),
    Thread(Thread),
}

/// The starter for a method.
pub(crate) fn starter(method: StartMethod, config: WorkerConfig) -> Box<dyn Starter> {
    match method {
        StartMethod::Fork | StartMethod::Spawn | StartMethod::ForkServer => process::starter(method, config),
        StartMethod::Threads => Box::new(threads::Threads::new(config)),
    }
}

impl PoolContext {
    /// For a worker that has all of this in memory, and needs no handshake.
    fn of(config: &WorkerConfig) -> Result<Self, String> {
        let WorkerConfig { codec, daemon, .. } = *config;
        let shared = match &config.shared {
            SharedSource::Here(value) => value.clone(),
            SharedSource::Encoded { key, bytes, len, .. } => {
                process::decode_shared(codec, *key, *len as u64, bytes)?
            }
        };
        Ok(Self { codec, daemon, shared, has_random_keys: true })
    }
}
