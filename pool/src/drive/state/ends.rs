//! How workers end: each by itself, all in order, or all at once.

use super::*;
use crate::sys::signal;

impl State {
    /// If the worker has ended, takes the replies that it committed and then reports its death.
    pub(super) fn reap(&mut self, worker: WorkerId) {
        let Some(mut death) = self.workers.try_reap(worker, || self.jobs.ids()) else { return };
        self.drain(worker);
        if death.signal() == Some(signal::KILL) {
            death.out_of_memory = self.workers.has_run_out_of_memory(worker);
        }
        if self.workers.get(worker).is_some_and(WorkerHandle::has_lost_ready) {
            self.handle(Event::Ready { worker });
        }
        let folded = u64::from(self.folded(worker));
        if folded > 0 {
            self.handle(Event::Unfolded { worker, count: folded });
        }
        let next = self.supervisor.head(worker).map(Head::unit);
        let Some(died) = self.workers.record_end(worker, death, next, &mut self.observer) else { return };
        self.handle(died);
        if self.supervisor.is_absent(worker) {
            self.workers.forget(worker, &mut self.observer);
        }
    }

    /// Lets all workers finish their tasks, run their exit functions and end.
    pub(in crate::drive) fn shut_down(&mut self) {
        self.is_shutting_down = true;
        self.handle(Event::ShutDown);
    }

    /// Ends all workers now. Busy ones are killed, idle ones leave by themselves. Waits for all of them, but only a
    /// moment for user code in the idle ones, such as exit handlers.
    pub(in crate::drive) fn terminate(&mut self) {
        self.jobs.close_for_good();
        for worker in self.workers.ids() {
            // A worker whose last reply is only taken now is idle.
            self.drain(worker);
        }
        let are_idle: Vec<bool> =
            self.workers.ids().map(|worker| self.supervisor.can_end_now(worker)).collect();
        self.cancel_all(&Error::Closed);
        self.workers.terminate(&are_idle, &mut self.observer);
    }

    /// Whether all workers have ended, or a new call keeps them.
    pub(in crate::drive) fn have_stopped(&self) -> bool {
        self.supervisor.all_ended() || !self.is_shutting_down
    }

    /// Removes and returns the first error of an exit function.
    pub(in crate::drive) fn take_exit_error(&mut self) -> Result<(), Error> {
        self.workers.take_exit_error().map_or(Ok(()), |error| Err(error.into()))
    }
}
