//! Starting workers: one [`Starter`] for each start method.
//!
//! Whatever the method, a worker process is a **child of the main process**, in a process group of its own, tied to
//! the main process by a [lifeline](crate::sys::lifeline). It is born waiting: only when the parent has noted it
//! does it go on. So nothing that runs the user's code is ever unknown to the parent, and a start that fails
//! half-way leaves nothing behind.
//!
//! | method | a worker is |
//! |---|---|
//! | `Spawn` | this program, started anew |
//! | `ForkServer` | a fork of a *server*: this program started anew, with one thread, that has decoded the shared value |
//! | `Fork` | a fork of a server that is itself a fork of the main process, made at the first start |
//! | `Threads` | a thread |
//!
//! The server forks siblings, not children of its own: its death harms no worker, and statuses reach the parent.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::Codec;
use crate::error::Error;
use crate::logs::Loudness;
use crate::registry::SharedValue;
use crate::shared::Kept;
use crate::sys::fd::Guarded;
pub(crate) use crate::sys::process::Process;
use crate::worker::Notes;

mod fork;
mod forkserver;
pub(crate) mod newborn;
mod protocol;
mod server;
mod spawn;
mod threads;

pub(crate) use threads::Thread;

/// How workers come into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StartMethod {
    /// A copy of this process, with all that lies in its memory: as it is at the first call, and again whenever a
    /// call finds no workers and no other threads. The first call is refused while the process has other threads,
    /// which a copy would not have.
    Fork,
    /// This program started anew for each worker: nothing of its memory is inherited, and a worker that is started later takes
    /// as long as the first.
    Spawn,
    /// A copy of a server process, which is this program started anew: nothing is inherited, starts are fast, and
    /// the shared value is decoded once for all workers.
    #[default]
    ForkServer,
    /// Threads of this process: no isolation. Arguments and results are encoded as for processes, so that a program
    /// does the same with either.
    Threads,
}

impl StartMethod {
    /// Whether workers are processes.
    #[must_use]
    pub fn is_process(self) -> bool {
        self != Self::Threads
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a new worker sits.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The worker's number.
    pub(crate) id: usize,
    /// Its lane's memory: orders.
    pub(crate) down: OwnedFd,
    /// Its lane's memory: replies.
    pub(crate) up: OwnedFd,
    /// What wakes the parent.
    pub(crate) bell: OwnedFd,
    /// Its stderr. A thread has its process's.
    pub(crate) stderr: Option<OwnedFd>,
    /// Where it logs, and how much, if somebody listens.
    pub(crate) log: Option<(OwnedFd, Loudness)>,
    pub(crate) notes: Notes,
    /// The CPUs that it may use; empty: those of whoever starts it.
    pub(crate) cpus: Vec<usize>,
}

/// What all workers of a pool have in common.
#[derive(Clone)]
pub(crate) struct Crew {
    pub(crate) codec: Codec,
    pub(crate) daemon: bool,
    pub(crate) shared: Shared,
    pub(crate) allow_fork_with_threads: bool,
}

/// The shared value, as the parent has it for its workers.
#[derive(Clone)]
pub(crate) enum Shared {
    /// As it is in memory: for workers that inherit memory.
    Here(SharedValue),
    /// Encoded, in a sealed memory file; the key names its type. With what there are handles to among the bytes.
    Encoded { key: u64, bytes: Arc<Guarded>, len: usize, _kept: Kept },
}

/// Why a worker could not be started.
#[derive(Debug)]
pub(crate) struct Unstarted {
    pub(crate) error: Error,
    /// To try it again would come to the same.
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

/// A start method at work for one pool. Dropping it ends what it keeps running besides the workers.
pub(crate) trait Starter: Send {
    /// Begins to start a worker.
    fn start(&mut self, seat: Seat) -> Result<Newcomer, Unstarted>;

    /// From here on, workers that inherit this process's memory get today's, if that can be.
    fn refresh(&mut self) {}
}

/// A worker on its way. Several can be on their way at once.
#[derive(Debug)]
pub(crate) enum Newcomer {
    Here(Child),
    Awaited(spawn::Unheard),
}

impl Newcomer {
    /// Waits until the worker has found its way into this crate's code. It has not found its lane yet.
    pub(crate) fn wait(self) -> Result<Child, Unstarted> {
        match self {
            Self::Here(child) => Ok(child),
            Self::Awaited(process) => process.hear().map(Child::Process),
        }
    }
}

/// A worker, as its parent holds it.
#[derive(Debug)]
pub(crate) enum Child {
    Process(Process),
    Thread(Thread),
}

/// The starter for a method.
pub(crate) fn starter(method: StartMethod, crew: Crew) -> Box<dyn Starter> {
    match method {
        StartMethod::Fork => Box::new(server::Forking::fork(crew)),
        StartMethod::Spawn => Box::new(spawn::Spawn::new(crew)),
        StartMethod::ForkServer => Box::new(server::Forking::fork_server(crew)),
        StartMethod::Threads => Box::new(threads::Threads::new(crew)),
    }
}

/// How long a new process may take until it answers.
const BOOT_LIMIT: Duration = Duration::from_secs(10);

/// The same when it decodes a shared value first: a millisecond more for each KiB is more than any codec needs.
fn boot_limit(shared: &Shared) -> Duration {
    match shared {
        Shared::Here(_) => BOOT_LIMIT,
        Shared::Encoded { len, .. } => BOOT_LIMIT + Duration::from_millis(*len as u64 >> 10),
    }
}
