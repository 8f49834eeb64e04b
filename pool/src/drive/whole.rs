//! What concerns the pool as a whole, and no single call.

use super::*;
use crate::observe::insights::Insights;
use crate::observe::stats::Stats;
use crate::observe::timeline::Timeline;
use crate::options::MoreWorkers;
use crate::work::{ExitValue, Exits};

impl LocalEngine {
    /// Waits until no call is open or still running.
    pub(crate) fn wait_idle(&self) {
        self.drive_until(|state| state.is_idle());
    }

    /// Ends the open calls that have a caller. Only for when there can be no caller any more.
    pub(crate) fn close_forgotten(&self) {
        self.change(State::close_forgotten);
    }

    /// Lets no further call be opened.
    pub(crate) fn refuse_calls(&self) {
        self.change(State::refuse_calls);
    }

    /// Lets all workers finish their tasks, run their exit functions and end.
    pub(crate) fn shut_down(&self) {
        self.change(State::shut_down);
    }

    /// Waits until all workers have ended after [`shut_down`](Self::shut_down), or another thread has opened a call,
    /// which keeps them.
    ///
    /// # Errors
    /// The first error of an exit function.
    pub(crate) fn wait_stopped(&self) -> Result<(), Error> {
        self.check()?;
        self.drive_until(|state| state.have_stopped());
        self.lock().take_exit_error()
    }

    /// How many workers the pool has.
    pub(crate) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// How many workers the pool has, or had before it became smaller.
    pub(crate) fn known_workers(&self) -> usize {
        self.lock().known_workers()
    }

    /// Gives the pool more workers, which have `more` if it never had them before, or fewer.
    ///
    /// # Errors
    /// [`Error::Closed`] if no call can be opened any more.
    pub(crate) fn resize(&self, workers: usize, more: MoreWorkers) -> Result<(), Error> {
        self.change(|state| {
            state.resize(workers, more)?;
            self.size.store(workers, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Ends all workers now; see [`State::terminate`].
    pub(crate) fn terminate(&self) {
        self.change(State::terminate);
    }

    /// The results of this exit function.
    pub(crate) fn exit_values(&self, exit: u32) -> Vec<ExitValue> {
        self.lock().exits().of(exit)
    }

    /// Removes the results of this exit function and returns them.
    pub(crate) fn take_exit_values(&self, exit: u32) -> Vec<ExitValue> {
        self.lock().exits().take(exit)
    }

    /// Puts values back, before those that were added since.
    pub(crate) fn put_back_exit_values(&self, values: Vec<ExitValue>) {
        self.lock().exits().put_back(values);
    }

    /// Removes the results of all exit functions and returns them.
    pub(crate) fn take_exits(&self) -> Exits {
        std::mem::take(self.lock().exits())
    }

    /// Statistics of the work of all workers so far.
    pub(crate) fn insights(&self) -> Insights {
        self.lock().insights()
    }

    /// What the pool does and did, with what workers have replied by now.
    pub(crate) fn stats(&self) -> Stats {
        self.change(|state| {
            state.drive();
            state.stats()
        })
    }

    /// The timeline of all workers so far.
    pub(crate) fn timeline(&self) -> Timeline {
        self.lock().timeline()
    }
}
