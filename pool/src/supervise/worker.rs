//! A worker as the supervisor sees it: its phase, and the queue of orders that it has not answered.

use std::collections::VecDeque;

use super::Cause;
use super::job::JobId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no such worker now.
    Absent,
    /// Started, and not heard of yet. Orders may lie in its lane already.
    Starting,
    Up,
    /// The exit order is sent; nothing follows it.
    Leaving,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) phase: Phase,
    pub(super) queue: VecDeque<Batch>,
    /// The number of the next unit in its lane.
    pub(super) next_unit: u32,
    /// The profiles that it has, or will have when its queue is done.
    pub(super) profiles: Vec<u32>,
    /// Tasks handed to it in its life.
    pub(super) served: u64,
    /// A recall is on its way: nothing may be sent before it is answered.
    pub(super) recalling: bool,
    /// Its lane has no room for chunks now.
    pub(super) blocked: bool,
    /// When the head of the queue began, as far as is known.
    pub(super) head_since: u64,
    /// The worker has said that it has begun it.
    pub(super) head_began: bool,
    /// Why it is being killed, and for which unit.
    pub(super) doomed: Option<(u32, Cause)>,
    /// How many of its lives have ended since it last did a task, without one that explains the end. All that is kept
    /// from life to life.
    pub(super) lives_in_vain: u32,
    /// When an absent one is started again, after lives in vain.
    pub(super) retry_at: Option<u64>,
}

/// An order that has not been answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    /// The first unit that is not answered.
    pub(super) unit: u32,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Tasks { job: JobId, first: u64, count: u64, attempt: u32 },
    Init { profile: u32 },
    Exit,
    Resume,
}

impl Worker {
    pub(super) fn absent(lives_in_vain: u32) -> Self {
        Self {
            phase: Phase::Absent,
            queue: VecDeque::new(),
            next_unit: 0,
            profiles: Vec::new(),
            served: 0,
            recalling: false,
            blocked: false,
            head_since: 0,
            head_began: false,
            doomed: None,
            lives_in_vain,
            retry_at: None,
        }
    }

    /// Orders can be sent to it.
    pub(super) fn takes_orders(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Up) && self.doomed.is_none()
    }

    /// It has a lane, and is not about to be killed.
    pub(super) fn is_there(&self) -> bool {
        self.phase != Phase::Absent && self.doomed.is_none()
    }

    /// Another order is at the head of the queue.
    pub(super) fn next_head(&mut self, now: u64) {
        self.head_since = now;
        self.head_began = false;
    }

    pub(super) fn push(&mut self, what: What, now: u64) {
        if self.queue.is_empty() {
            self.next_head(now);
        }
        let units = match what {
            What::Tasks { count, .. } => count,
            What::Init { .. } | What::Exit | What::Resume => 1,
        };
        self.queue.push_back(Batch { unit: self.next_unit, what });
        self.next_unit = self.next_unit.wrapping_add(units as u32);
    }

    /// Tasks that it has not answered.
    pub(super) fn tasks(&self) -> u64 {
        self.queue.iter().map(Batch::tasks).sum()
    }

    /// Tasks of one job that it has not answered.
    pub(super) fn tasks_of(&self, wanted: JobId) -> u64 {
        let of = |batch: &Batch| matches!(batch.what, What::Tasks { job, .. } if job == wanted);
        self.queue.iter().filter(|batch| of(batch)).map(Batch::tasks).sum()
    }
}

impl Batch {
    pub(super) fn tasks(&self) -> u64 {
        match self.what {
            What::Tasks { count, .. } => count,
            What::Init { .. } | What::Exit | What::Resume => 0,
        }
    }

    /// Splits off what lies at or behind `unit`: what stays, and what goes.
    pub(super) fn split_at(self, unit: u32) -> (Option<Self>, Option<Self>) {
        let What::Tasks { job, first, count, attempt } = self.what else { return (Some(self), None) };
        // Units count round; what is kept is never more than half of the circle.
        let kept = match unit.wrapping_sub(self.unit) {
            ahead if ahead <= u32::MAX / 2 => u64::from(ahead).min(count),
            _ => 0,
        };
        let part = |first, count, unit| {
            (count > 0).then_some(Self { unit, what: What::Tasks { job, first, count, attempt } })
        };
        (part(first, kept, self.unit), part(first + kept, count - kept, self.unit.wrapping_add(kept as u32)))
    }
}
