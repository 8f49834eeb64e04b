//! The background driver: a thread of the pool that drives asynchronous calls and streams while there are any, and
//! other calls while their callers are away, in code of the user's. It runs none of the user's callbacks: see
//! [`callbacks`](super::callbacks).

mod opening;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, current};
use std::time::{Duration, Instant};

use super::batch::Gathering;
use super::callbacks::{Callbacks, Notice, wake};
use super::completion::Callback;
use super::pending::Pending;
use super::room::Room;
use crate::engine::Engine;
use crate::error::Error;
use crate::ids::JobId;
use crate::sys::threads::{become_resting, expect_own, rest, spawn};
use crate::unwind;
use crate::work::Inbox;

/// Drives the pool while asynchronous calls or streams are open: completes the calls and wakes the streams.
#[derive(Default)]
pub(crate) struct BackgroundDriver {
    state: Mutex<State>,
    /// Locked after the state, where both are.
    gathering: Mutex<Gathering>,
    /// Results were delivered.
    delivered: Condvar,
    /// The thread lingers no longer.
    resumed: Condvar,
    /// Whether the thread runs. Changed under the lock, and read without it.
    is_running: AtomicBool,
    callbacks: Arc<Callbacks>,
    /// Where the number of outstanding tasks is bounded.
    room: Option<Arc<Room>>,
}

/// How long the thread lingers: long beside the time between calls of a caller that makes one after another, and short
/// for a fork, which waits for the end of such threads.
const LINGER: Duration = Duration::from_millis(5);

/// How long the end of a pool that is dropped waits for callbacks. As long as for workers that shut down in order.
const CALLBACKS_END: Duration = Duration::from_millis(500);

#[derive(Default)]
struct State {
    calls: HashMap<JobId, Pending>,
    /// How many of them show their progress.
    shown: usize,
    thread: Option<JoinHandle<()>>,
    /// The thread has nothing to do, and waits whether there is more soon.
    is_lingering: bool,
    /// The thread delivers results of calls that it has closed.
    is_delivering: bool,
}

/// The thread survives at most this many panics of this crate's own code. It survives the first ones because a panic
/// may concern a single call only.
const MOST_PANICS: u32 = 16;

impl State {
    /// Removes and returns all calls.
    fn take_calls(&mut self) -> HashMap<JobId, Pending> {
        self.shown = 0;
        std::mem::take(&mut self.calls)
    }
}

impl BackgroundDriver {
    /// For a pool with at most this many outstanding tasks in the background, if there is a bound.
    pub(super) fn new(max_queue: Option<usize>) -> Self {
        let callbacks = Arc::<Callbacks>::default();
        let room = max_queue.map(|most| Arc::new(Room::new(most, Arc::clone(&callbacks))));
        Self { callbacks, room, ..Self::default() }
    }

    /// Where the number of outstanding tasks is bounded.
    pub(super) fn room(&self) -> Option<&Arc<Room>> {
        self.room.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls were gathered, and are not open yet.
    pub(crate) fn gathered(&self) -> usize {
        self.gathering().len()
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what is left to do for the user.
    pub(super) fn post(&self, then: Option<Callback>) {
        self.callbacks.post(then.map(Notice::Run));
    }

    /// Drives this call's stream until it is closed.
    #[cfg(feature = "stream")]
    pub(super) fn attach_stream(self: &Arc<Self>, engine: &Arc<Engine>, job: JobId) -> Result<(), Error> {
        let mut state = self.lock();
        engine.open_stream(job);
        self.start(&mut state, engine)
    }

    /// Stands by while the caller of an open call goes away. Without a thread for that, the call goes on when its
    /// caller is back.
    pub(super) fn stand_by(self: &Arc<Self>, engine: &Arc<Engine>) {
        if !self.is_running.load(Ordering::SeqCst) {
            let _ = self.start(&mut self.lock(), engine);
        }
    }

    /// Starts the thread unless it is running.
    fn start(self: &Arc<Self>, state: &mut State, engine: &Arc<Engine>) -> Result<(), Error> {
        if !self.is_running.load(Ordering::SeqCst) {
            if std::mem::take(&mut state.is_lingering) {
                self.resumed.notify_one();
            } else {
                let (driver, engine) = (Arc::clone(self), Arc::clone(engine));
                expect_own();
                let thread = spawn("pool background".into(), None, move || driver.run(&engine));
                state.thread = Some(thread.map_err(|error| Error::start("the background thread", error))?);
            }
            self.is_running.store(true, Ordering::SeqCst);
            self.gathering().is_served = true;
            self.callbacks.keep();
        }
        Ok(())
    }

    fn run(&self, engine: &Arc<Engine>) {
        become_resting();
        self.serve_despite_panics(|| self.serve(engine), || self.give_up(engine));
    }

    /// Runs `serve` until it returns. Panics of user code are caught where it is called. If anything else panics, the
    /// calls that wait for this thread end with an error, and the thread goes on for later ones. A panic that comes
    /// back in each round would keep the thread busy for as long as a stream is open: after the last allowed one the
    /// thread ends, and the next call starts another.
    fn serve_despite_panics(&self, serve: impl Fn(), give_up: impl Fn()) {
        for _ in 0..MOST_PANICS {
            if unwind::catch(&serve).is_ok() {
                return;
            }
            let _ = unwind::catch(&give_up);
        }
        let calls = {
            let mut state = self.lock();
            self.is_running.store(false, Ordering::SeqCst);
            self.note_delivered(&mut state);
            state.take_calls()
        };
        let why =
            "it has panicked again and again: that is a bug of `pool`, which its stderr shows the place of";
        self.complete_all(calls, &Error::start("the background thread", why));
        self.callbacks.let_end();
    }

    /// Completes these calls with an error.
    fn complete_all(&self, calls: HashMap<JobId, Pending>, error: &Error) {
        let gathered = {
            let mut gathering = self.gathering();
            gathering.is_served = false;
            gathering.take()
        };
        let gathered = gathered.into_iter().flat_map(|calls| calls.results);
        let gathered = gathered.filter_map(|result| result.complete(Err(error.clone())).map(Notice::Run));
        let calls = calls.into_values().flat_map(|call| call.end(error));
        self.callbacks.post(calls.chain(gathered).collect::<Vec<_>>());
    }

    /// Cancels all calls and wakes all streams.
    fn give_up(&self, engine: &Engine) {
        if engine.is_here() {
            let calls = self.lock().take_calls();
            let wakers = engine.cancel_and_close(calls.keys().copied());
            self.callbacks.post(wakers.into_iter().map(wake));
        }
    }

    /// Drives until no call and no stream is open, and no idle worker may leave.
    fn serve(&self, engine: &Arc<Engine>) {
        // A subscriber may have forked: the copy of this thread, alone in the child, has nothing to serve.
        while engine.is_here() {
            if !engine.answer_summons() {
                self.open_gathered(engine);
            }
            let (mut over, mut notices, mut arrived) = (Vec::new(), Vec::new(), Vec::new());
            let (wakers, only_stands_by) = {
                let mut state = self.lock();
                self.note_delivered(&mut state);
                if state.calls.is_empty() && !engine.needs_background() {
                    let mut gathering = self.gathering();
                    if gathering.is_empty() {
                        self.is_running.store(false, Ordering::SeqCst);
                        // A call that was opened just before may have seen the thread running.
                        if !engine.needs_background() {
                            gathering.is_served = false;
                            drop(gathering);
                            // Callers may have followed this thread.
                            engine.leave();
                            if self.linger(state) {
                                continue;
                            }
                            return;
                        }
                        self.is_running.store(true, Ordering::SeqCst);
                    }
                }
                let State { calls, is_delivering, shown, .. } = &mut *state;
                let only_stands_by = calls.is_empty() && !engine.has_streams() && engine.has_calls();
                if *shown > 0 {
                    // Their clocks go on.
                    notices.extend(calls.iter().filter_map(|(job, call)| call.tick(*job)));
                }
                let wakers = engine.turn_background(|job, mut news| {
                    if !news.asked.is_empty() {
                        let (call, asked) = (calls.get(&job), std::mem::take(&mut news.asked));
                        notices.extend(call.map_or_else(Vec::new, |call| call.ask(engine, job, asked)));
                    }
                    let is_over = match calls.get_mut(&job) {
                        None => return true,
                        Some(Pending::Batch(_)) => {
                            let is_over = news.end.is_some();
                            *is_delivering = true;
                            arrived.push((job, news));
                            is_over
                        }
                        Some(Pending::Whole(call)) => {
                            notices.extend(call.append(job, news));
                            call.is_over()
                        }
                    };
                    if is_over && let Some(Pending::Whole(call)) = calls.get(&job) {
                        *is_delivering = true;
                        *shown -= usize::from(call.is_shown());
                        over.extend(calls.remove(&job));
                    }
                    is_over
                });
                (wakers, only_stands_by)
            };
            let is_idle = over.is_empty() && wakers.is_empty() && arrived.is_empty();
            self.deliver(arrived, &mut notices);
            // Only now: this runs observers' code, and no lock of this driver may be held then. Where it only stands
            // by, callers do this: what their calls report is told by the time that they end.
            if !only_stands_by {
                engine.tell();
            }
            // Much may have happened meanwhile: take another turn before sleeping.
            notices.extend(over.into_iter().filter_map(|call| match call {
                Pending::Whole(call) => call.finish(),
                Pending::Batch(_) => None,
            }));
            self.callbacks.post(wakers.into_iter().map(wake).chain(notices));
            if is_idle {
                engine.stand_by();
            }
        }
    }

    /// Delivers results to calls that are open together.
    fn deliver(&self, arrived: Vec<(JobId, Inbox)>, notices: &mut Vec<Notice>) {
        for (job, news) in arrived {
            let batch = self.lock().calls.remove(&job);
            let Some(Pending::Batch(mut batch)) = batch else { continue };
            if !batch.deliver(&news, notices) {
                self.lock().calls.insert(job, Pending::Batch(batch));
            }
        }
    }

    /// Waits a moment for more to do: a thread is soon woken, and not so soon started. Returns whether there is more.
    fn linger(&self, mut state: MutexGuard<'_, State>) -> bool {
        state.is_lingering = true;
        let until = Instant::now() + LINGER;
        while state.is_lingering {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let wait = || self.resumed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state = rest(wait);
        }
        state.is_lingering = false;
        let is_there_more = self.is_running.load(Ordering::SeqCst);
        if !is_there_more {
            self.callbacks.let_end();
        }
        is_there_more
    }

    fn note_delivered(&self, state: &mut State) {
        if std::mem::take(&mut state.is_delivering) {
            self.delivered.notify_all();
        }
    }

    /// Waits until the results of all calls that the engine has closed are delivered.
    pub(crate) fn wait_delivered(&self) {
        let mut state = self.lock();
        while state.is_delivering {
            state = self.delivered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the thread has ended and all callbacks have returned. The engine must be closed, or have no
    /// asynchronous calls.
    pub(crate) fn join(&self) {
        self.end();
        self.callbacks.finish(None);
    }

    /// The same, but callbacks get only a moment.
    pub(crate) fn finish(&self) {
        self.end();
        self.callbacks.finish(Some(CALLBACKS_END));
    }

    fn end(&self) {
        let thread = {
            let mut state = self.lock();
            if std::mem::take(&mut state.is_lingering) {
                self.resumed.notify_one();
            }
            state.thread.take()
        };
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != current().id()) {
            // If it panicked nevertheless, its calls end below.
            let _ = unwind::join(thread);
        }
        let calls = self.lock().take_calls();
        self.complete_all(calls, &Error::Closed);
        self.callbacks.let_end();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::job::completion::Completion;
    use crate::job::pending::PendingCall;

    /// A driver that believes its thread to be running, and a call that waits for it.
    fn driver() -> (BackgroundDriver, Arc<Completion>) {
        let (driver, completion) = (BackgroundDriver::default(), Arc::new(Completion::default()));
        let call = PendingCall::new(Arc::clone(&completion), None, None, None);
        driver.is_running.store(true, Ordering::SeqCst);
        let mut state = driver.lock();
        state.calls.insert(JobId::new(1), Pending::Whole(call));
        drop(state);
        (driver, completion)
    }

    #[test]
    fn a_panic_in_each_round_ends_the_thread_and_what_waits_for_it() {
        for gives_up in [true, false] {
            let (driver, completion) = driver();
            let rounds = Cell::new(0);
            let serve = || {
                rounds.set(rounds.get() + 1);
                // The real one holds this lock, too, when it panics.
                let _state = driver.lock();
                panic!("a bug of the crate's own");
            };
            let give_up = || {
                assert!(gives_up, "another one");
                driver.lock().calls.clear();
            };
            driver.serve_despite_panics(serve, give_up);
            assert_eq!(rounds.get(), MOST_PANICS);
            assert!(!driver.is_running.load(Ordering::SeqCst), "the next call starts a thread");
            match completion.content().as_deref() {
                Some(Err(Error::Cancelled)) if gives_up => {}
                Some(Err(error @ Error::Start { .. })) if !gives_up => {
                    assert!(error.to_string().contains("again and again"), "{error}");
                }
                _ => panic!("nobody has ended the call"),
            }
        }
    }

    #[test]
    fn one_panic_costs_the_calls_of_then_only() {
        let (driver, completion) = driver();
        let rounds = Cell::new(0);
        let serve = || {
            rounds.set(rounds.get() + 1);
            assert!(rounds.get() > 1, "a bug that shows once");
        };
        driver.serve_despite_panics(serve, || driver.lock().calls.clear());
        assert_eq!(rounds.get(), 2);
        assert!(
            driver.is_running.load(Ordering::SeqCst),
            "it has ended as it always does: that says so itself"
        );
        assert!(matches!(completion.content().as_deref(), Some(Err(Error::Cancelled))));
    }
}
