//! The driver: it carries out the supervisor's decisions and reports events to it. The data plane (lanes, bytes of
//! items and results) and the control plane (starts, deaths, deadlines) meet here.
//!
//! **Whoever waits, drives.** All state is behind one mutex. A caller takes the lock, moves items, replies and events
//! as far as they go (a *turn*), and releases the lock before it runs user code or sleeps. So a call that waits needs
//! no other thread. A caller that is away, in code of the user's, is not waited for: the *background driver*, a thread
//! of the pool, stands by and drives then. It also carries out the calls that have no caller, and open streams.
//!
//! # States of a caller
//!
//! - *Driving*: it holds the lock.
//! - *Leader*: it sleeps on the poll set, which reports wake-ups by workers and callers, ends of workers, and output of
//!   workers. At most one caller leads.
//! - *Follower*: it sleeps on a [`Bell`](sleepers::Bell) of its own, because another caller leads.
//! - *Away*: it runs its own code.
//!
//! Each sleeper leaves a note of what it [`Awaits`], so an event wakes those that it concerns, however many sleep. The
//! background driver is one more caller, with [`Awaits::Background`]. It hands callbacks and wakers to threads that are
//! there for those.
//!
//! # Standing by
//!
//! The first call that runs code of the user's while tasks of it may be under way starts the background driver; it ends
//! when no call is open and no worker is to leave. Decoding does so only once it has taken long
//! (`job/decode/paced.rs`). The driver looks whether any caller has taken a turn within the last millisecond, and then
//! sleeps for a while as a follower that nobody wakes. If none has, it leads. A caller that goes away wakes a follower
//! to lead in its place, and so does the background driver once callers are back.
//!
//! While it waits it *rests* ([`threads`]), so the program can be forked. It does not fork the
//! program itself while a caller is away, since that caller's thread may hold anything: the start waits for a turn of
//! the caller.
//!
//! # Falling asleep
//!
//! 1. Lock. If anything awaited may be there, return for another turn.
//! 2. If there is a leader, become a follower: leave a note and sleep on the bell, which releases the lock. After
//!    waking, remove the note and return.
//! 3. Otherwise spin for a reply if a core is free. Announce the sleep on the lanes of all *active* workers, from which
//!    something is expected, fence, and look at these lanes once more, as [`lane`](crate::lane) describes. If there is
//!    a reply, announce that the parent is awake and return. Otherwise become the leader: leave a note, with the time
//!    until which the sleep may last. Unlock.
//! 4. Sleep on the poll set.
//! 5. Lock. Stop leading, record the news from the poll set, and announce on these lanes that the parent is awake.
//!    Return.
//!
//! # Waking
//!
//! 1. Lock and change the state: open a call, take in a reply, see a death, end a call.
//! 2. Wake the workers that sleep and have new orders.
//! 3. If the leader's note matches the change, or the next deadline or check is now before the end of its sleep, mark
//!    it as woken and write to the eventfd in the poll set. A leader that is marked is not woken again.
//! 4. Take the bells of the followers whose notes match. Unlock, and ring them.
//!
//! *Race: the change comes after the leader has unlocked and before it sleeps.* The eventfd stays readable until a
//! leader reads it, so the sleep ends at once.
//!
//! *Race: the change comes while a follower falls asleep.* Its note and its sleep are one step under the lock. The
//! change comes before both, and step 1 sees it, or after both, and the waker sees the note.
//!
//! *Race: a worker replies while the leader falls asleep.* The two fences of the lanes order this: the leader sees the
//! reply in step 3, or the worker sees the announcement and writes to the eventfd.
//!
//! *Race: the leader goes away while others sleep.* It takes the bell of one of them, its *successor*, and rings it.
//! Until that one runs, no other is chosen. If the leader never comes to that, the background driver finds that nobody
//! has driven, and leads. No reply is lost between two leaders, because the next one looks at all lanes after its
//! announcement.
//!
//! *Race: a worker starts, or an idle one gets something to do, while the leader sleeps.* The caller that starts it or
//! gives it an order announces the sleep on its lane before it sends the order. It finds a reply from before the
//! announcement in its own next turn.
//!
//! *Race: a worker replies before its start is known to be over.* Nothing in its lane is looked at until then. The turn
//! that finds the start over takes the replies that are there.
//!
//! A wake-up may be left over from an earlier sleep. A sleeper may therefore return too early, never too late: each
//! caller checks again in its next turn.
//!
//! A model checker goes through all this: see `models`. What is changed here is changed there.

mod checks;
mod clock;
mod feed;
mod jobs;
mod lead;
#[cfg(all(loom, test))]
mod models;
mod poller;
mod sleepers;
mod spin;
mod state;
mod streams;
mod whole;
mod worker;
mod workers;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::time::Duration;

use crate::error::Error;
use crate::ids::{JobId, TaskIndex};
use crate::options::{PoolConfig, limits_as_reason};
use crate::start::{self, WorkerConfig};
use crate::supervise::Supervisor;
use crate::sys::clock::now_ns;
use crate::sys::cpu_time::most_cpus;
use crate::sys::identity::Owner;
use crate::sys::threads;
use crate::work::{Asked, Inbox, JobSpec, Unsent};

use clock::Gap;
pub(crate) use feed::Submission;
use poller::Poller;
pub(crate) use sleepers::Awaits;
use state::State;
use workers::Workers;

/// Carries calls out with workers of this machine.
pub(crate) struct LocalEngine {
    state: Mutex<State>,
    /// The number of callers that follow.
    followers: AtomicUsize,
    /// How many workers the pool has. Changed under the lock, and read without it.
    size: AtomicUsize,
    poller: Arc<Poller>,
    /// The process that built the pool and owns its workers.
    owner: Owner,
}

impl LocalEngine {
    /// Makes an engine with one worker for each set of CPUs. None is started yet.
    pub(crate) fn new(
        config: &PoolConfig,
        workers: WorkerConfig,
        cpus: Vec<Vec<usize>>,
    ) -> Result<Self, Error> {
        let PoolConfig { method, order_tasks, policy, .. } = *config;
        let poller = Arc::new(Poller::new().map_err(|error| Error::start("the pool", error))?);
        let supervisor = Supervisor::new(cpus.len(), order_tasks, method.is_process())
            .with_idle_policy(policy.idle)
            .with_cpus(most_cpus());
        let limits = limits_as_reason(&workers.process.limits);
        let starter = start::starter(method, workers);
        let size = AtomicUsize::new(cpus.len());
        let are_processes = method.is_process();
        let workers = Workers::new(starter, Arc::clone(&poller), cpus.into(), policy, are_processes, limits);
        let state = Mutex::new(State::new(supervisor, workers, Arc::clone(&poller)));
        Ok(Self { state, followers: AtomicUsize::new(0), size, poller, owner: Owner::here() })
    }

    /// Checks that this process owns the pool. Every public method calls this first, and again after running user code,
    /// which may fork. A fork has neither the workers nor their lanes; and if another thread held the lock during the
    /// fork, the fork's lock is never released.
    ///
    /// # Errors
    /// [`Error::Forked`] in a fork of the process that built the pool.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Error> {
        Ok(self.owner.check()?)
    }

    /// Whether this process owns the pool. For destructors, which cannot report an error.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.owner.is_here()
    }

    /// Checks that no task of this pool makes this call, in a thread of this process: it would wait for that task.
    ///
    /// # Errors
    /// [`Error::Forked`] in a fork of the process that built the pool, [`Error::OwnTask`] in such a task.
    pub(crate) fn check_outside_tasks(&self, call: &'static str) -> Result<(), Error> {
        self.check()?;
        if self.lock().is_own_thread() { Err(Error::OwnTask { call }) } else { Ok(()) }
    }

    /// Locks the state. No user code runs under this lock, and what panics under it is a bug of the crate's own; then
    /// the state may still serve to end everything.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.lock_at(now_ns())
    }

    fn lock_at(&self, now: u64) -> MutexGuard<'_, State> {
        if let Err(forked) = self.check() {
            // No caller should get here. The state would point to lanes that a fork has not mapped.
            panic!("{forked}");
        }
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => {
                threads::rest(|| self.state.lock().unwrap_or_else(PoisonError::into_inner))
            }
        };
        state.advance_to(now);
        state
    }

    /// Changes the state, wakes the sleepers that await the change, and reports it to the program's subscriber.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.change_at(now_ns(), true, change)
    }

    /// Like [`change`](Self::change), but leaves the report to the next change. For callers that hold another lock: the
    /// subscriber is user code, and may call the pool.
    fn change_silently<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.change_at(now_ns(), false, change)
    }

    fn change_at<R>(&self, now: u64, reports: bool, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock_at(now);
        let result = change(&mut state);
        state.wake_workers();
        let (leader, followers) = state.sleepers_to_wake();
        if leader {
            self.poller.wake();
        }
        let events = reports.then(|| state.take_events());
        drop(state);
        followers.iter().for_each(|bell| bell.notify_one());
        events.unwrap_or_default().emit();
        result
    }

    /// Reports the silent changes so far to the program's subscriber.
    pub(crate) fn tell(&self) {
        self.change(|_| ());
    }

    // ---- calls ----

    /// Opens a call: starts its workers, sends their init orders, and sends the items that are encoded already. Reports
    /// nothing yet.
    pub(crate) fn open(&self, spec: JobSpec) -> Result<Opened, Error> {
        let is_encoded = spec.input.is_some();
        self.open_and(spec, |state| {
            if is_encoded {
                state.drive();
            }
        })
    }

    /// The same, but sends no items.
    pub(crate) fn open_unsent(&self, spec: JobSpec) -> Result<Opened, Error> {
        self.open_and(spec, |_| ())
    }

    fn open_and(&self, spec: JobSpec, then: impl FnOnce(&mut State)) -> Result<Opened, Error> {
        self.change_silently(|state| {
            let opened = Opened { job: state.open(spec)?, workers: state.size() };
            then(state);
            Ok(opened)
        })
    }

    /// One turn: takes in replies, handles deaths and deadlines, takes over new items and sends what workers can take.
    /// Closes the call if `inbox` gets its end. `taken` is the count and the bytes of the results that the caller has
    /// taken since its last turn. `watched` is the end of that turn, if the caller has run no code of the user's since.
    pub(crate) fn turn(
        &self,
        job: JobId,
        taken: (u64, u64),
        watched: Option<u64>,
        submission: &mut Submission<'_>,
        inbox: &mut Inbox,
    ) -> Turn {
        // Read before the lock: while this caller waits for the lock, its holder watches the workers.
        let now = now_ns();
        let gap = watched.map(|from| Gap { from, limit: Duration::ZERO, until: now });
        let mut successor = None;
        let turn = self.change_at(now, true, |state| {
            state.note_caller();
            state.exclude_suspension(gap);
            state.report_taken(job, taken.0, taken.1);
            state.drive();
            state.submit(job, submission);
            state.take_inbox(job, inbox);
            if !inbox.is_empty() {
                // What follows is code of the user's, for as long as it likes.
                successor = state.sleepers().take_successor();
            }
            Turn { watched_until: state.watched_until(), unsent: state.unsent(job) }
        });
        successor.into_iter().for_each(|bell| bell.notify_one());
        turn
    }

    /// Whether tasks of the call are on a worker that is still being started.
    pub(crate) fn awaits_start(&self, job: JobId) -> bool {
        self.lock().awaits_start(job)
    }

    /// Whether any stream is open.
    pub(crate) fn has_streams(&self) -> bool {
        self.lock().has_streams()
    }

    /// Whether any call is open.
    pub(crate) fn has_calls(&self) -> bool {
        self.lock().has_calls()
    }

    /// Whether the background thread has anything to do: a call is open, or idle workers may leave.
    pub(crate) fn needs_background(&self) -> bool {
        self.lock().needs_background()
    }

    /// Closes a call: its caller no longer waits for it.
    pub(crate) fn close(&self, job: JobId) {
        self.change(|state| state.close(job));
        self.leave();
    }

    /// Waits until no worker has a task of a closed call: each task was answered, was recalled before it began, or its
    /// worker is gone. After that, no worker uses anything that the caller lent to the call. Returning or unwinding
    /// earlier would be unsound, so a panic in here aborts the process.
    pub(crate) fn quiesce(&self, job: JobId) {
        struct AbortOnUnwind;
        impl Drop for AbortOnUnwind {
            fn drop(&mut self) {
                std::process::abort();
            }
        }
        let abort_on_unwind = AbortOnUnwind;
        self.drive_until(|state| !state.is_at_work_on(job));
        std::mem::forget(abort_on_unwind);
    }

    /// Ends a call with this error.
    pub(crate) fn cancel(&self, job: JobId, error: Error) {
        self.change(|state| state.cancel(job, error));
    }

    /// Ends every call with this error.
    pub(crate) fn cancel_all(&self, error: &Error) {
        self.change(|state| state.cancel_all(error));
    }

    /// Drives until the condition holds. Then another caller leads.
    fn drive_until(&self, mut done: impl FnMut(&mut State) -> bool) {
        loop {
            let (over, awaits) = self.change(|state| {
                state.drive();
                (done(state), state.sleepers().next_change())
            });
            if over {
                return self.leave();
            }
            self.wait(awaits, None);
        }
    }

    // ---- calls and streams in the background ----

    /// One turn for calls in the background. Passes the new results of each to `take`, and closes the call if that
    /// returns true. Returns the wakers of streams that have news. Reports nothing yet.
    pub(crate) fn turn_background(&self, mut take: impl FnMut(JobId, Inbox) -> bool) -> Vec<Waker> {
        self.change_silently(|state| {
            state.expect_caller();
            state.drive();
            for job in state.take_background_news() {
                let mut inbox = Inbox::default();
                state.take_inbox(job, &mut inbox);
                if inbox.is_empty() {
                    continue;
                }
                let (done, failed) = inbox.outcomes();
                state.report_taken(job, done + failed, 0);
                if take(job, inbox) {
                    state.close(job);
                }
            }
            state.take_wakers()
        })
    }

    /// Begins a round of the background driver: it looks for what it was summoned for after this. Returns whether it is
    /// to leave calls that it has gathered for later; it is summoned then.
    pub(crate) fn answer_summons(&self) -> bool {
        self.lock().answer_summons()
    }

    /// Lets the background driver take a turn.
    pub(crate) fn summon_background(&self) {
        self.change_silently(State::summon_background);
    }

    /// Tries a task of the call again about which its caller was asked, or ends it. Reports nothing yet.
    pub(crate) fn decide(&self, job: JobId, asked: Asked, tries_again: bool) {
        self.change_silently(|state| state.decide(job, asked, tries_again));
    }

    /// Drops a task that nobody wants any more, and nothing else of its call. If it runs, it gets a moment to end. An
    /// outcome of it may still come.
    pub(crate) fn drop_task(&self, job: JobId, index: TaskIndex) {
        self.change(|state| state.drop_task(job, index));
    }

    /// The same, but reports nothing yet.
    pub(crate) fn drop_task_silently(&self, job: JobId, index: TaskIndex) {
        self.change_silently(|state| state.drop_task(job, index));
    }

    /// Cancels all calls, and closes these. Returns the wakers of streams. Reports nothing yet.
    pub(crate) fn cancel_and_close(&self, jobs: impl Iterator<Item = JobId>) -> Vec<Waker> {
        self.change_silently(|state| {
            state.cancel_all(&Error::Cancelled);
            jobs.for_each(|job| state.close(job));
            state.take_wakers()
        })
    }
}

#[cfg(feature = "stream")]
impl LocalEngine {
    /// Marks the call as a stream's. Reports nothing yet.
    pub(crate) fn open_stream(&self, job: JobId) {
        self.change_silently(|state| state.streams().open(job));
    }

    pub(crate) fn close_stream(&self, job: JobId) {
        // Drops the waker outside the lock: that runs the executor's code.
        drop(self.change(|state| state.streams().close(job)));
    }

    /// Registers the waker, and replaces it by the one registered before. If anything awaited may be there already,
    /// does neither and returns false.
    pub(crate) fn register_waker(&self, job: JobId, awaits: Awaits, waker: &mut Option<Waker>) -> bool {
        self.lock().register_waker(job, awaits, waker)
    }

    /// Whether the workers that were told to shut down at the end of a call have stopped, with the first error of an
    /// exit function. If not, returns what to wait for.
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

/// A call that was opened.
pub(crate) struct Opened {
    pub(crate) job: JobId,
    /// How many workers the pool had then.
    pub(crate) workers: usize,
}

/// What a caller learns from a turn of its call.
pub(crate) struct Turn {
    /// When the workers were last watched.
    pub(crate) watched_until: u64,
    /// How much of what the call has submitted was not sent yet. None if the call is closed.
    pub(crate) unsent: Option<Unsent>,
}
