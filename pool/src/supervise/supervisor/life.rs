//! Workers come and go.

use super::*;

/// So many lives in vain, of all workers together, and starts are put off; if there are no workers then, the jobs that
/// wait for them fail. What a task has done to its worker does not count here.
const MOST_LIVES_IN_VAIN: u32 = 3;
/// How long they are put off: for each worker doubled with each of its lives in vain, and at most.
const BACK_OFF_NS: u64 = 25_000_000;
const LONGEST_BACK_OFF_NS: u64 = 5_000_000_000;

impl Supervisor {
    /// Starts workers. Each boots while the next is started, and its init orders follow.
    pub(super) fn start(&mut self, workers: &[usize]) {
        if workers.is_empty() {
            return;
        }
        for &worker in workers {
            let seat = &mut self.workers[worker];
            let life = Worker::absent(seat.failed_starts);
            *seat = Worker { phase: Phase::Starting, head_since: self.now, ..life };
            self.actions.push(Action::Start { worker });
        }
        let profiles: Vec<u32> =
            self.jobs.values().filter(|job| job.open).map(|job| job.plan.profile).collect();
        for &worker in workers {
            for &profile in &profiles {
                self.send_init(worker, profile);
            }
        }
    }

    pub(super) fn send_init(&mut self, worker: usize, profile: u32) {
        let seat = &mut self.workers[worker];
        if profile != 0 && !seat.profiles.contains(&profile) {
            seat.profiles.push(profile);
            seat.push(OrderKind::Init { profile }, self.now);
            self.actions.push(Action::SendInit { worker, profile });
        }
    }

    pub(super) fn leave(&mut self, worker: usize) {
        let seat = &mut self.workers[worker];
        if seat.takes_orders() {
            seat.push(OrderKind::Exit, self.now);
            seat.phase = Phase::Leaving;
            self.actions.push(Action::SendExit { worker });
        }
    }

    /// Kills the worker for what the head of its queue has done.
    pub(super) fn doom(&mut self, worker: usize, cause: Cause) {
        let seat = &mut self.workers[worker];
        if seat.is_there() {
            let unit = seat.queue.head().map_or(0, |batch| batch.unit);
            seat.killed_for = Some((unit, cause));
            self.actions.push(Action::Kill { worker });
        }
    }

    /// The worker has stopped before its next task: a fresh one takes its place.
    pub(super) fn outgrown(&mut self, worker: usize) {
        self.recall(worker);
        self.leave(worker);
    }

    pub(super) fn retire(&mut self) {
        self.retiring = true;
        for worker in 0..self.workers.len() {
            self.leave(worker);
        }
    }

    pub(super) fn ready(&mut self, worker: usize) {
        let seat = &mut self.workers[worker];
        seat.next_head(self.now);
        if seat.phase == Phase::Starting {
            seat.phase = Phase::Up;
        }
    }

    pub(super) fn not_started(&mut self, worker: usize, is_final: bool) {
        self.note_life_in_vain(worker);
        self.end(worker, true, is_final);
    }

    pub(super) fn died(&mut self, worker: usize, running: bool) {
        let seat = &self.workers[worker];
        let boot = seat.phase == Phase::Starting;
        // It had answered its exit order.
        let leaving = seat.phase == Phase::Leaving && seat.queue.is_empty();
        let head = seat.queue.head();
        let mut is_suspect = |batch: &Batch| match batch.what {
            OrderKind::Tasks { job, first, .. } => {
                self.jobs.get_mut(&job).is_some_and(|job| job.suspect(first))
            }
            OrderKind::Init { .. } => true,
            OrderKind::Exit | OrderKind::Resume => false,
        };
        let guilty = head.filter(|batch| running || (!boot && is_suspect(batch)));
        let killed_for = seat.killed_for;
        // Where there were tasks, one of them may have a part in it, and answers for that in its own way.
        let in_init = guilty.is_some_and(|batch| matches!(batch.what, OrderKind::Init { .. }));
        let in_vain =
            boot || in_init || (seat.phase == Phase::Up && seat.served == 0 && killed_for.is_none());
        if in_vain {
            self.note_life_in_vain(worker);
        }
        match guilty.map(|batch| (batch, batch.what)) {
            Some((batch, OrderKind::Tasks { job, first, attempt, .. })) => {
                let cause = match killed_for {
                    Some((unit, cause)) if unit == batch.unit => cause,
                    _ => Cause::Died,
                };
                // A worker that was killed for another task harmed this one.
                let innocent = killed_for.is_some_and(|(unit, _)| unit != batch.unit);
                self.pop_head(worker, 1);
                let spare = self.jobs.get(&job).is_some_and(|job| job.open && attempt <= job.plan.retries);
                if spare && !innocent {
                    self.actions.push(Action::Retry { worker, job, index: first, cause });
                }
                if innocent || spare {
                    self.keep(worker, batch.unit, job, first, 1, attempt + u32::from(!innocent));
                } else {
                    self.lose(worker, batch.unit, job, first, attempt, cause, 0);
                }
                self.finish_if_done(job);
            }
            Some((_, OrderKind::Init { profile })) => {
                if killed_for.is_some() || self.failed_starts() >= MOST_LIVES_IN_VAIN {
                    let cause = killed_for.map_or(Cause::Died, |(_, cause)| cause);
                    self.fail_jobs(worker, JobCause::Init(cause), |job| job.plan.profile == profile);
                    self.reset_backoff();
                }
            }
            Some((_, OrderKind::Exit)) => {
                let cause = killed_for.map_or(Cause::Died, |(_, cause)| cause);
                self.actions.push(Action::ExitLost { worker, cause });
            }
            None if leaving && let Some((_, cause)) = killed_for => {
                self.actions.push(Action::ExitLost { worker, cause });
            }
            Some((_, OrderKind::Resume)) | None => {}
        }
        self.end(worker, in_vain, false);
    }

    /// A worker is gone: another takes its place if there is work for it, at once or later. What is `final` is not tried
    /// again at once: while others work something may change, and if none does that is the end of the jobs.
    fn end(&mut self, worker: usize, in_vain: bool, is_final: bool) {
        self.give_back_queue(worker, None);
        let seat = &mut self.workers[worker];
        *seat = Worker::absent(seat.failed_starts);
        if !self.needs_workers() {
            return;
        }
        if !in_vain || (!is_final && self.failed_starts() < MOST_LIVES_IN_VAIN) {
            self.start(&[worker]);
        } else if self.is_at_rest() {
            self.fail_jobs(worker, JobCause::NotStarted, |_| true);
            self.reset_backoff();
        } else {
            let seat = &mut self.workers[worker];
            let wait = (BACK_OFF_NS << seat.failed_starts.min(10)).min(LONGEST_BACK_OFF_NS);
            seat.retry_at = Some(self.now + wait);
        }
    }

    fn note_life_in_vain(&mut self, worker: usize) {
        if self.needs_workers() {
            self.workers[worker].failed_starts += 1;
        }
    }

    fn failed_starts(&self) -> u32 {
        self.workers.iter().map(|worker| worker.failed_starts).sum()
    }

    /// What follows is another call's trial.
    fn reset_backoff(&mut self) {
        for worker in &mut self.workers {
            worker.failed_starts = 0;
            worker.retry_at = worker.retry_at.map(|_| self.now);
        }
    }

    pub(super) fn needs_workers(&self) -> bool {
        !self.retiring && self.jobs.values().any(|job| job.open && !job.is_complete())
    }
}
