//! The supervisor's view of a worker.

use std::collections::{BTreeMap, BTreeSet};

use super::Cause;
use super::queue::{OrderKind, Queue};
use super::supervisor::CpuWatch;
use crate::ids::{JobId, ProfileId, Unit};

/// How long a process or thread may take until it is up: generous enough for a machine under load.
pub(super) const BOOT_NS: u64 = 30_000_000_000;
/// Times from when on tasks may move are multiples of this: a quarter of a millisecond.
const MOVABLE_STEP_NS: u64 = 1 << 18;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no such worker now.
    Absent,
    /// Started, but not up yet. There may be orders in its lane already.
    Starting,
    Up,
    /// The exit order is sent; nothing follows it.
    Retiring,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) phase: Phase,
    /// Whether it was ever up. Until then it works on no order.
    pub(super) is_up: bool,
    /// When its process or thread was there.
    pub(super) started_at: Option<u64>,
    /// The orders that it has not answered.
    pub(super) queue: Queue,
    /// The profiles whose state it has, or will have once its queue is done.
    pub(super) profiles: Vec<ProfileId>,
    /// How many tasks it has been handed in its life.
    pub(super) served: u64,
    /// A recall is under way, and nothing may be sent before it is answered.
    pub(super) recalling: bool,
    /// Its lane is too full for chunks now.
    pub(super) blocked: bool,
    /// When the head of the queue began, or came to the head if that is not known.
    pub(super) head_since: u64,
    /// The worker has said that it has begun the head.
    pub(super) head_began: bool,
    /// How many of the tasks at the head have run, with results that are folded and not handed over: the one after
    /// them is running.
    pub(super) head_folded: u32,
    /// How far the head may exceed its limit, for work that is not the user's.
    pub(super) head_extra_ns: u64,
    /// How long the head may take.
    pub(super) head_limit_ns: Option<u64>,
    /// How long the head may take before other tasks go to an idle worker.
    pub(super) head_stall_ns: u64,
    /// What is known about the CPU time of the head.
    pub(super) cpu: CpuWatch,
    /// When to check again whether the head, which is out of time, has begun.
    pub(super) recheck_at: u64,
    /// When it was last found that the tasks in the queue stay there, although another worker is idle.
    pub(super) kept_at: u64,
    /// Why it is being killed, and for which unit.
    pub(super) killed_for: Option<(Unit, Cause)>,
    /// The job of the tasks that it did last.
    pub(super) last_job: Option<JobId>,
    /// How often it has ended without a task that could be the cause, since it last did a task. Kept from one process
    /// to the next, like the two below.
    pub(super) failed_starts: u32,
    /// The open jobs of which it is to get a task that no other worker may get, with the number of the next attempt.
    pub(super) assigned: BTreeMap<JobId, u32>,
    /// The open jobs that wait until it is up and has made their state.
    pub(super) warming: BTreeSet<JobId>,
    /// When to start it again, after failed starts.
    pub(super) retry_at: Option<u64>,
    /// The pool has become smaller, and has no such worker any more. Kept from one process to the next.
    pub(super) is_surplus: bool,
}

/// What changes with the start or end of a worker, its assigned tasks, and the size of the pool: not with each task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Presence {
    /// It is absent and may be started, and from when on.
    pub(super) absent: Option<Option<u64>>,
    /// The same, if a job waits for this worker and no other one.
    pub(super) awaited: Option<Option<u64>>,
    /// It takes tasks now, and one is assigned to it.
    pub(super) takes_assigned: bool,
    /// It takes orders, and the pool has it.
    pub(super) takes_orders: bool,
    pub(super) failed_starts: u32,
    /// It is not absent.
    pub(super) is_present: bool,
    /// It is surplus, and present or awaited.
    pub(super) is_surplus: bool,
    /// It is surplus, has no more use, and is not told to leave.
    pub(super) is_unwanted: bool,
}

/// What workers are filed under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its place among those that take tasks now: by their number of tasks, and first those that are up.
    pub(super) rank: Option<u64>,
    pub(super) deadline: Option<u64>,
    /// When its head will have kept tasks too long that could go to another worker.
    pub(super) movable_at: Option<u64>,
    /// It has something to do.
    pub(super) is_busy: bool,
    /// It is up and takes orders, and has nothing to do.
    pub(super) is_idle: bool,
    pub(super) presence: Presence,
    /// Something is expected from it.
    pub(super) is_active: bool,
}

impl Facts {
    pub(super) fn of(worker: &Worker) -> Self {
        let (is_busy, is_absent) = (!worker.queue.is_empty(), worker.phase == Phase::Absent);
        let (takes_orders, takes_tasks) = (worker.takes_orders(), worker.takes_tasks());
        let (is_up, is_surplus) = (worker.phase == Phase::Up, worker.is_surplus);
        let is_awaited = is_absent && worker.is_awaited();
        let is_settled = is_absent || (is_up && takes_tasks && !is_busy);
        Self {
            rank: (takes_tasks && !is_surplus).then(|| 2 * worker.queue.tasks() + u64::from(!is_up)),
            deadline: worker.deadline(),
            movable_at: worker.movable_at(),
            is_busy,
            is_idle: worker.is_idle() && !is_surplus,
            presence: Presence {
                absent: worker.may_start().then_some(worker.retry_at),
                awaited: is_awaited.then_some(worker.retry_at),
                takes_assigned: takes_tasks && !worker.assigned.is_empty(),
                takes_orders: takes_orders && !is_surplus,
                failed_starts: worker.failed_starts,
                is_present: !is_absent,
                is_surplus: is_surplus && (!is_absent || is_awaited),
                is_unwanted: is_surplus && takes_orders && !worker.recalling && worker.assigned.is_empty(),
            },
            is_active: !is_settled,
        }
    }
}

impl Worker {
    pub(super) fn absent(failed_starts: u32) -> Self {
        Self {
            phase: Phase::Absent,
            is_up: false,
            started_at: None,
            queue: Queue::default(),
            profiles: Vec::new(),
            served: 0,
            recalling: false,
            blocked: false,
            head_since: 0,
            head_began: false,
            head_folded: 0,
            head_extra_ns: 0,
            head_limit_ns: None,
            head_stall_ns: 0,
            cpu: CpuWatch::default(),
            recheck_at: 0,
            kept_at: 0,
            killed_for: None,
            last_job: None,
            failed_starts,
            assigned: BTreeMap::new(),
            warming: BTreeSet::new(),
            retry_at: None,
            is_surplus: false,
        }
    }

    /// The same worker before its next process or thread.
    pub(super) fn renewed(&mut self) -> Self {
        let (assigned, warming) = (std::mem::take(&mut self.assigned), std::mem::take(&mut self.warming));
        Self { assigned, warming, is_surplus: self.is_surplus, ..Self::absent(self.failed_starts) }
    }

    /// Whether a job waits for this worker and no other one.
    pub(super) fn is_awaited(&self) -> bool {
        !self.assigned.is_empty() || !self.warming.is_empty()
    }

    /// Whether it is absent and may be started again: a surplus one only for what no other worker can serve.
    fn may_start(&self) -> bool {
        self.phase == Phase::Absent && (!self.is_surplus || self.is_awaited())
    }

    /// Whether it waits to be started again, after failed starts.
    pub(super) fn backs_off(&self) -> bool {
        self.may_start() && self.retry_at.is_some()
    }

    /// Whether it is up and has made the state of this profile, if there is one.
    pub(super) fn is_warm(&self, profile: Option<ProfileId>) -> bool {
        let has_made = |profile| self.profiles.contains(&profile) && !self.queue.has_init(profile);
        self.is_up && self.takes_orders() && profile.is_none_or(has_made)
    }

    /// Whether orders can be sent to it.
    pub(super) fn takes_orders(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Up) && self.killed_for.is_none()
    }

    /// Whether it is up and takes orders, and has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.is_up && self.takes_orders() && self.queue.is_empty()
    }

    /// Whether tasks can be sent to it now.
    pub(super) fn takes_tasks(&self) -> bool {
        self.takes_orders() && !self.recalling && !self.blocked
    }

    /// Whether it has a lane and is not about to be killed.
    pub(super) fn is_there(&self) -> bool {
        self.phase != Phase::Absent && self.killed_for.is_none()
    }

    /// From when on another one could take over some of its tasks. Rounded up, so that it hardly ever changes while
    /// tasks are short.
    fn movable_at(&self) -> Option<u64> {
        // Before it is up, and in an init function, it runs none of them.
        let head = self.queue.head().map(|head| head.kind);
        let running = u64::from(self.is_up && matches!(head, Some(OrderKind::Tasks { .. })));
        let is_movable = self.queue.tasks() > running && self.is_there() && !self.recalling;
        let since = self.head_since.max(self.kept_at);
        is_movable.then(|| since.saturating_add(self.head_stall_ns).next_multiple_of(MOVABLE_STEP_NS))
    }

    /// When it is out of time, or was to be up.
    fn deadline(&self) -> Option<u64> {
        if !self.is_there() {
            return None;
        }
        if !self.is_up {
            // Until there is a process or thread, the start itself has limits.
            return Some(self.started_at? + BOOT_NS);
        }
        let due = |limit: u64| self.head_since.saturating_add(limit).saturating_add(self.head_extra_ns);
        let look = self.cpu.limit_ns.map(|_| self.cpu.look_at);
        let due = self.head_limit_ns.map(due).into_iter().chain(look).min()?;
        Some(if self.head_began { due } else { due.max(self.recheck_at) })
    }

    /// Notes that another order is at the head of the queue.
    pub(super) fn next_head(&mut self, now: u64) {
        self.head_since = now;
        self.head_began = false;
        self.head_folded = 0;
        self.head_extra_ns = 0;
        self.cpu = CpuWatch::from(now);
        self.recheck_at = 0;
    }
}
