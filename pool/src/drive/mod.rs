//! The driver: carries out what the supervisor decides, and tells it what happens. Here the data plane (lanes, bytes
//! of items and results) and the control plane (starts, deaths, deadlines) meet.
//!
//! **Whoever waits, drives.** All state lies behind one mutex. A caller that waits takes it, moves what can be moved,
//! and gives it back before it runs user code or sleeps. Of several callers that find nothing to do, the first is the
//! *leader* and sleeps on the poll set (the workers' waker, their ends); the others, its *followers*, sleep on a
//! condition variable until somebody finds something for them, or the leader leaves and one of them leads. Whoever
//! changes the state looks for whom that is news, and wakes them.

mod checks;
mod clock;
mod feed;
mod jobs;
mod poller;
mod sleepers;
mod spin;
mod state;
mod streams;
mod worker;
mod workers;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::error::Error;
use crate::ids::JobId;
use crate::observe::insights::Insights;
use crate::observe::timeline::Timeline;
use crate::options::PoolConfig;
use crate::start::{self, WorkerConfig};
use crate::supervise::Supervisor;
use crate::sys::clock::now_ns;
use crate::sys::identity::Owner;
use crate::work::{ExitValue, Exits, Feed, Inbox, JobSpec};

use poller::Poller;
pub(crate) use sleepers::Awaits;
use state::State;
use workers::Workers;

/// Carries calls out with workers of this machine.
pub(crate) struct LocalEngine {
    state: Mutex<State>,
    /// For followers.
    changed: Condvar,
    poller: Arc<Poller>,
    /// Whose the workers are.
    owner: Owner,
}

impl LocalEngine {
    /// For workers with these CPUs, none of which is started yet.
    pub(crate) fn new(
        config: &PoolConfig,
        workers: WorkerConfig,
        cpus: Vec<Vec<usize>>,
    ) -> Result<Self, Error> {
        let PoolConfig { method, order_tasks, policy, .. } = *config;
        let poller = Arc::new(Poller::new().map_err(|error| Error::start("the pool", error))?);
        let supervisor = Supervisor::new(cpus.len(), order_tasks, method.is_process());
        let starter = start::starter(method, workers);
        let workers = Workers::new(starter, Arc::clone(&poller), cpus.into(), policy, method.is_process());
        let state = Mutex::new(State::new(supervisor, workers, Arc::clone(&poller)));
        Ok(Self { state, changed: Condvar::new(), poller, owner: Owner::here() })
    }

    /// To be called first in whatever a user calls, and again when the user's code has run. A copy of the process has
    /// neither the workers nor their lanes, and who held the lock when it was made never gives it back there.
    ///
    /// # Errors
    /// [`Error::Forked`] in a copy of the process that has built the pool.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Error> {
        Ok(self.owner.check()?)
    }

    /// For ends, which have nobody to tell: whether this process has a part in the pool that could end.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.owner.is_here()
    }

    /// The state. No user code runs under this lock but `Serialize` impls, whose panics are caught, and the drops of
    /// items that are written but not yet sent; so what a poisoned lock guards is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.lock_at(now_ns())
    }

    fn lock_at(&self, now: u64) -> MutexGuard<'_, State> {
        if let Err(forked) = self.check() {
            // Nothing should come here; what lies behind the lock would be memory that is not there.
            panic!("{forked}");
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.move_to(now);
        state
    }

    /// Changes the state, wakes those for whom that is news, and tells the program's subscriber of it.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.change_at(now_ns(), true, change)
    }

    /// The same, but leaves what there is to tell to the next change: for a caller that holds a lock of another kind. A
    /// subscriber is the user's code, and may call the pool.
    fn change_silently<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.change_at(now_ns(), false, change)
    }

    fn change_at<R>(&self, now: u64, tells: bool, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock_at(now);
        let result = change(&mut state);
        state.wake_workers();
        let (leader, followers) = state.must_wake();
        if leader {
            self.poller.wake();
        }
        if followers {
            self.changed.notify_all();
        }
        let events = tells.then(|| state.take_events());
        drop(state);
        events.unwrap_or_default().tell();
        result
    }

    /// Tells the program's subscriber what a silent change has left to tell.
    pub(crate) fn tell(&self) {
        self.change(|_| ());
    }

    // ---- calls ----

    /// Opens a call. Its workers are started, its init orders sent, and what is encoded already. Tells nothing yet.
    pub(crate) fn open(&self, spec: JobSpec) -> Result<JobId, Error> {
        self.change_silently(|state| {
            let is_encoded = !spec.encoded.is_empty();
            let job = state.open(spec)?;
            if is_encoded {
                state.drive();
            }
            Ok(job)
        })
    }

    /// Moves what can be moved: replies in, deaths and deadlines seen, items out. `taken` is how many results the
    /// caller has taken since the last turn, of how many bytes; since `watched` it has done nothing else. Says when it
    /// looked at the workers.
    pub(crate) fn turn(
        &self,
        job: JobId,
        taken: (u64, u64),
        watched: Option<u64>,
        feed: &mut dyn Feed,
        inbox: &mut Inbox,
    ) -> u64 {
        // Not when the lock is had: whoever holds it watches.
        let now = now_ns();
        let absence = watched.map(|from| Absence { from, limit: Duration::ZERO, until: now });
        self.change_at(now, true, |state| {
            state.leave_out(absence);
            state.report_taken(job, taken.0, taken.1);
            state.drive();
            state.feed(job, feed);
            state.take_inbox(job, inbox);
            state.watched_until()
        })
    }

    /// Sleeps until what is awaited may be there. Returns too early rather than too late; says until when the workers
    /// were watched.
    pub(crate) fn wait(&self, awaits: Awaits) -> u64 {
        let mut state = self.lock();
        if state.is_news(awaits) {
            return state.watched_until();
        }
        if state.sleepers().has_leader() {
            state.sleepers().add_follower(awaits);
            let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleepers().remove_follower(awaits);
            return state.watched_until();
        }
        let from = state.watched_until();
        let sleep = state.lead(awaits);
        drop(state);
        let news = sleep.map(|sleep| self.poller.sleep(sleep)).unwrap_or_default();
        let limit = sleep.map_or(Some(Duration::ZERO), |sleep| sleep.limit);
        let now = now_ns();
        let absence = limit.map(|limit| Absence { from, limit, until: now });
        let mut state = self.lock_at(now);
        state.stop_leading(news);
        state.leave_out(absence);
        if state.sleepers().has_followers() {
            self.changed.notify_all();
        }
        state.watched_until()
    }

    /// The caller waits for this call no longer.
    pub(crate) fn close(&self, job: JobId) {
        self.change(|state| state.close(job));
    }

    /// Waits until no worker has a task of a closed call any more: each was answered, was taken back before it was
    /// begun, or its worker is gone. From then on nothing that was lent to them is used. The caller can't go on without
    /// knowing that, so a panic in here is the end.
    pub(crate) fn quiesce(&self, job: JobId) {
        struct NoWayOut;
        impl Drop for NoWayOut {
            fn drop(&mut self) {
                std::process::abort();
            }
        }
        let no_way_out = NoWayOut;
        self.drive_until(|state| !state.is_at_work_on(job));
        std::mem::forget(no_way_out);
    }

    /// Ends a call with this error.
    pub(crate) fn cancel(&self, job: JobId, error: Error) {
        self.change(|state| state.cancel(job, error));
    }

    /// Ends every call with this error.
    pub(crate) fn cancel_all(&self, error: &Error) {
        self.change(|state| state.cancel_all(error));
    }

    /// Drives until the condition holds.
    fn drive_until(&self, mut done: impl FnMut(&mut State) -> bool) {
        loop {
            let (over, awaits) = self.change(|state| {
                state.drive();
                (done(state), state.sleepers().next_change())
            });
            if over {
                return;
            }
            self.wait(awaits);
        }
    }

    // ---- calls and streams in the background ----

    /// Moves on, and gives what has come for each of these calls to `take`, which says whether the call is over and is
    /// to be closed. Gives the wakers of streams for which there is news. Tells nothing yet.
    pub(crate) fn turn_background(
        &self,
        jobs: impl Iterator<Item = JobId>,
        mut take: impl FnMut(JobId, Inbox) -> bool,
    ) -> Vec<Waker> {
        self.change_silently(|state| {
            state.drive();
            for job in jobs {
                let mut inbox = Inbox::default();
                state.take_inbox(job, &mut inbox);
                let (done, failed) = inbox.outcomes();
                state.report_taken(job, done + failed, 0);
                if take(job, inbox) {
                    state.close(job);
                }
            }
            state.take_wakers()
        })
    }

    /// Cancels all calls, and closes these. Gives the wakers of streams. Tells nothing yet.
    pub(crate) fn give_up(&self, jobs: impl Iterator<Item = JobId>) -> Vec<Waker> {
        self.change_silently(|state| {
            state.cancel_all(&Error::Cancelled);
            jobs.for_each(|job| state.close(job));
            state.take_wakers()
        })
    }

    /// Whether a stream is open that somebody must drive.
    pub(crate) fn has_streams(&self) -> bool {
        self.lock().has_streams()
    }
}

#[cfg(feature = "stream")]
impl LocalEngine {
    /// From here on the call is a stream's. Tells nothing yet.
    pub(crate) fn open_stream(&self, job: JobId) {
        self.change_silently(|state| state.streams().open(job));
    }

    pub(crate) fn close_stream(&self, job: JobId) {
        // The waker is the executor's code.
        drop(self.change(|state| state.streams().close(job)));
    }

    /// Leaves the waker for when what is awaited may be there, and gives back the one before; not if it may be there
    /// now. Says whether it is left.
    pub(crate) fn leave_waker(&self, job: JobId, awaits: Awaits, waker: &mut Option<Waker>) -> bool {
        self.lock().leave_waker(job, awaits, waker)
    }

    /// What became of the workers that the end of a call has sent off, or what to wait for until that is known.
    pub(crate) fn poll_stopped(&self) -> Result<Result<(), Error>, Awaits> {
        self.change(|state| {
            state.drive();
            if state.have_stopped() {
                Ok(state.take_exit_error())
            } else {
                Err(state.sleepers().next_change())
            }
        })
    }
}

/// The pool as a whole.
impl LocalEngine {
    /// Waits until no call is open or still running.
    pub(crate) fn wait_idle(&self) {
        self.drive_until(|state| state.is_idle());
    }

    /// All workers end when they have done what they have; exit functions run.
    pub(crate) fn shut_down(&self) {
        self.change(State::shut_down);
    }

    /// Waits until the workers, which were told to end, have done so. A call that comes from another thread meanwhile
    /// keeps them.
    ///
    /// # Errors
    /// The first error of an exit function.
    pub(crate) fn wait_stopped(&self) -> Result<(), Error> {
        self.check()?;
        self.drive_until(|state| state.have_stopped());
        self.lock().take_exit_error()
    }

    /// All workers end now; see [`State::terminate`].
    pub(crate) fn terminate(&self) {
        self.change(State::terminate);
    }

    /// What this exit function gave.
    pub(crate) fn exit_values(&self, exit: u32) -> Vec<ExitValue> {
        self.lock().exits().of(exit)
    }

    /// The same, which are nowhere else from here on.
    pub(crate) fn take_exit_values(&self, exit: u32) -> Vec<ExitValue> {
        self.lock().exits().take(exit)
    }

    /// Puts values back before those that have come since.
    pub(crate) fn put_back_exit_values(&self, values: Vec<ExitValue>) {
        self.lock().exits().put_back(values);
    }

    /// What all exit functions gave.
    pub(crate) fn take_exits(&self) -> Exits {
        std::mem::take(self.lock().exits())
    }

    /// What workers have done so far.
    pub(crate) fn insights(&self) -> Insights {
        self.lock().insights()
    }

    /// What they did when.
    pub(crate) fn timeline(&self) -> Timeline {
        self.lock().timeline()
    }
}

/// A time in which nobody looked at the workers, though it was meant to last no longer than this.
#[derive(Debug, Clone, Copy)]
struct Absence {
    from: u64,
    limit: Duration,
    until: u64,
}

impl Absence {
    /// One that lasts so much longer was none: the program was stopped.
    const OVERDUE: Duration = Duration::from_millis(500);

    fn was_standstill(&self) -> bool {
        Duration::from_nanos(self.until.saturating_sub(self.from)) > self.limit + Self::OVERDUE
    }
}
