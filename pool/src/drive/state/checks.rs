//! What is looked at now and then, rather than reported.

use super::*;
use crate::drive::poller::News;

impl State {
    /// Runs the checks that are due. Some look at all workers, at intervals; others only at these, which something is
    /// expected from.
    pub(super) fn run_checks(&mut self, now: u64, active: &[WorkerId]) {
        self.check_begun(active);
        if self.checks.is_news_due(now) {
            self.poll_news();
        }
        self.advance_starts(now);
        self.checks.read_output(&mut self.workers, &mut self.observer);
        for worker in self.checks.take_exited() {
            self.reap(worker);
        }
        self.workers.check_stuck();
        for &worker in active {
            self.check_end(worker);
            self.replace_without_waker(worker);
        }
        if let Some(limit) = self.workers.policy().memory_limit {
            let is_due = self.checks.is_memory_due(now);
            // What an init function makes is not counted.
            let is_counted = |worker| !matches!(self.supervisor.head(worker), None | Some(Head::Init { .. }));
            let events = match is_due {
                true => self.workers.over_limit(self.workers.ids(), limit, is_due, is_counted),
                false => self.workers.over_limit(active.iter().copied(), limit, is_due, is_counted),
            };
            if !events.is_empty() {
                self.note_folded();
            }
            for event in events {
                self.handle(event);
            }
        }
        if self.checks.is_sleep_due(now) {
            for worker in self.workers.ids() {
                let Some(handle) = self.workers.get_mut(worker) else { continue };
                handle.check_sleep();
                handle.check_trap();
                let is_unwatched = handle.is_unwatched();
                // Kills it if it replies although nothing was asked.
                self.drain(worker);
                self.replace_without_waker(worker);
                self.check_end(worker);
                if is_unwatched {
                    self.reap(worker);
                }
            }
        }
        if self.workers.policy().nests && self.checks.is_progress_due(now) {
            self.workers.show_progress();
        }
    }

    /// Lets starts go on, if anything of theirs was reported or is due. Takes what the new workers have replied before
    /// they counted as started: nothing will announce that.
    pub(super) fn advance_starts(&mut self, now: u64) {
        let is_due = self.workers.starts_deadline().is_some_and(|deadline| deadline <= now);
        if !self.checks.take_starts_go_on() && !is_due {
            return;
        }
        for event in self.workers.advance_starts(&mut self.observer) {
            match event {
                Event::Started { worker } => {
                    self.handle(event);
                    self.drain(worker);
                }
                Event::NotStarted { worker, .. } => {
                    self.handle(event);
                    if self.supervisor.is_absent(worker) {
                        self.workers.forget(worker, &mut self.observer);
                    }
                }
                _ => self.handle(event),
            }
        }
    }

    /// The next time at which something must happen.
    pub(super) fn deadline(&self) -> Option<u64> {
        let starts = self.workers.starts_deadline();
        self.supervisor.deadline().into_iter().chain(starts).chain(self.jobs.next_deadline()).min()
    }

    pub(super) fn poll_news(&mut self) {
        let news = self.poller.poll_now();
        self.record_news(news);
    }

    pub(super) fn record_news(&mut self, news: News) {
        if self.checks.record(news, self.workers.len()) {
            self.cancel_all(&Error::DescriptorsClosed);
        }
    }

    /// Passes on all progress, output and log records of a call that ends. If no worker has ever printed anything, the
    /// poll for output is skipped in short calls, which it would slow down.
    pub(super) fn flush_output(&mut self) {
        if self.workers.policy().nests {
            self.workers.show_progress();
        }
        if self.observer.has_output() || self.checks.is_call_end_news_due(self.clock.now()) {
            self.poll_news();
            self.checks.read_output(&mut self.workers, &mut self.observer);
            for handle in self.workers.iter_mut() {
                self.observer.flush_line(handle.probes_mut());
            }
            self.observer.pass_on();
        }
    }

    /// Sees to the end of a worker that the poll set does not report.
    fn check_end(&mut self, worker: WorkerId) {
        let has_ended = |handle: &WorkerHandle| handle.is_stuck() || handle.is_finished_thread();
        if self.workers.get(worker).is_some_and(has_ended) {
            self.reap(worker);
        }
    }

    /// Replaces a worker that has lost the waker. It leaves in order: no task is lost, and no result of an exit
    /// function.
    fn replace_without_waker(&mut self, worker: WorkerId) {
        if self.workers.get_mut(worker).is_some_and(WorkerHandle::take_waker_loss) {
            self.handle(Event::OverSoftLimit { worker });
        }
    }

    /// Reports when the orders with a time limit have begun. Their limits count from then.
    fn check_begun(&mut self, active: &[WorkerId]) {
        for &worker in active {
            if let Some(head) = self.supervisor.head_to_begin(worker)
                && let unit = head.unit() + self.folded(worker)
                && let Some(began) = self.workers.get(worker).and_then(|handle| handle.began(unit))
            {
                self.supervisor.head_began(worker, began);
            }
        }
    }

    /// Reports the CPU time of workers, where it is to be compared with the limit of a task. One that has panicked gets
    /// more time.
    pub(super) fn check_cpu_time(&mut self) {
        for (worker, head) in self.supervisor.cpu_looks(self.clock.now()) {
            let unit = head.unit() + self.folded(worker);
            let Some(handle) = self.workers.get(worker) else { continue };
            let (has_panicked, used_ns) = (handle.has_panicked(unit), handle.cpu_time());
            if has_panicked {
                self.supervisor.head_panicked(worker);
            }
            self.handle(Event::UsedCpu { worker, used_ns });
        }
    }

    /// Reports which overdue orders have panicked. They get more time, to capture a backtrace and reply.
    pub(super) fn check_panicked(&mut self) {
        for (worker, head) in self.supervisor.overdue_heads(self.clock.now()) {
            let unit = head.unit() + self.folded(worker);
            if self.workers.get(worker).is_some_and(|handle| handle.has_panicked(unit)) {
                self.supervisor.head_panicked(worker);
            }
        }
    }
}
