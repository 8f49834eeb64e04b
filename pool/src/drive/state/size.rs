//! How many workers there are.

use super::*;
use crate::options::MoreWorkers;

impl State {
    /// How many workers the pool has.
    pub(in crate::drive) fn size(&self) -> usize {
        self.supervisor.size()
    }

    /// How many workers the pool has, or had before it became smaller.
    pub(in crate::drive) fn known_workers(&self) -> usize {
        self.workers.len()
    }

    /// Gives the pool more workers, which have `more` if it never had them before, or fewer.
    pub(in crate::drive) fn resize(&mut self, workers: usize, more: MoreWorkers) -> Result<(), Error> {
        if self.jobs.is_closed() {
            return Err(Error::Closed);
        }
        self.workers.add(more)?;
        self.observer.grow(self.workers.len());
        self.handle(Event::Resized { workers });
        // Tasks that were taken back go to others.
        self.drive();
        Ok(())
    }
}
