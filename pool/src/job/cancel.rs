//! Cancels calls from outside.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::background::BackgroundDriver;
use super::completion::Completion;
use super::handle::PoolHandle;
use crate::engine::Engine;
use crate::error::Error;
use crate::ids::JobId;
use crate::sys::identity::Owner;

/// Cancels calls from another thread: one call, from [`Job::cancel_handle`](crate::Job::cancel_handle) or
/// [`AsyncResult::cancel_handle`](crate::AsyncResult::cancel_handle), or all calls that run on a pool, from
/// [`WorkerPool::cancel_handle`](crate::WorkerPool::cancel_handle).
///
/// The handle does not keep the pool alive. Clones cancel the same calls.
#[derive(Clone)]
pub struct CancelHandle(Calls);

#[derive(Clone)]
enum Calls {
    All(Weak<Engine>, Weak<BackgroundDriver>),
    One(Arc<CallSlot>),
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").finish_non_exhaustive()
    }
}

impl CancelHandle {
    pub(crate) fn of_all(pool: &PoolHandle) -> Self {
        Self(Calls::All(Arc::downgrade(pool.engine()), Arc::downgrade(pool.background())))
    }

    pub(super) fn of_one(call: Arc<CallSlot>) -> Self {
        Self(Calls::One(call))
    }

    /// Ends the call, or every running call, with [`Error::Cancelled`]; the pool stays usable. Workers whose tasks do
    /// not end soon are killed and replaced. A call that has not been made yet ends as soon as it is.
    ///
    /// Does nothing once the call is over or the pool is gone, or in a fork of the process that made the handle.
    pub fn cancel(&self) {
        match &self.0 {
            Calls::All(engine, background) => {
                if let Some(engine) = engine.upgrade().filter(|engine| engine.is_here()) {
                    background.upgrade().into_iter().for_each(|background| background.open_gathered(&engine));
                    engine.cancel_all(&Error::Cancelled);
                }
            }
            Calls::One(call) => call.cancel(),
        }
    }
}

/// The one call that a job makes, for those who may cancel it.
pub(super) struct CallSlot {
    state: Mutex<SlotState>,
    owner: Owner,
}

#[derive(Clone)]
enum SlotState {
    /// The call is not made yet.
    Waiting,
    Made(CallRef),
    /// It was cancelled before it was made.
    Cancelled,
}

impl fmt::Debug for CallSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallSlot").finish_non_exhaustive()
    }
}

impl CallSlot {
    /// Of a call that is not made yet.
    pub(super) fn waiting() -> Self {
        Self { state: Mutex::new(SlotState::Waiting), owner: Owner::here() }
    }

    /// Of a call that is open.
    pub(super) fn of(call: CallRef) -> Self {
        Self { state: Mutex::new(SlotState::Made(call)), owner: Owner::here() }
    }

    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error if the call was cancelled before it was made.
    pub(super) fn check(&self) -> Result<(), Error> {
        if matches!(*self.lock(), SlotState::Cancelled) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Notes that the call is open, and ends it if it was cancelled meanwhile.
    pub(super) fn made(&self, call: &CallRef) {
        let before = std::mem::replace(&mut *self.lock(), SlotState::Made(call.clone()));
        if matches!(before, SlotState::Cancelled) {
            call.cancel();
        }
    }

    fn cancel(&self) {
        // In a fork, a thread that is not there may hold the lock.
        if !self.owner.is_here() {
            return;
        }
        let state = {
            let mut state = self.lock();
            if matches!(*state, SlotState::Waiting) {
                *state = SlotState::Cancelled;
            }
            state.clone()
        };
        if let SlotState::Made(call) = state {
            call.cancel();
        }
    }
}

/// A call that can be cancelled.
#[derive(Clone)]
pub(super) enum CallRef {
    /// One that is over.
    Over,
    Whole(Weak<Engine>, JobId),
    /// A task of a call that others share.
    Single(Weak<Engine>, Weak<BackgroundDriver>, Arc<Completion>),
}

impl CallRef {
    pub(super) fn cancel(&self) {
        let here = |engine: &Weak<Engine>| engine.upgrade().filter(|engine| engine.is_here());
        match self {
            Self::Over => {}
            Self::Whole(engine, job) => {
                if let Some(engine) = here(engine) {
                    engine.cancel(*job, Error::Cancelled);
                }
            }
            Self::Single(engine, background, completion) => {
                let (Some(engine), Some(background)) = (here(engine), background.upgrade()) else { return };
                let (place, then) = completion.cancel();
                if let Some((job, index)) = place {
                    engine.drop_task(job, index);
                }
                background.post(then);
            }
        }
    }
}
