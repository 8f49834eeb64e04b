//! The slot that receives the result of an asynchronous call, still encoded.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::decode::decode;
use super::room::Places;
use crate::codec::Codec;
use crate::error::{CallSite, Error};
use crate::ids::{JobId, TaskIndex, WorkerId};
use crate::lane::Slots;
use crate::sys::identity::Owner;
use crate::task::Task;
use crate::unwind;
use crate::work::{Arrival, Outcome};

/// The outcomes of a call, still encoded.
pub(super) enum Arrivals {
    Of(Vec<Arrival>, Vec<u8>),
    /// The result of the only task.
    One {
        worker: WorkerId,
        slot: Box<[u8]>,
        slots: Slots,
    },
}

impl Arrivals {
    pub(super) fn new(arrivals: Vec<Arrival>, tape: Vec<u8>) -> Self {
        Self::Of(arrivals, tape)
    }

    /// The result of a call's only task.
    pub(super) fn of_one(worker: WorkerId, slot: Box<[u8]>, slots: Slots) -> Self {
        Self::One { worker, slot, slots }
    }

    /// Decodes the results of the call that was made there, up to the first failure.
    pub(super) fn decode<T: Task>(&self, codec: Codec, site: &CallSite) -> Result<Vec<T::Output>, Error> {
        let (mut results, mut values) = (Vec::new(), Vec::new());
        let only;
        let (arrivals, tape) = match self {
            Self::Of(arrivals, tape) => (&arrivals[..], &tape[..]),
            Self::One { worker, slot, slots } => {
                let what = Outcome::Values { start: 0, slots: *slots, count: 1 };
                only = [Arrival { index: TaskIndex::default(), worker: *worker, what }];
                (&only[..], &slot[..])
            }
        };
        for arrival in arrivals {
            decode::<T>(arrival, 0..arrival.outcomes(), tape, codec, &mut values, |_, _, values| {
                results.append(values.map_err(|error| error.called(site))?);
                Ok(())
            })?;
        }
        Ok(results)
    }
}

/// The slot that receives the result of a call.
pub(super) struct Completion {
    state: Mutex<CompletionState>,
    arrived: Condvar,
    owner: Owner,
}

pub(super) type Callback = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct CompletionState {
    content: Option<Arc<Result<Arrivals, Error>>>,
    callbacks: VecDeque<Callback>,
    /// The result is there, and a thread runs these callbacks or is about to.
    runs_callbacks: bool,
    waker: Option<Waker>,
    /// How many threads wait for the result.
    waiting: u32,
    /// The task, where the call is one of those that share a call of the engine's, and that is open.
    place: Option<(JobId, TaskIndex)>,
    /// The place that its task takes, where they are bounded.
    places: Option<Places>,
}

impl Default for Completion {
    fn default() -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), owner: Owner::here() }
    }
}

impl Completion {
    /// Returns the result, if it has arrived.
    pub(super) fn content(&self) -> Option<Arc<Result<Arrivals, Error>>> {
        let Err(forked) = self.owner.check() else { return self.lock().content.clone() };
        // In a fork no result ever arrives, and if a thread of the parent held the lock, it stays held.
        let content = self.state.try_lock().ok().and_then(|state| state.content.clone());
        Some(content.unwrap_or_else(|| Arc::new(Err(forked.into()))))
    }

    fn lock(&self) -> MutexGuard<'_, CompletionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the result, until then or without limit. Returns whether it is there.
    pub(super) fn wait_until(&self, end: Option<Instant>) -> bool {
        let mut state = self.lock();
        state.waiting += 1;
        let is_there = loop {
            if state.content.is_some() {
                break true;
            }
            state = match end {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break false;
                    }
                    self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        state.waiting -= 1;
        is_there
    }

    /// Registers the waker, and replaces it by the one registered before. If the result is there, does neither and
    /// returns false.
    pub(super) fn register_waker(&self, waker: &mut Option<Waker>) -> bool {
        let mut state = self.lock();
        let waits = state.content.is_none();
        if waits {
            std::mem::swap(&mut state.waker, waker);
        }
        waits
    }

    /// Runs the callback once the result is there, behind those that were given earlier.
    pub(super) fn when_ready(&self, callback: Callback) {
        // In a fork no result ever arrives, and a thread of the parent may have held the lock.
        if self.owner.is_here() {
            let mut state = self.lock();
            if state.content.is_none() || state.runs_callbacks {
                return state.callbacks.push_back(callback);
            }
        }
        run_callback(callback);
    }

    /// Stores the result, unless there is one, and wakes the threads that wait for it. Returns what is left to do for
    /// those that do not wait: their wakers and callbacks, which may take any time.
    #[must_use = "wakers and callbacks are waiting"]
    pub(super) fn complete(self: &Arc<Self>, content: Result<Arrivals, Error>) -> Option<Callback> {
        self.free_places();
        let mut state = self.lock();
        if state.content.is_none() {
            state.content = Some(Arc::new(content));
        }
        self.announce(state)
    }

    /// Lets the call be cancelled, unless it has its result. Returns where its task is, if that is known, and what is
    /// left to do, as [`complete`](Self::complete) does.
    pub(super) fn cancel(self: &Arc<Self>) -> (Option<(JobId, TaskIndex)>, Option<Callback>) {
        self.free_places();
        let mut state = self.lock();
        if state.content.is_some() {
            return (None, None);
        }
        state.content = Some(Arc::new(Err(Error::Cancelled)));
        (state.place.take(), self.announce(state))
    }

    /// Whoever gets the result finds room for another task.
    fn free_places(&self) {
        let places = self.lock().places.take();
        drop(places);
    }

    /// Takes the place that the call's task takes.
    pub(super) fn keep_places(&self, places: Option<Places>) {
        self.lock().places = places;
    }

    /// Notes where the call's task is. Returns whether it was cancelled before.
    pub(super) fn set_place(&self, job: JobId, index: TaskIndex) -> bool {
        let mut state = self.lock();
        state.place = Some((job, index));
        state.content.is_some()
    }

    /// Wakes the threads that wait for the result, which is there.
    fn announce(self: &Arc<Self>, mut state: MutexGuard<'_, CompletionState>) -> Option<Callback> {
        if state.waiting > 0 {
            self.arrived.notify_all();
        }
        let waker = state.waker.take();
        let has_callbacks = !state.callbacks.is_empty() && !state.runs_callbacks;
        state.runs_callbacks |= has_callbacks;
        drop(state);
        if !has_callbacks && waker.is_none() {
            return None;
        }
        let this = Arc::clone(self);
        Some(Box::new(move || {
            if let Some(waker) = waker {
                run_callback(|| waker.wake());
            }
            if has_callbacks {
                this.run_callbacks();
            }
        }))
    }

    /// Runs the callbacks, also those that are added meanwhile.
    fn run_callbacks(&self) {
        loop {
            let mut state = self.lock();
            let Some(callback) = state.callbacks.pop_front() else {
                state.runs_callbacks = false;
                return;
            };
            drop(state);
            run_callback(callback);
        }
    }
}

/// Runs a callback, a waker or a bar. If it panics, neither the pool nor other callbacks nor its owner are harmed.
pub(super) fn run_callback(callback: impl FnOnce()) {
    let _ = unwind::catch(callback);
}
