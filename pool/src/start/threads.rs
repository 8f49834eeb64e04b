//! `Threads`: a worker is a thread of this process.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};

use nix::unistd::write;

use super::child::PoolContext;
use super::{Child, Starter, StartingWorker, Unstarted, WorkerConfig, WorkerSpec};
use crate::error::Error;
use crate::observe::ProbeEnds;
use crate::role::WorkerKind;
use crate::sys::cpu;
use crate::sys::fd::Guarded;
use crate::sys::named;
use crate::task::WorkerId;
use crate::unwind;
use crate::worker::{self, Boot};

/// Starts each worker as a thread.
pub(super) struct Threads {
    crew: WorkerConfig,
}

impl Threads {
    pub(super) fn new(crew: WorkerConfig) -> Self {
        Self { crew }
    }
}

impl Starter for Threads {
    fn start(&mut self, seat: WorkerSpec) -> Result<StartingWorker, Unstarted> {
        let what = format!("worker {}", seat.id);
        let heritage = PoolContext::of(&self.crew).map_err(|why| Error::start(&*what, why))?;
        let thread = start(seat, heritage).map_err(|error| Error::start(what, error))?;
        Ok(StartingWorker::Here(Child::Thread(thread)))
    }
}

fn start(seat: WorkerSpec, heritage: PoolContext) -> io::Result<Thread> {
    let WorkerSpec { id, down, up, waker, ends: ProbeEnds { log, handles: notes, .. }, cpus } = seat;
    let last = LastWords {
        waker: Guarded::new(waker.try_clone().map_err(named("a copy of the eventfd"))?)?,
        ended: Arc::default(),
    };
    let ended = last.ended.clone();
    let is_pinned = !cpus.is_empty();
    let (tell, told) = mpsc::channel();
    crate::sys::threads::expect_own();
    let handle = Builder::new().name(format!("pool worker {id}")).spawn(move || {
        if is_pinned {
            let pinned = cpu::pin_this_thread(&cpus);
            let is_on_its_cpus = pinned.is_ok();
            let _ = tell.send(pinned);
            if !is_on_its_cpus {
                return;
            }
        }
        let _last = last;
        let PoolContext { codec, daemon, shared, .. } = heritage;
        let boot = Boot {
            id: WorkerId(id),
            down,
            up,
            waker,
            log,
            notes,
            codec,
            shared,
            daemon,
            kind: WorkerKind::Thread,
        };
        if let Err(why) = worker::run(boot) {
            eprintln!("pool: worker thread {id} ends: {why}");
        }
    })?;
    // A thread that cannot be on its CPUs was never a worker.
    let pinned =
        if is_pinned { told.recv().unwrap_or(Err(io::ErrorKind::BrokenPipe.into())) } else { Ok(()) };
    if let Err(error) = pinned {
        let _ = unwind::join(handle);
        return Err(error);
    }
    Ok(Thread { handle: Some(handle), ended })
}

/// A worker thread. Dropping it joins a thread that has ended, and lets one that runs user code go on by itself.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
}

impl Thread {
    /// Whether it has left the worker's code.
    pub(crate) fn is_finished(&self) -> bool {
        // SYNC: thread ended
        self.ended.load(Ordering::Acquire)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take().filter(|_| self.is_finished()) {
            // A panic has been printed, and its worker is as gone as any other.
            let _ = unwind::join(handle);
        }
    }
}

/// Tells the parent of a thread's end, also by panic: there is no descriptor that would.
struct LastWords {
    waker: Guarded,
    ended: Arc<AtomicBool>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        // SYNC: thread ended
        self.ended.store(true, Ordering::Release);
        if self.waker.is_intact() {
            // A full counter means that the parent has been woken already.
            let _ = write(&self.waker, &1u64.to_ne_bytes());
        }
    }
}
