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
        if let Some(job) = self.jobs.get_mut(&id) {
            job.waiting = count;
        }
        self.workers_to_start().next().is_some()
    }

    /// Starts the workers that the open jobs want.
    pub(super) fn start_wanted(&mut self) {
        let wanted: Vec<WorkerId> = self.workers_to_start().collect();
        self.start(&wanted);
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
        let most = if self.lacks_workers() { self.workers.len() } else { 0 };
        let missing = if self.order_tasks || most == 0 { most } else { self.missing() as usize };
        let is_due = |worker: &WorkerId| {
            let Worker { phase, retry_at, .. } = self.workers[*worker];
            phase == Phase::Absent && retry_at.is_none_or(|at| at <= self.now)
        };
        let is_wanted = |worker: &WorkerId| !self.order_tasks || self.is_next(*worker);
        self.workers.ids().take(most).filter(move |worker| is_due(worker) && is_wanted(worker)).take(missing)
    }

    /// Whether to start this worker, which is not there.
    pub(super) fn is_wanted(&self, worker: WorkerId) -> bool {
        self.lacks_workers() && if self.order_tasks { self.is_next(worker) } else { self.missing() > 0 }
    }

    fn lacks_workers(&self) -> bool {
        self.present < self.workers.len() && !self.shutting_down
    }

    /// How many more workers the jobs could keep busy than take orders. Tasks of closed jobs count, because they occupy
    /// workers. Looks at few more jobs than there are workers.
    fn missing(&self) -> u64 {
        let (mut wanted, most) = (0, self.workers.len() as u64);
        for job in self.jobs.values() {
            wanted = most.min(wanted + job.demand().min(most));
            if wanted == most {
                break;
            }
        }
        wanted.saturating_sub(self.taking as u64)
    }

    /// Whether one of the next chunks goes to this worker, where each chunk has a worker of its own.
    fn is_next(&self, worker: WorkerId) -> bool {
        let workers = self.workers.len() as u64;
        self.jobs.values().filter(|job| job.has_work()).any(|job| {
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
            let entry = &mut self.workers[worker];
            let life = Worker::absent(entry.failed_starts);
            *entry = Worker { phase: Phase::Starting, head_since: self.now, ..life };
            self.present += 1;
            self.taking += 1;
            self.actions.push(Action::Start { worker });
        }
        let profiles: Vec<ProfileId> =
            self.jobs.values().filter(|job| job.open).filter_map(|job| job.plan.profile).collect();
        for &worker in workers {
            for &profile in &profiles {
                self.send_init(worker, profile);
            }
        }
    }

    pub(super) fn send_init(&mut self, worker: WorkerId, profile: ProfileId) {
        let entry = &mut self.workers[worker];
        if !entry.profiles.contains(&profile) {
            entry.profiles.push(profile);
            entry.push(OrderKind::Init { profile }, self.now);
            self.actions.push(Action::SendInit { worker, profile });
        }
    }

    /// Lets the worker end once it has answered its orders.
    pub(super) fn retire_worker(&mut self, worker: WorkerId) {
        let entry = &mut self.workers[worker];
        if entry.takes_orders() {
            entry.push(OrderKind::Exit, self.now);
            entry.phase = Phase::Retiring;
            self.taking -= 1;
            self.actions.push(Action::SendExit { worker });
        }
    }

    /// Kills the worker because of the head of its queue.
    pub(super) fn kill_for(&mut self, worker: WorkerId, cause: Cause) {
        let entry = &mut self.workers[worker];
        if entry.is_there() {
            let unit = entry.queue.head().map_or_else(Unit::default, |batch| batch.unit);
            self.taking -= usize::from(entry.takes_orders());
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
        for worker in self.workers.ids() {
            self.retire_worker(worker);
        }
    }

    pub(super) fn ready(&mut self, worker: WorkerId) {
        self.next_head(worker, None);
        let entry = &mut self.workers[worker];
        if entry.phase == Phase::Starting {
            entry.phase = Phase::Up;
        }
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
                self.jobs.get_mut(&job).is_some_and(|job| job.is_suspect(first))
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
                let spare = self.jobs.get(&job).is_some_and(|job| job.open && attempt <= job.plan.retries);
                if spare && !innocent {
                    self.actions.push(Action::Retry { worker, job, index: first, cause });
                }
                if innocent || spare {
                    self.requeue(worker, batch.unit, job, first, 1, attempt + u32::from(!innocent));
                } else {
                    self.fail_task(worker, batch.unit, job, first, attempt, cause, 0);
                }
                self.finish_if_done(job);
            }
            Some((_, OrderKind::Init { profile })) => {
                if killed_for.is_some() || self.failed_starts() >= MAX_FAILED_STARTS {
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
        let entry = &mut self.workers[worker];
        self.taking -= usize::from(entry.takes_orders());
        self.present -= 1;
        *entry = Worker::absent(entry.failed_starts);
        if !self.needs_workers() {
            return;
        }
        if !failed_start || (!is_final && self.failed_starts() < MAX_FAILED_STARTS) {
            if self.is_wanted(worker) {
                self.start(&[worker]);
            }
            self.start_wanted();
        } else if self.all_ended() {
            self.fail_jobs(worker, JobCause::NotStarted, |_| true);
            self.reset_backoff();
        } else {
            let entry = &mut self.workers[worker];
            let wait = (BACK_OFF_NS << entry.failed_starts.min(10)).min(LONGEST_BACK_OFF_NS);
            entry.retry_at = Some(self.now + wait);
            self.start_next();
        }
    }

    fn count_failed_start(&mut self, worker: WorkerId) {
        if self.needs_workers() {
            self.workers[worker].failed_starts += 1;
        }
    }

    fn failed_starts(&self) -> u32 {
        self.workers.iter().map(|worker| worker.failed_starts).sum()
    }

    /// Forgets failed starts, so that the next call tries again.
    fn reset_backoff(&mut self) {
        for worker in self.workers.iter_mut() {
            worker.failed_starts = 0;
            worker.retry_at = worker.retry_at.map(|_| self.now);
        }
    }

    pub(super) fn needs_workers(&self) -> bool {
        !self.shutting_down && self.jobs.values().any(|job| job.open && !job.is_complete())
    }
}
