//! Reports events to the supervisor, and carries out what it decides.

use std::collections::VecDeque;

use super::*;
use crate::lane::order;
use crate::work::TaskFailure;

impl State {
    /// Reports an event to the supervisor and carries out its actions, then the same for the events that these cause.
    pub(super) fn handle(&mut self, event: Event) {
        self.report(event);
        // Most events have none.
        if !self.actions.is_empty() {
            self.carry_out_all();
        }
    }

    fn report(&mut self, event: Event) {
        self.sleepers.count_event();
        self.supervisor.handle(event, self.clock.now(), &mut self.actions);
    }

    #[inline(never)]
    fn carry_out_all(&mut self) {
        let mut consequences = VecDeque::new();
        loop {
            let mut actions = std::mem::take(&mut self.actions);
            for action in actions.drain(..) {
                consequences.extend(self.carry_out(action));
            }
            self.actions = actions;
            consequences.extend(self.workers.settle_starts(&mut self.observer));
            self.workers.allow_starts();
            while self.actions.is_empty() {
                let Some(event) = consequences.pop_front() else { return };
                self.report(event);
            }
        }
    }

    /// Carries out an action; returns the event that it causes, if any.
    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Start { worker } => {
                let (spin_ns, asleep) = (self.spin.allowed_ns(), self.sleepers.has_leader());
                let not_started = self.workers.begin_start(worker, spin_ns, asleep, &mut self.observer);
                // A fork or exec may have taken long.
                self.clock.refresh();
                return not_started;
            }
            Action::SendInit { worker, profile } => {
                let spec = self.jobs.profile(profile).clone();
                self.get_to_send(worker)?.send_init(profile, &spec);
            }
            Action::SendExit { worker } => self.send(worker, order::EXIT, &[]),
            Action::SendResume { worker } => {
                self.get_to_send(worker).into_iter().for_each(WorkerHandle::resume);
            }
            Action::Recall { worker } => {
                let kept_up_to = self.workers.get_mut(worker)?.recall()?;
                return Some(Event::Recalled { worker, kept_up_to });
            }
            Action::Kill { worker } => self.workers.get_mut(worker).into_iter().for_each(WorkerHandle::kill),
            Action::Requeue { worker, unit, job, first, count } => {
                let (handle, job) = (self.workers.get_mut(worker)?, self.jobs.get_mut(job)?);
                if job.retains() {
                    handle.take_items(unit, count, |place, item| job.retain(first + place, item));
                }
            }
            Action::FailTask { bytes, worker, unit, job, index, attempts, cause } => {
                let kind = self.workers.kind_of(worker, cause);
                let end = self.workers.end_notes(worker, cause);
                let job = self.jobs.get_for_news(job)?;
                if job.is_dropped(index) {
                    job.inbox.push_failure(index, worker, TaskFailure::of(kind, bytes));
                    return None;
                }
                self.observer.attempt_lost(worker, job.task(), job.site(), index, &kind);
                self.observer.task_failed(&kind);
                let handle = self.workers.get_mut(worker);
                let handle = handle.filter(|handle| handle.can_show_item(unit, cause, &kind));
                let item = handle.and_then(|handle| handle.take_item(unit));
                let earlier = job.take_attempts(index);
                let failure = TaskFailure { attempts, kind, earlier, item, end, bytes };
                job.inbox.push_failure(index, worker, failure);
            }
            Action::Ask { bytes, worker, unit, job, index, attempts, cause } => {
                let kind = self.workers.kind_of(worker, cause);
                let end = self.workers.end_notes(worker, cause);
                let job = self.jobs.get_for_news(job)?;
                self.observer.attempt_lost(worker, job.task(), job.site(), index, &kind);
                let handle = self.workers.get_mut(worker)?;
                let (shows_item, item) = (handle.can_show_item(unit, cause, &kind), handle.take_item(unit));
                let earlier = job.take_attempts(index);
                let failure = Box::new(TaskFailure { attempts, kind, earlier, item, end, bytes });
                job.inbox.asked.push(Asked { index, worker, failure, shows_item });
            }
            Action::Retry { worker, job, index, cause } => {
                let kind = self.workers.kind_of(worker, cause);
                self.workers.get_mut(worker).into_iter().for_each(WorkerHandle::count_retry);
                let job = self.jobs.get_mut(job)?;
                self.observer.attempt_lost(worker, job.task(), job.site(), index, &kind);
                job.add_attempt(index, kind);
            }
            Action::Fail { job, worker, cause } => {
                let init = self.jobs.init_of(job);
                let job = self.jobs.get_for_news(job)?;
                let error = self.workers.why_failed(worker, cause, job.task(), init);
                job.fail(match error {
                    Error::Task(error) => Error::Task(error.called(job.site())),
                    error => error,
                });
            }
            Action::ExitLost { worker, cause } => self.workers.lose_exit(worker, cause),
            Action::Complete { job } => self.jobs.get_for_news(job).into_iter().for_each(Job::complete),
        }
        None
    }

    fn send(&mut self, worker: WorkerId, tag: u8, payload: &[u8]) {
        if let Some(handle) = self.get_to_send(worker) {
            handle.send(tag, payload);
        }
    }
}
