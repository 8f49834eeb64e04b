//! The supervisor's view of a worker.

use super::Cause;
use super::queue::{OrderKind, Queue};
use crate::ids::{ProfileId, Unit};

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
    /// How far the head may exceed its limit, for work that is not the user's.
    pub(super) head_extra_ns: u64,
    /// Why it is being killed, and for which unit.
    pub(super) killed_for: Option<(Unit, Cause)>,
    /// How often it has ended without a task that could be the cause, since it last did a task. The only field that is
    /// kept from one process to the next.
    pub(super) failed_starts: u32,
    /// When to start it again, after failed starts.
    pub(super) retry_at: Option<u64>,
}

impl Worker {
    pub(super) fn absent(failed_starts: u32) -> Self {
        Self {
            phase: Phase::Absent,
            queue: Queue::default(),
            profiles: Vec::new(),
            served: 0,
            recalling: false,
            blocked: false,
            head_since: 0,
            head_began: false,
            head_extra_ns: 0,
            killed_for: None,
            failed_starts,
            retry_at: None,
        }
    }

    /// Whether orders can be sent to it.
    pub(super) fn takes_orders(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Up) && self.killed_for.is_none()
    }

    /// Whether it has a lane and is not about to be killed.
    pub(super) fn is_there(&self) -> bool {
        self.phase != Phase::Absent && self.killed_for.is_none()
    }

    /// Notes that another order is at the head of the queue.
    pub(super) fn next_head(&mut self, now: u64) {
        self.head_since = now;
        self.head_began = false;
        self.head_extra_ns = 0;
    }

    pub(super) fn push(&mut self, kind: OrderKind, now: u64) {
        if self.queue.is_empty() {
            self.next_head(now);
        }
        self.queue.push(kind);
    }
}
