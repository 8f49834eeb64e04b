//! The state machine itself.

mod again;
mod answers;
mod census;
mod cpu;
mod each;
mod grant;
mod idle;
mod jobs;
mod life;
mod recall;
mod resize;
mod time;

use super::job::Job;
use super::jobs::Jobs;
use super::queue::{Batch, OrderKind};
use super::worker::{Phase, Worker};
use super::workers::Workers;
use super::{Action, Cause, Event, JobCause};
use crate::ids::{JobId, ProfileId, TaskIndex, Unit, WorkerId};
use crate::work::Plan;

pub(crate) use census::Census;
pub(super) use cpu::CpuWatch;
pub(crate) use grant::{Grant, Work};
use idle::Idle;
use time::Suspension;

/// The state of a pool. The cost of an event depends neither on the number of jobs nor on that of workers; except for
/// events that start or end workers or fail jobs, and then it is small beside those.
#[derive(Debug)]
pub(crate) struct Supervisor {
    workers: Workers,
    jobs: Jobs,
    order_tasks: bool,
    /// Whether workers can be killed: processes can, threads can't.
    killable: bool,
    /// How many CPUs a worker can use at once.
    cpus: u64,
    shutting_down: bool,
    /// No worker was handed more tasks than this.
    most_served: u64,
    /// When idle workers leave, if they do.
    idle: Option<Idle>,
    /// How long an exit function may take: the limit of the last job that had one.
    exit_limit_ns: Option<u64>,
    /// The last suspension of the parent.
    suspension: Suspension,
    now: u64,
    actions: Vec<Action>,
}

impl Supervisor {
    pub(crate) fn new(workers: usize, order_tasks: bool, killable: bool) -> Self {
        Self {
            workers: Workers::new(workers),
            jobs: Jobs::default(),
            order_tasks,
            killable,
            cpus: 1,
            shutting_down: false,
            most_served: 0,
            idle: None,
            exit_limit_ns: None,
            suspension: Suspension::default(),
            now: 0,
            actions: Vec::new(),
        }
    }

    /// Handles an event that happened at time `now`, in nanoseconds, and appends the actions that follow to `actions`.
    pub(crate) fn handle(&mut self, event: Event, now: u64, actions: &mut Vec<Action>) {
        self.now = self.now.max(now);
        match event {
            Event::Opened { job, plan } => self.opened(job, plan),
            Event::Sent { job, worker, count } => self.sent(job, worker, count),
            Event::Wanted => self.start_wanted(),
            Event::InputEnded { job } => self.input_ended(job),
            Event::Taken { job, count, bytes } => {
                if self.jobs.release(job, count, bytes) {
                    self.assign(job);
                }
            }
            Event::Unsendable { job, worker } => self.unsendable(job, worker),
            Event::Decided { job, index, tries_again, bytes } => self.decided(job, index, tries_again, bytes),
            Event::Dropped { job, index } => self.dropped(job, index),
            Event::Closed { job } => self.close(job),
            Event::Started { worker } => self.workers.edit(worker).started_at = Some(self.now),
            Event::Ready { worker } => self.ready(worker),
            Event::NotStarted { worker, is_final } => self.not_started(worker, is_final),
            Event::Done { worker, count, bytes, pace_ns } => self.done(worker, count, bytes, pace_ns),
            Event::Failed { worker, bytes } => self.failed(worker, bytes),
            Event::Unfolded { worker, count } => self.unfolded(worker, count),
            Event::OrderDone { worker } => self.order_done(worker),
            Event::Recalled { worker, kept_up_to } => self.recalled(worker, kept_up_to),
            Event::Died { worker, running } => self.died(worker, running),
            Event::OverSoftLimit { worker } => self.over_soft_limit(worker),
            Event::OverHardLimit { worker, held, limit } => {
                self.kill_for(worker, Cause::TooLarge { held, limit });
            }
            Event::Resized { workers } => self.resize(workers),
            Event::UsedCpu { worker, used_ns } => self.used_cpu(worker, used_ns),
            Event::ShutDown => self.shut_down(),
            Event::Suspended { from, until } => self.suspended(Suspension { from, until }),
            Event::Tick => self.tick(),
        }
        self.dismiss_unwanted();
        actions.append(&mut self.actions);
    }

    /// Whether every worker has ended.
    pub(crate) fn all_ended(&self) -> bool {
        self.workers.are_all_absent()
    }

    /// Whether no job is open or still running.
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether the job is open, or a worker has a task of it, begun or not.
    pub(crate) fn knows(&self, job: JobId) -> bool {
        self.jobs.get(job).is_some()
    }

    /// Whether the results of the job's tasks are folded.
    pub(crate) fn folds(&self, job: JobId) -> bool {
        self.jobs.folds(job)
    }

    /// Whether a worker that is still being started has tasks of the job.
    pub(crate) fn awaits_start(&self, id: JobId) -> bool {
        let Some(job) = self.jobs.get(id) else { return false };
        self.workers.active().iter().any(|worker| !self.workers[*worker].is_up && job.queued_at(*worker) > 0)
    }

    /// Whether there is no such worker now.
    pub(crate) fn is_absent(&self, worker: WorkerId) -> bool {
        self.workers[worker].phase == Phase::Absent
    }

    /// Whether the worker has nothing left to do or to answer, so that it can end at once.
    pub(crate) fn can_end_now(&self, worker: WorkerId) -> bool {
        let worker = &self.workers[worker];
        matches!(worker.phase, Phase::Up | Phase::Retiring)
            && worker.queue.is_empty()
            && worker.killed_for.is_none()
    }

    /// How many workers have something to do.
    pub(crate) fn busy(&self) -> usize {
        self.workers.busy()
    }

    /// The workers that something is expected from: an answer, or their start or end.
    pub(crate) fn active(&self) -> &[WorkerId] {
        self.workers.active()
    }

    /// The order that the worker answers next: the head of its queue.
    pub(crate) fn head(&self, worker: WorkerId) -> Option<Head> {
        let batch = self.workers[worker].queue.head()?;
        Some(match batch.kind {
            OrderKind::Tasks { job, first, count, .. } => Head::Tasks { unit: batch.unit, job, first, count },
            OrderKind::Init { .. } => Head::Init { unit: batch.unit },
            OrderKind::Exit => Head::Exit { unit: batch.unit },
            OrderKind::Resume => Head::Resume { unit: batch.unit },
        })
    }
}

#[cfg(test)]
impl Supervisor {
    /// Compares everything that is counted or filed with a look at each job and worker.
    pub(super) fn check(&mut self) {
        let (workers, heads) = self.split();
        for id in workers.ids() {
            let worker = &workers[id];
            assert_eq!((worker.head_limit_ns, worker.cpu.limit_ns), heads.limits_of(worker), "worker {id}");
        }
        self.jobs.check();
        self.workers.check();
        self.check_awaiting();
        self.check_idle();
        for id in self.workers.ids() {
            let worker = &self.workers[id];
            let mut queued = std::collections::BTreeMap::<JobId, u64>::new();
            for batch in worker.queue.batches() {
                if let OrderKind::Tasks { job, count, .. } = batch.kind {
                    *queued.entry(job).or_default() += count;
                }
            }
            assert_eq!(worker.queue.tasks(), queued.values().sum::<u64>());
            let job = |job: &JobId| self.jobs.get(*job).unwrap();
            assert!(queued.iter().all(|(id_of, count)| job(id_of).queued_at(id) == *count));
            assert!(!worker.takes_orders() || self.life_left(worker) > 0, "worker {id} is old");
            assert!(
                !worker.takes_orders()
                    || self.jobs.profiles_everywhere().all(|profile| worker.profiles.contains(&profile))
            );
        }
    }
}

/// The order that a worker answers next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    Tasks { unit: Unit, job: JobId, first: TaskIndex, count: u64 },
    Init { unit: Unit },
    Exit { unit: Unit },
    Resume { unit: Unit },
}

impl Head {
    /// The first unit that is not answered.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Tasks { unit, .. } | Self::Init { unit } | Self::Exit { unit } | Self::Resume { unit } => {
                unit
            }
        }
    }
}
