//! Takes in what workers reply.

use std::time::Duration;

use super::*;
use crate::drive::worker::{Answers, ExitReply, Expected, OrderReply};
use crate::error::EndNotes;
use crate::ids::Unit;
use crate::lane::Corrupt;
use crate::observe::insights::SlowTask;
use crate::wire::Slow;

impl State {
    /// Takes the replies that the worker has sent so far.
    pub(super) fn drain(&mut self, worker: WorkerId) {
        if !self.workers.get(worker).is_some_and(WorkerHandle::has_reply) {
            return;
        }
        loop {
            let taken = self.drain_head(worker);
            let Some(handle) = self.workers.get_mut(worker) else { return };
            handle.finish_taking(taken);
            if !handle.has_waiting_reply() {
                return handle.publish_read();
            }
        }
    }

    /// Takes the replies to the oldest order of the worker.
    pub(super) fn drain_head(&mut self, worker: WorkerId) -> Result<(), Corrupt> {
        let Some(handle) = self.workers.get_mut(worker) else { return Ok(()) };
        if !handle.is_ready() {
            handle.take_ready()?;
            self.observer.worker_up(worker);
            self.handle(Event::Ready { worker });
            return Ok(());
        }
        let Some(head) = self.supervisor.head(worker) else { return handle.take_late_reply() };
        match head {
            Head::Tasks { unit, job, first, count } => {
                let mut discarded = Inbox::default();
                let folds = self.supervisor.folds(job);
                let inbox = self.jobs.inbox_of(job).unwrap_or(&mut discarded);
                let answers = handle.take_answers(worker, Expected { unit, first, count, folds }, inbox);
                self.record_answers(worker, unit, job, answers)
            }
            Head::Init { unit } => {
                let reply = handle.take_init_reply(unit)?;
                self.record_order_reply(worker, reply.as_ref());
                Ok(())
            }
            Head::Resume { unit } => {
                let reply = handle.take_order_reply(unit)?;
                self.record_order_reply(worker, reply.as_ref());
                Ok(())
            }
            Head::Exit { unit } => {
                match handle.take_exit_reply(unit)? {
                    Some(ExitReply::Value(exit, value)) => {
                        self.workers.exits().push(exit.index, worker, &value);
                    }
                    Some(ExitReply::Failed(exit, why)) => {
                        self.workers.record_exit_failure(worker, Some(exit), why.into(), EndNotes::default());
                    }
                    Some(ExitReply::Done) => self.handle(Event::OrderDone { worker }),
                    None => {}
                }
                Ok(())
            }
        }
    }

    /// How many of the tasks at the head of the worker's queue have run, with results that are folded and not handed
    /// over.
    pub(super) fn folded(&self, worker: WorkerId) -> u32 {
        match self.supervisor.head(worker) {
            Some(Head::Tasks { unit, job, count, .. }) if self.supervisor.folds(job) => {
                self.workers.get(worker).map_or(0, |handle| handle.folded(unit, count))
            }
            _ => 0,
        }
    }

    /// Notes which task each worker is at that folds: its time limit counts, and it is to blame for what happens now.
    pub(super) fn note_folded(&mut self) {
        for worker in self.supervisor.active().to_vec() {
            let tasks = self.folded(worker);
            let Some(head) = self.supervisor.head(worker).filter(|_| tasks > 0) else { continue };
            if let Some(began) = self.workers.get(worker).and_then(|handle| handle.began(head.unit() + tasks))
            {
                self.supervisor.head_folded(worker, tasks, began);
            }
        }
    }

    pub(super) fn record_order_reply(&mut self, worker: WorkerId, reply: Option<&OrderReply>) {
        match reply {
            Some(OrderReply::Done) => self.handle(Event::OrderDone { worker }),
            Some(OrderReply::Failed) => self.handle(Event::Failed { worker, bytes: 0 }),
            None => {}
        }
    }

    pub(super) fn record_answers(
        &mut self,
        worker: WorkerId,
        unit: Unit,
        job: JobId,
        answers: Answers,
    ) -> Result<(), Corrupt> {
        let Answers { done, bytes, unfolded, failed, slow, is_corrupt } = answers;
        if let Some(job) = self.jobs.get(job) {
            for (index, Slow { took_ns, argument, .. }) in slow {
                let (task, took) = (job.task().name.into(), Duration::from_nanos(took_ns));
                let site = job.site();
                self.observer.ran_slowly(SlowTask {
                    task,
                    index: index.as_usize(),
                    worker: worker.0,
                    took,
                    argument,
                    label: site.shown_label(),
                    called_at: Some(site.at.to_string()),
                });
            }
        }
        if done > 0 {
            self.observer.tasks_done(done);
            let task = self.jobs.get(job).map(|job| job.task().index);
            let pace_ns = self.workers.get(worker).zip(task).map_or(0, |(handle, task)| handle.pace_ns(task));
            self.handle(Event::Done { worker, count: done, bytes, pace_ns });
        }
        if unfolded > 0 {
            self.handle(Event::Unfolded { worker, count: unfolded });
        }
        if let Some(bytes) = failed {
            self.handle(Event::Failed { worker, bytes });
            if let Some(handle) = self.workers.get_mut(worker) {
                handle.free_failed(unit, done + unfolded);
            }
        }
        if is_corrupt { Err(Corrupt) } else { Ok(()) }
    }
}
