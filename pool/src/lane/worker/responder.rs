//! What a worker tells its parent beside the replies: what it has claimed, how far it got, how long that took. How it
//! replies is in `replies.rs`.

use std::sync::atomic::Ordering;

use super::clock::Clock;
use super::control::ControlBlocks;
use super::spare::Spare;
use crate::lane::ring::Producer;
use crate::lane::sync::ParentWaker;
use crate::lane::{Activity, RECALL, full_fence};
use crate::sys::clock::now_ns;

/// The worker's end of a lane, without the orders.
#[derive(Debug)]
pub(super) struct ReplyState {
    pub(super) replies: Producer,
    /// The buffer in which replies are encoded, kept for reuse.
    pub(super) draft: Vec<u8>,
    pub(super) spare: Spare,
    pub(super) clock: Clock,
    /// The number of the next unit.
    unit: u32,
    /// Set from the recall to the `RESUME` order. Meanwhile chunks are skipped.
    recalled: bool,
    waker: ParentWaker,
    /// The number of the parent's last sleep that this worker ended.
    woken_sleep: u32,
    pub(super) control: ControlBlocks,
}

impl ReplyState {
    pub(super) fn new(replies: Producer, waker: ParentWaker, control: ControlBlocks) -> Self {
        Self {
            replies,
            draft: Vec::new(),
            spare: Spare::default(),
            clock: Clock::new(),
            unit: 0,
            recalled: false,
            waker,
            woken_sleep: 0,
            control,
        }
    }
}

/// The means to answer while a worker serves an order: its end of the lane, without the order, which is borrowed.
#[derive(Debug)]
pub(crate) struct Responder<'l> {
    pub(super) state: &'l mut ReplyState,
}

/// Claims, and the notes that outlive the process.
impl Responder<'_> {
    /// Claims the next `n` units. False if the parent has recalled them.
    pub(crate) fn claim(&mut self, n: u32) -> bool {
        let state = &mut *self.state;
        if state.recalled {
            return false;
        }
        let up_to = u64::from(state.unit.wrapping_add(n));
        let before = state.control.own().claim.swap(up_to, Ordering::AcqRel);
        state.recalled = before & RECALL != 0;
        !state.recalled
    }

    /// Skips units that were recalled.
    pub(crate) fn skip(&mut self, n: u32) {
        self.state.unit = self.state.unit.wrapping_add(n);
    }

    /// Ends a recall: chunks after the unit that is being served are run again.
    pub(crate) fn resume_after_this(&mut self) {
        self.state.recalled = false;
        self.state.control.own().claim.store(u64::from(self.unit_plus_one()), Ordering::Release);
    }

    /// Makes the worker claim no more units: it recalls them from itself, and wakes the parent, which will recall them
    /// too.
    pub(crate) fn stop_claiming(&mut self) {
        self.recall_itself();
        self.notify();
    }

    fn recall_itself(&mut self) {
        self.state.control.own().claim.fetch_or(RECALL, Ordering::AcqRel);
        self.state.recalled = true;
    }

    #[inline]
    fn unit_plus_one(&self) -> u32 {
        self.state.unit.wrapping_add(1)
    }

    /// Notes that the next unit starts.
    #[inline]
    pub(crate) fn start_unit(&mut self) {
        self.state.control.own().started.store(self.unit_plus_one(), Ordering::Release);
    }

    /// Notes that the unit's argument is decoded: if the worker dies from now on, the argument's bytes are not to
    /// blame.
    #[inline]
    pub(crate) fn note_decoded(&mut self) {
        self.state.control.own().decoded.store(self.unit_plus_one(), Ordering::Release);
    }

    /// Notes that the unit has panicked: only the reply about the panic is still to come.
    pub(crate) fn note_panicked(&self) {
        self.state.control.own().panicked.store(self.unit_plus_one(), Ordering::Release);
    }

    /// Goes on to the next unit, now that this one is answered.
    #[inline]
    pub(crate) fn finish_unit(&mut self) {
        self.state.unit = self.unit_plus_one();
    }

    /// Whether the parent has told this worker to stop.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.control.parent().closed.load(Ordering::Acquire) != 0
    }
}

/// How its time is measured.
impl Responder<'_> {
    /// Notes the time for the parent's time limits. Call it before the next unit starts.
    pub(crate) fn stamp(&mut self) {
        self.state.control.own().started_at.store(now_ns(), Ordering::Relaxed);
    }

    /// Counts tasks that are done.
    #[inline]
    pub(crate) fn count(&mut self, tasks: u32) {
        if self.state.clock.count(tasks) {
            self.spend(Activity::Working);
        }
    }

    /// Adds the time since the clock was last read to this activity.
    pub(crate) fn spend(&mut self, what: Activity) {
        self.state.clock.spend(what, self.state.control.own());
    }

    /// Forgets the duration of recent tasks: those that follow are of this function, and not of the same.
    pub(crate) fn measure(&mut self, task: u32) {
        if self.state.clock.is_behind() {
            self.spend(Activity::Working);
        }
        self.state.clock.measure(task);
    }

    /// The recent duration of a task, in nanoseconds; 0 before it is known.
    pub(crate) fn pace_ns(&self) -> u64 {
        self.state.clock.pace_ns()
    }

    /// When the clock was last read: at most a moment ago between tasks.
    pub(crate) fn clock_ns(&self) -> u64 {
        self.state.clock.read_at()
    }
}

/// How its memory grows.
impl Responder<'_> {
    /// By how many bytes the worker may have grown since its init when it is between tasks; none for no limit.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        let limit = self.state.control.parent().memory_limit.load(Ordering::Relaxed);
        (limit > 0).then_some(limit)
    }

    /// Notes how many bytes the worker held after its init.
    pub(crate) fn note_baseline(&self, bytes: u64) {
        self.state.control.own().baseline.store(bytes.max(1), Ordering::Relaxed);
    }

    /// Notes by how many bytes the worker has grown since then.
    pub(crate) fn note_growth(&self, bytes: u64) {
        self.state.control.own().growth.store(bytes, Ordering::Relaxed);
    }
}

/// Ends the sleep of the parent.
impl Responder<'_> {
    /// Wakes the parent if it sleeps and the unit that it waits for is done. Call it at the end of each claim.
    pub(crate) fn notify_if_awaited(&mut self) {
        if let Some(sleep) = self.sleep_to_end() {
            let wake_at = self.state.control.parent().wake_at.load(Ordering::Relaxed);
            let ahead = self.state.unit.wrapping_sub(1).wrapping_sub(wake_at);
            if ahead <= u32::MAX / 2 {
                self.wake_parent(sleep);
            }
        }
    }

    /// Wakes the parent if it sleeps, whatever it waits for.
    pub(crate) fn notify(&mut self) {
        if let Some(sleep) = self.sleep_to_end() {
            self.wake_parent(sleep);
        }
    }

    /// The number of the parent's sleep, unless it is awake or this worker has woken it already.
    #[inline]
    fn sleep_to_end(&self) -> Option<u32> {
        full_fence();
        let sleep = self.state.control.parent().sleep_id.load(Ordering::Relaxed);
        (sleep != 0 && sleep != self.state.woken_sleep).then_some(sleep)
    }

    #[cold]
    fn wake_parent(&mut self, sleep: u32) {
        self.state.woken_sleep = sleep;
        if !self.state.waker.wake() {
            // The parent finds this at its next check, and replaces the worker with one whose descriptors are intact.
            self.state.control.own().waker_lost.store(1, Ordering::Relaxed);
            self.recall_itself();
        }
    }
}
