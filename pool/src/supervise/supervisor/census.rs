//! How many workers and tasks are in which state.

use super::*;

/// The workers and tasks of a pool, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Workers that are up, and how many of them have something to do.
    pub(crate) up: usize,
    pub(crate) busy: usize,
    /// Workers that are being started.
    pub(crate) starting: usize,
    /// Absent workers that are not started before a certain time.
    pub(crate) backing_off: usize,
    /// Tasks that were taken from inputs and have no outcome.
    pub(crate) unfinished: u64,
    /// Those of them that are at the head of a worker that is up.
    pub(crate) running: u64,
}

impl Supervisor {
    /// Counts workers and tasks: looks at each worker, and each job.
    pub(crate) fn census(&self) -> Census {
        let mut census = Census::default();
        for worker in self.workers.ids().map(|id| &self.workers[id]) {
            match worker.phase {
                Phase::Absent => census.backing_off += usize::from(worker.backs_off()),
                _ if !worker.is_up => census.starting += 1,
                _ => {
                    census.up += 1;
                    match worker.queue.head().map(|head| head.kind) {
                        None | Some(OrderKind::Resume) => {}
                        Some(OrderKind::Init { .. } | OrderKind::Exit) => census.busy += 1,
                        Some(OrderKind::Tasks { .. }) => {
                            census.busy += 1;
                            census.running += 1;
                        }
                    }
                }
            }
        }
        census.unfinished = self.jobs.iter().map(Job::unfinished).sum();
        census
    }
}
