//! `Threads`: a worker is a thread of this process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use super::{Child, StartOutcome, Starter, Unstarted, Watch, WorkerConfig};
use crate::error::Error;
use crate::ids::WorkerId;
use crate::role::WorkerKind;
use crate::sys::cpu;
use crate::sys::threads::{expect_own, spawn};
use crate::sys::waker::ParentWaker;
use crate::unwind;
use crate::worker::{PoolContext, Worker, WorkerKit};

/// Starts each worker as a thread.
pub(super) struct Threads {
    config: WorkerConfig,
    starting: Vec<StartingThread>,
}

impl Threads {
    pub(super) fn new(config: WorkerConfig) -> Self {
        Self { config, starting: Vec::new() }
    }
}

impl Starter for Threads {
    fn start(&mut self, kit: WorkerKit, _: &dyn Watch) -> Result<(), Unstarted> {
        let (worker, what) = (kit.id, kit.name());
        let context = PoolContext::of(&self.config).map_err(|why| Error::start(&*what, why))?;
        let started = start(kit, context);
        let (thread, opened) = started.map_err(|error| Error::start(&*what, error))?;
        self.starting.push(StartingThread { worker, what, thread, opened });
        Ok(())
    }

    fn settle(&mut self, _: &dyn Watch, outcomes: &mut Vec<StartOutcome>) {
        outcomes.extend(self.starting.drain(..).map(StartingThread::wait));
    }

    fn advance(&mut self, watch: &dyn Watch, outcomes: &mut Vec<StartOutcome>) {
        self.settle(watch, outcomes);
    }

    fn deadline(&self) -> Option<u64> {
        None
    }
}

/// Whether a thread has opened its kit, or why not.
type Opened = Result<(), String>;

fn start(kit: WorkerKit, context: PoolContext) -> io::Result<(Thread, Receiver<Opened>)> {
    let notice = EndNotice { waker: kit.lane.waker()?, ended: Arc::default() };
    let ended = notice.ended.clone();
    let (tell, opened) = mpsc::channel();
    expect_own();
    let handle = spawn(format!("pool worker {}", kit.id), None, move || {
        // The first of these is dropped last.
        let (_notice, context) = (notice, context);
        let (id, worker) = (kit.id, open(kit, &context));
        let _ = tell.send(worker.as_ref().map(|_| ()).map_err(String::clone));
        if let Ok(Err(why)) = worker.map(Worker::run) {
            eprintln!("pool: worker thread {id} ends: {why}");
        }
    })?;
    Ok((Thread { handle: Some(handle), ended }, opened))
}

fn open(kit: WorkerKit, context: &PoolContext) -> Result<Worker, String> {
    if !kit.cpus.is_empty() {
        cpu::pin_this_thread(&kit.cpus).map_err(|error| error.to_string())?;
    }
    Worker::open(kit, context, WorkerKind::Thread)
}

/// A thread that has not opened its kit yet.
#[derive(Debug)]
struct StartingThread {
    worker: WorkerId,
    what: String,
    thread: Thread,
    opened: Receiver<Opened>,
}

impl StartingThread {
    /// Waits until it has. Before that no user code may run in this process, because it may close descriptors.
    fn wait(self) -> StartOutcome {
        let outcome = match self.opened.recv() {
            Ok(Ok(())) => Ok(Child::Thread(self.thread)),
            Ok(Err(why)) => Err(Error::start(self.what, why).into()),
            Err(_) => Err(Error::start(self.what, "it panicked").into()),
        };
        (self.worker, outcome)
    }
}

/// A worker thread. Dropping it joins the thread if it has ended, and detaches it if it still runs user code.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
}

impl Thread {
    /// Whether it is the thread that calls this.
    pub(crate) fn is_current(&self) -> bool {
        self.handle.as_ref().is_some_and(|handle| handle.thread().id() == thread::current().id())
    }

    /// Whether it has left the code of the worker.
    pub(crate) fn is_finished(&self) -> bool {
        // SYNC: thread ended
        self.ended.load(Ordering::Acquire)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take().filter(|_| self.is_finished()) {
            // A panic was printed, and the worker is gone like any other.
            let _ = unwind::join(handle);
        }
    }
}

/// Tells the parent that a thread has ended, even by a panic. A thread has no descriptor that would tell.
struct EndNotice {
    waker: ParentWaker,
    ended: Arc<AtomicBool>,
}

impl Drop for EndNotice {
    fn drop(&mut self) {
        // SYNC: thread ended
        self.ended.store(true, Ordering::Release);
        // If user code has closed the descriptor, the parent finds the end at its next check.
        let _ = self.waker.wake();
    }
}

#[cfg(all(test, not(portable)))]
mod tests {
    use std::fs;
    use std::os::fd::RawFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::codec::encode_record;
    use crate::start::fakes::{Unwatched, config, kit};
    use crate::sys::passed;

    fn inode(number: RawFd) -> Option<u64> {
        fs::metadata(format!("/proc/self/fd/{number}")).ok().map(|file| file.ino())
    }

    /// User code may close any number once a worker counts as started.
    #[test]
    fn a_thread_that_is_started_has_closed_its_lanes_files() {
        let mut threads = Threads::new(config());
        for worker in 0..100 {
            let (mut parent, kit) = kit(worker);
            let (_, numbers) = passed::noting(|| encode_record(&kit, &mut Vec::new()));
            let files: Vec<_> = numbers[..2].iter().map(|number| (*number, inode(*number))).collect();
            let mut outcomes = Vec::new();
            threads.start(kit, &Unwatched).unwrap();
            threads.settle(&Unwatched, &mut outcomes);
            let Some((_, Ok(Child::Thread(_thread)))) = outcomes.pop() else { panic!() };
            assert!(files.iter().all(|(number, file)| inode(*number) != *file), "worker {worker}");
            parent.close();
        }
    }
}
