//! The life of a worker: started, up, retired or killed, ended.

use super::*;

/// After this many failed starts of all workers together, further starts are delayed; if there are no workers then, the
/// jobs that wait for them fail. Three tell a passing failure from a lasting one, and cost a caller no more than three
/// starts. A worker that was ended by a task does not count.
const MAX_FAILED_STARTS: u32 = 3;
/// How long a start is delayed at first. Each failed start of the worker doubles the delay, up to the second constant.
/// So while something is wrong with the machine, a pool tries again every 5 s.
const BACK_OFF_NS: u64 = 25_000_000;
const LONGEST_BACK_OFF_NS: u64 = 5_000_000_000;

impl Supervisor {
    /// Notes how many items of the job wait to be sent. True if they want more workers: then report [`Event::Wanted`].
    pub(crate) fn set_waiting(&mut self, id: JobId, count: u64) -> bool {
        self.jobs.set_waiting(id, count);
        self.lacks_workers() && self.workers_to_start().next().is_some()
    }

    /// Starts the workers that the open jobs want.
    pub(super) fn start_wanted(&mut self) {
        if self.lacks_workers() {
            let wanted: Vec<WorkerId> = self.workers_to_start().collect();
            self.start(&wanted);
        }
    }

    /// Starts the worker of the next chunk, where each chunk has a worker of its own. Call it when another chunk may be
    /// the next.
    pub(super) fn start_next(&mut self) {
        if self.order_tasks {
            self.start_wanted();
        }
    }

    /// The workers that are not there, and for which there is work now.
    fn workers_to_start(&self) -> impl Iterator<Item = WorkerId> {
        let awaited = || self.workers.awaited(self.now);
        let most = if self.order_tasks { self.workers.len() } else { self.missing() };
        let is_wanted = |worker: &WorkerId| {
            !self.workers.is_awaited(*worker) && (!self.order_tasks || self.is_next(*worker))
        };
        let others = self.workers.startable(self.now).filter(is_wanted);
        // Those that are awaited can take tasks of other jobs, too.
        awaited().chain(others.take(most.saturating_sub(awaited().count())))
    }

    /// Whether to start this worker, which is not there.
    pub(super) fn is_wanted(&self, worker: WorkerId) -> bool {
        let is_surplus = || self.workers[worker].is_surplus;
        let is_wanted = || if self.order_tasks { self.is_next(worker) } else { self.missing() > 0 };
        self.lacks_workers() && (self.workers.is_awaited(worker) || (!is_surplus() && is_wanted()))
    }

    fn lacks_workers(&self) -> bool {
        self.workers.are_any_absent() && !self.shutting_down
    }

    /// How many more workers the jobs could keep busy than take orders. Tasks of closed jobs count, because they occupy
    /// workers.
    fn missing(&self) -> usize {
        let wanted = self.jobs.demand().min(self.workers.len() as u64) as usize;
        wanted.saturating_sub(self.workers.taking())
    }

    /// Whether one of the next chunks goes to this worker, where each chunk has a worker of its own.
    pub(super) fn is_next(&self, worker: WorkerId) -> bool {
        let workers = self.workers.len() as u64;
        self.jobs.iter().filter(|job| job.has_work()).any(|job| {
            let ahead = (worker.0 as u64 + workers - job.chunk() % workers) % workers;
            ahead < job.unsent()
        })
    }

    /// Starts workers, and then sends their init orders, so that each boots while the next is started.
    pub(super) fn start(&mut self, workers: &[WorkerId]) {
        if workers.is_empty() {
            return;
        }
        for &worker in workers {
            let mut entry = self.workers.edit(worker);
            let life = entry.renewed();
            *entry = Worker { phase: Phase::Starting, head_since: self.now, ..life };
            self.actions.push(Action::Start { worker });
        }
        self.jobs.worker_started();
        self.expect_idle();
        let profiles: Vec<ProfileId> = self.jobs.profiles_in_use().collect();
        for &worker in workers {
            for &profile in &profiles {
                self.send_init(worker, profile);
            }
        }
    }

    /// Tells every worker to make the state of this profile that has not been told so.
    pub(super) fn send_init_to_all(&mut self, profile: ProfileId) {
        if std::mem::replace(&mut self.jobs.profile_mut(profile).is_everywhere, true) {
            return;
        }
        for worker in self.workers.ids() {
            if self.workers[worker].takes_orders() {
                self.send_init(worker, profile);
            }
        }
    }

    fn send_init(&mut self, worker: WorkerId, profile: ProfileId) {
        if !self.workers[worker].profiles.contains(&profile) {
            self.workers.edit(worker).profiles.push(profile);
            self.push(worker, OrderKind::Init { profile });
            self.actions.push(Action::SendInit { worker, profile });
        }
    }

    /// Adds an order to the worker's queue.
    pub(super) fn push(&mut self, worker: WorkerId, kind: OrderKind) {
        let (workers, heads) = self.split();
        heads.push(&mut workers.edit(worker), kind);
    }

    /// Lets the worker end once it has answered its orders.
    pub(super) fn retire_worker(&mut self, worker: WorkerId) {
        if self.workers[worker].takes_orders() {
            self.push(worker, OrderKind::Exit);
            self.workers.edit(worker).phase = Phase::Retiring;
            self.actions.push(Action::SendExit { worker });
        }
    }

    /// Kills the worker because of the task that it runs, or of another order at the head of its queue.
    pub(super) fn kill_for(&mut self, worker: WorkerId, cause: Cause) {
        let mut entry = self.workers.edit(worker);
        if entry.is_there() {
            let unit = entry.queue.head().map_or_else(Unit::default, |batch| batch.unit + entry.head_folded);
            entry.killed_for = Some((unit, cause));
            self.actions.push(Action::Kill { worker });
        }
    }

    /// Replaces the worker, which has stopped between two tasks.
    pub(super) fn over_soft_limit(&mut self, worker: WorkerId) {
        self.recall(worker);
        self.retire_worker(worker);
    }

    /// Lets all workers end once they have answered their orders.
    pub(super) fn shut_down(&mut self) {
        self.shutting_down = true;
        self.expect_no_idle();
        for worker in self.workers.ids() {
            self.retire_worker(worker);
        }
    }

    pub(super) fn ready(&mut self, worker: WorkerId) {
        self.workers.edit(worker).is_up = true;
        self.next_head(worker, None);
        let mut entry = self.workers.edit(worker);
        if entry.phase == Phase::Starting {
            entry.phase = Phase::Up;
        }
        drop(entry);
        self.note_warmth(worker);
    }

    pub(super) fn not_started(&mut self, worker: WorkerId, is_final: bool) {
        self.count_failed_start(worker);
        self.ended(worker, true, is_final);
    }

    pub(super) fn died(&mut self, worker: WorkerId, running: bool) {
        let entry = &self.workers[worker];
        let boot = entry.phase == Phase::Starting;
        // The exit order was answered; the worker was ending.
        let leaving = entry.phase == Phase::Retiring && entry.queue.is_empty();
        let head = entry.queue.head();
        let mut guilty_next = |batch: &Batch| match batch.kind {
            OrderKind::Tasks { job, first, .. } => {
                self.jobs.edit(job).is_some_and(|mut job| job.is_suspect(first))
            }
            OrderKind::Init { .. } => true,
            OrderKind::Exit | OrderKind::Resume => false,
        };
        let guilty = head.filter(|batch| running || (!boot && guilty_next(batch)));
        let killed_for = entry.killed_for;
        // A worker that has done tasks may have died of one of them, which is no failed start.
        let in_init = guilty.is_some_and(|batch| matches!(batch.kind, OrderKind::Init { .. }));
        let failed_start =
            boot || in_init || (entry.phase == Phase::Up && entry.served == 0 && killed_for.is_none());
        if failed_start {
            self.count_failed_start(worker);
        }
        match guilty.map(|batch| (batch, batch.kind)) {
            Some((batch, OrderKind::Tasks { job, first, attempt, .. })) => {
                let cause = match killed_for {
                    Some((unit, cause)) if unit == batch.unit => cause,
                    _ => Cause::Died,
                };
                // The worker was killed for another task, so this one is not to blame.
                let innocent = killed_for.is_some_and(|(unit, _)| unit != batch.unit);
                self.pop_head(worker, 1);
                let spare = self.jobs.get(job).is_some_and(|job| job.open && attempt <= job.plan.retries);
                if innocent {
                    self.requeue(worker, batch.unit, job, first, 1, attempt);
                } else if self.asks(job, first, attempt) {
                    self.ask(worker, batch.unit, job, first, attempt, cause, 0);
                } else if spare {
                    self.actions.push(Action::Retry { worker, job, index: first, cause });
                    self.actions.push(Action::Requeue { worker, unit: batch.unit, job, first, count: 1 });
                    self.try_again(job, first, attempt);
                } else {
                    self.fail_task(worker, batch.unit, job, first, attempt, cause, 0);
                }
                self.finish_if_done(job);
            }
            Some((_, OrderKind::Init { profile })) => {
                if killed_for.is_some() || self.workers.failed_starts() >= MAX_FAILED_STARTS {
                    let cause = killed_for.map_or(Cause::Died, |(_, cause)| cause);
                    self.fail_jobs(worker, JobCause::Init(cause), |job| job.plan.profile == Some(profile));
                    self.reset_backoff();
                }
            }
            Some((_, OrderKind::Exit)) => {
                let cause = killed_for.map_or(Cause::Died, |(_, cause)| cause);
                self.actions.push(Action::ExitLost { worker, cause });
            }
            None if leaving => {
                if let Some((_, cause)) = killed_for {
                    self.actions.push(Action::ExitLost { worker, cause });
                }
            }
            Some((_, OrderKind::Resume)) | None => {}
        }
        self.ended(worker, failed_start, false);
    }

    /// Clears a worker that is gone, and starts another in its place if there is work for it, at once or later. After a
    /// final failure it is never at once: something may change while other workers work, and if there are none, the
    /// jobs fail.
    fn ended(&mut self, worker: WorkerId, failed_start: bool, is_final: bool) {
        self.requeue_from(worker, None);
        let mut entry = self.workers.edit(worker);
        *entry = entry.renewed();
        drop(entry);
        if !self.needs_workers() {
            return;
        }
        if !failed_start || (!is_final && self.workers.failed_starts() < MAX_FAILED_STARTS) {
            if self.is_wanted(worker) {
                self.start(&[worker]);
            }
            self.start_wanted();
        } else if self.all_ended() {
            self.fail_jobs(worker, JobCause::NotStarted, |_| true);
            self.reset_backoff();
        } else {
            if self.workers[worker].failed_starts >= MAX_FAILED_STARTS {
                self.fail_awaiting(worker);
            }
            let mut entry = self.workers.edit(worker);
            let wait = (BACK_OFF_NS << entry.failed_starts.min(10)).min(LONGEST_BACK_OFF_NS);
            entry.retry_at = Some(self.now + wait);
            drop(entry);
            self.start_next();
        }
    }

    fn count_failed_start(&mut self, worker: WorkerId) {
        if self.needs_workers() {
            self.workers.edit(worker).failed_starts += 1;
        }
    }

    /// Forgets failed starts, so that the next call tries again.
    fn reset_backoff(&mut self) {
        for worker in self.workers.ids() {
            let mut entry = self.workers.edit(worker);
            entry.failed_starts = 0;
            entry.retry_at = entry.retry_at.map(|_| self.now);
        }
    }

    pub(super) fn needs_workers(&self) -> bool {
        !self.shutting_down && self.jobs.are_any_unfinished()
    }
}
