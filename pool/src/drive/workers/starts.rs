//! The starts of workers: begun, gone on with, and over.

use super::*;

impl Workers {
    /// Prepares for a call that is opened: forgets earlier failures to start. If no worker is left, the next ones get a
    /// fresh copy of the program's memory.
    pub(in crate::drive) fn prepare(&mut self, all_ended: bool) {
        self.start_error = None;
        if all_ended {
            self.starter.refresh();
        }
        self.starter.prepare();
    }

    /// Begins to start a worker, which can have orders from now on. Drops the handle of its predecessor, which reaps
    /// that and unmaps its lane. The new worker may spin for so long, and wakes the parent if it is `asleep`.
    pub(in crate::drive) fn begin_start(
        &mut self,
        worker: WorkerId,
        spin_ns: u32,
        asleep: bool,
        observer: &mut Observer,
    ) -> Option<Event> {
        self.forget(worker, observer);
        observer.worker_starting(worker);
        let begun = match &self.final_error {
            // Every start of this batch would fail in the same way.
            Some(error) => Err(Unstarted { error: error.clone(), is_final: true }),
            None => self.try_begin_start(worker, observer),
        };
        match begun {
            Ok(mut handle) => {
                handle.let_spin(spin_ns);
                if asleep {
                    handle.announce_sleep(false);
                    self.announced.push(worker);
                }
                self.handles[worker] = Some(handle);
                self.has_begun = true;
                None
            }
            Err(unstarted) => Some(self.record_start_failure(worker, unstarted, observer)),
        }
    }

    fn try_begin_start(&mut self, worker: WorkerId, observer: &Observer) -> Result<WorkerHandle, Unstarted> {
        let failed = |error| Error::start(format!("worker {worker}"), error);
        let (lane, worker_side) = self.poller.waker().and_then(lane::open).map_err(failed)?;
        let (probes, ends) = observer.open_probes(self.are_processes).map_err(failed)?;
        let kit = WorkerKit::new(worker, self.cpus[worker].clone(), worker_side, ends);
        if let Some(limit) = self.policy.memory_limit {
            // Before the worker begins to measure itself.
            lane.limit_memory(limit);
        }
        self.starter.start(kit, &*self.poller)?;
        Ok(WorkerHandle::new(lane, probes))
    }

    /// Takes the outcomes of starts that have just begun, as far as they are known at once. Returns an event for each.
    pub(in crate::drive) fn settle_starts(&mut self, observer: &mut Observer) -> Vec<Event> {
        if !std::mem::take(&mut self.has_begun) {
            return Vec::new();
        }
        let mut outcomes = Vec::new();
        self.starter.settle(&*self.poller, &mut outcomes);
        self.record_starts(outcomes, observer)
    }

    /// Lets starts go on, and returns an event for each that is over.
    pub(in crate::drive) fn advance_starts(&mut self, observer: &mut Observer) -> Vec<Event> {
        let mut outcomes = Vec::new();
        self.starter.advance(&*self.poller, &mut outcomes);
        self.record_starts(outcomes, observer)
    }

    /// Says whether a caller that is away comes back.
    pub(in crate::drive) fn expect_caller(&mut self, comes: bool) {
        self.starter.expect_caller(comes);
    }

    /// Whether starts go on only in a turn of a caller.
    pub(in crate::drive) fn await_caller(&self) -> bool {
        self.starter.awaits_caller()
    }

    /// When to let starts go on at the latest.
    pub(in crate::drive) fn starts_deadline(&self) -> Option<u64> {
        self.starter.deadline()
    }

    fn record_starts(&mut self, outcomes: Vec<StartOutcome>, observer: &mut Observer) -> Vec<Event> {
        let are_any = !outcomes.is_empty();
        let mut events = Vec::new();
        for (worker, outcome) in outcomes {
            events.push(match outcome.and_then(|child| self.attach(worker, child)) {
                Ok(pid) => {
                    observer.worker_started(worker, pid);
                    Event::Started { worker }
                }
                Err(unstarted) => self.record_start_failure(worker, unstarted, observer),
            });
        }
        if are_any {
            self.out_of_memory.note_own();
        }
        events
    }

    /// Gives the worker its process or thread. Returns the process's ID.
    fn attach(&mut self, worker: WorkerId, child: Child) -> Result<Option<i32>, Unstarted> {
        let Some(handle) = &mut self.handles[worker] else { return Ok(None) };
        let end = match &child {
            Child::Process(process) => Some(process.pidfd()),
            Child::Thread(_) => None,
        };
        let watched = self.poller.watch(worker, end, handle.probes().pipes());
        let attached = watched.and_then(|()| handle.attach(child, self.policy.memory_limit));
        attached.map_err(|error| Error::start(format!("worker {worker}"), error))?;
        Ok(handle.pid())
    }

    fn record_start_failure(
        &mut self,
        worker: WorkerId,
        Unstarted { error, is_final }: Unstarted,
        observer: &mut Observer,
    ) -> Event {
        if is_final {
            self.final_error = Some(error.clone());
        }
        observer.worker_not_started(worker, &error);
        self.start_error = Some(error);
        Event::NotStarted { worker, is_final }
    }

    /// Ends a batch of starts: the next ones are tried again.
    pub(in crate::drive) fn allow_starts(&mut self) {
        self.final_error = None;
    }

    /// Why no worker could be started.
    pub(super) fn why_not_started(&self) -> Error {
        if let Some(error) = &self.start_error {
            return error.clone();
        }
        let Some(Ended { death, stderr_tail, .. }) = &self.last_end else {
            return Error::start("workers", "none could be started");
        };
        let mut reason = format!("the last one that was started {death}{}", self.limits);
        let written = stderr_tail.as_deref().map_or(Ok(()), |tail| write_stderr_tail(&mut reason, tail));
        debug_assert!(written.is_ok());
        Error::start("workers", reason)
    }
}
