//! The parent's side of one worker: its lane, its process or thread, its orders and its replies.

mod constants;
mod ends;
mod exits;
mod outbox;
mod parts;
mod replies;
mod stall;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Death, DeathCause, EndNotes, TaskErrorKind};
use crate::ids::{ProfileId, Unit, WorkerId};
use crate::lane::{Activity, OrderReservation, ParentEnd, Position, order};
use crate::observe::insights::WorkerInsights;
use crate::observe::{Ended, Observer, Probes};
use crate::start::{Child, Process};
use crate::supervise::Cause;
use crate::sys::clock::now_ns;
use crate::sys::cpu_time;
use crate::sys::handle::Handle;
use crate::sys::memory::{Killed, Meter};
use crate::sys::named;
use crate::wire::{ChunkHead, Failure, InitOrder};
use crate::work::{FunctionRef, LentItem, ProfileSpec};

use constants::Constants;
use exits::ExitFunctions;
use outbox::Outbox;
pub(super) use outbox::SentLent;
use parts::Parts;
pub(super) use replies::{Answers, ExitReply, Expected, OrderReply};
use stall::Stall;

pub(super) struct WorkerHandle {
    lane: ParentEnd,
    /// `None` until it has started. Until then nothing in its lane is looked at.
    child: Option<Child>,
    probes: Probes,
    outbox: Outbox,
    /// Its `READY` reply was taken.
    is_ready: bool,
    /// It has sent something that no sound worker sends, and was killed for it.
    is_corrupt: bool,
    /// The loss of its waker was reported.
    waker_loss_taken: bool,
    /// Measures its memory, if that is limited.
    meter: Option<Meter>,
    /// It is to be killed as soon as it has started.
    is_killed: bool,
    /// Where it was when it was last found asleep with orders to run.
    stall: Option<Stall>,
    /// How long it may spin, as it was told.
    spin_ns: u32,
    /// Its lane says that the parent sleeps.
    knows_of_sleep: bool,
    /// When it was started.
    started: u64,
    /// The statistics that only the parent can count.
    stats: WorkerInsights,
    /// The failure that it last reported.
    reported: Option<Failure>,
    /// A large reply, as far as it has arrived.
    parts: Parts,
    /// The exit functions of the states that it was told to make.
    exits: ExitFunctions,
    constants: Constants,
    /// How it ended, if it has.
    ended: Option<Ended>,
}

impl WorkerHandle {
    /// A worker that is about to start. Orders can be sent to it already.
    pub(super) fn new(lane: ParentEnd, probes: Probes) -> Self {
        Self {
            lane,
            child: None,
            probes,
            outbox: Outbox::default(),
            is_ready: false,
            is_corrupt: false,
            waker_loss_taken: false,
            meter: None,
            is_killed: false,
            stall: None,
            spin_ns: 0,
            knows_of_sleep: false,
            started: now_ns(),
            stats: WorkerInsights::default(),
            reported: None,
            parts: Parts::default(),
            exits: ExitFunctions::default(),
            constants: Constants::default(),
            ended: None,
        }
    }

    /// Gives it its process or thread.
    ///
    /// # Errors
    /// If its memory is limited and can't be measured.
    pub(super) fn attach(&mut self, child: Child, memory_limit: Option<u64>) -> io::Result<()> {
        if let (Some(_), Child::Process(process)) = (memory_limit, &child) {
            self.meter = Some(Meter::of(process).map_err(named("measuring its memory"))?);
        }
        self.child = Some(child);
        self.stats.starts = 1;
        if self.is_killed {
            self.kill();
        }
        Ok(())
    }

    /// Whether it has a process or a thread.
    pub(super) fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Whether it is the thread that calls this.
    pub(super) fn is_this_thread(&self) -> bool {
        matches!(&self.child, Some(Child::Thread(thread)) if thread.is_current())
    }

    fn process(&self) -> Option<&Process> {
        match &self.child {
            Some(Child::Process(process)) => Some(process),
            Some(Child::Thread(_)) | None => None,
        }
    }

    fn process_mut(&mut self) -> Option<&mut Process> {
        match &mut self.child {
            Some(Child::Process(process)) => Some(process),
            Some(Child::Thread(_)) | None => None,
        }
    }

    /// Its statistics so far.
    pub(super) fn insights(&self) -> WorkerInsights {
        let mut stats = WorkerInsights {
            init: self.lane.spent(Activity::Init),
            waiting: self.lane.spent(Activity::Waiting),
            working: self.lane.spent(Activity::Working),
            exit: self.lane.spent(Activity::Exit),
            ..self.stats
        };
        stats.add(&self.outbox.traffic());
        stats
    }

    pub(super) fn probes(&self) -> &Probes {
        &self.probes
    }

    pub(super) fn probes_mut(&mut self) -> &mut Probes {
        &mut self.probes
    }

    // ---- orders ----

    /// Whether chunks can be written straight into the lane, because no order waits.
    pub(super) fn is_clear(&self) -> bool {
        self.outbox.is_clear()
    }

    /// Sends a small order, now or once there is space.
    pub(super) fn send(&mut self, tag: u8, payload: &[u8]) {
        self.outbox.send(&mut self.lane, tag, payload, None, 1);
    }

    /// Tells it to make the state of this profile.
    pub(super) fn send_init(&mut self, profile: ProfileId, spec: &ProfileSpec) {
        let ProfileSpec { task, init, exit, ref constant, .. } = *spec;
        self.exits.order(exit);
        let [init, exit] = [init, exit].map(|function| function.map(|function| function.index));
        let order = InitOrder { profile, task, init, exit }.to_bytes();
        self.outbox.send(&mut self.lane, order::INIT, &order, constant.clone(), 1);
    }

    /// The exit function that it runs, or will run next.
    pub(super) fn next_exit(&self) -> Option<FunctionRef> {
        self.exits.next()
    }

    /// Whether a chunk of one item of this length, or its first part, finds space now. One that waited would keep all
    /// tasks before it from being recalled.
    pub(super) fn has_space_for_item(&mut self, len: usize) -> bool {
        self.outbox.has_space_for_item(&mut self.lane, len)
    }

    /// Sends a chunk of one encoded item, now or once there is space.
    pub(super) fn send_item(&mut self, head: ChunkHead, item: Vec<u8>) {
        self.outbox.send_item(&mut self.lane, head, item);
    }

    /// Sends a chunk of one lent item.
    pub(super) fn send_lent(&mut self, head: ChunkHead, item: &LentItem<'_>) -> SentLent {
        self.outbox.send_lent(&mut self.lane, head, item)
    }

    /// Sends as many of the waiting orders as there is space for.
    pub(super) fn flush(&mut self) {
        self.outbox.flush(&mut self.lane);
    }

    /// Whether there is memory to send an order of this length in one piece.
    pub(super) fn takes(&mut self, len: usize) -> bool {
        self.lane.takes(len)
    }

    /// Reserves space for a chunk of at least `least` bytes, if there is any and no order waits for it.
    pub(super) fn reserve(&mut self, least: usize) -> Option<OrderReservation<'_>> {
        if self.outbox.is_clear() { self.lane.reserve(least) } else { None }
    }

    /// Records a chunk that was written straight into the lane.
    pub(super) fn record_chunk(&mut self, record: Position, len: usize, end: Position, count: u32) {
        self.outbox.record_chunk(&self.lane, record, len, end, count);
    }

    /// Recalls the units that it has not claimed, and returns the first of them; nothing if the recall must wait.
    /// Kills a worker that claims more than it was sent.
    pub(super) fn recall(&mut self) -> Option<Unit> {
        self.outbox.recall(&mut self.lane).unwrap_or_else(|_| {
            self.kill_corrupt();
            None
        })
    }

    /// Whether a recall has waited, and can be made now.
    pub(super) fn is_recall_due(&self) -> bool {
        self.outbox.is_recall_due()
    }

    /// Sends the order that ends a recall.
    pub(super) fn resume(&mut self) {
        self.outbox.resume(&mut self.lane);
    }

    /// Takes the encoded items of `count` tasks from this unit on, which the worker will not run. Passes each to `take`
    /// with its place among them; leaves out one for whose copy there is no memory.
    pub(super) fn take_items(&mut self, unit: Unit, count: u64, take: impl FnMut(u64, Vec<u8>)) {
        self.outbox.take_items(&self.lane, unit, count, take);
    }

    /// Whether the item of a failed task can be shown in its error. The caller decodes it, so not if decoding it has
    /// failed, or may have ended the worker.
    pub(super) fn can_show_item(&self, unit: Unit, cause: Cause, kind: &TaskErrorKind) -> bool {
        match cause {
            Cause::Reported => matches!(kind, TaskErrorKind::Panicked(_) | TaskErrorKind::Failed(_)),
            Cause::Died | Cause::TimedOut(_) | Cause::OutOfCpuTime { .. } | Cause::TooLarge { .. } => {
                self.lane.has_decoded(unit)
            }
        }
    }

    /// Takes the encoded item of a failed task, unless there is no memory for its copy.
    pub(super) fn take_item(&mut self, unit: Unit) -> Option<Vec<u8>> {
        let mut found = None;
        self.take_items(unit, 1, |_, item| found = Some(item));
        found
    }

    // ---- sleep ----

    /// Wakes it if it sleeps and its wait is over.
    pub(super) fn wake(&mut self) {
        self.lane.wake_worker();
    }

    /// Announces that the parent is about to sleep until the worker has answered a unit; if `patient`, until the worker
    /// is halfway through its orders. Orders that wait for space do not count, because the worker does not have them
    /// yet.
    pub(super) fn announce_sleep(&mut self, patient: bool) {
        let answered = self.outbox.answered();
        let open = self.lane.next_unit() - answered;
        let awaited = if patient { open.saturating_sub(1) / 2 } else { 0 };
        self.lane.announce_sleep(answered + awaited);
        self.knows_of_sleep = true;
    }

    pub(super) fn announce_awake(&mut self) {
        self.lane.announce_awake();
        self.knows_of_sleep = false;
    }

    /// Whether the parent's sleep was announced to it.
    pub(super) fn knows_of_sleep(&self) -> bool {
        self.knows_of_sleep
    }

    /// How long it may spin before it sleeps.
    pub(super) fn let_spin(&mut self, spin_ns: u32) {
        if spin_ns != self.spin_ns {
            self.spin_ns = spin_ns;
            self.lane.let_spin(spin_ns);
        }
    }

    /// Wakes it again if it says that it sleeps although it has orders. If that has not helped by the next check, its
    /// lane is damaged, and it is killed.
    pub(super) fn check_sleep(&mut self) {
        let Some(process) = self.process() else { return };
        let stall = Stall::of(&self.lane, &self.outbox);
        if stall.is_some() && stall == self.stall && process.sleeps() {
            return self.kill_corrupt();
        }
        self.stall = stall;
        if stall.is_some() {
            self.lane.force_wake();
        }
    }

    /// Frees it if it has orders, but is stopped because it has asked to be traced.
    pub(super) fn check_trap(&mut self) {
        if self.outbox.unanswered() > 0
            && let Some(process) = self.process_mut()
        {
            process.check_trap();
        }
    }

    /// Returns true once if it has lost its waker, and so cannot wake the parent.
    pub(super) fn take_waker_loss(&mut self) -> bool {
        self.lane.has_lost_waker() && !std::mem::replace(&mut self.waker_loss_taken, true)
    }

    // ---- its state, as it says ----

    /// When it began this unit, if it runs it now.
    pub(super) fn began(&self, unit: Unit) -> Option<u64> {
        self.lane.is_running(unit).then(|| self.lane.started_at())
    }

    /// How many of these `count` units have run, with results that are folded and not handed over. The next one is
    /// running.
    pub(super) fn folded(&self, unit: Unit, count: u64) -> u32 {
        let after = self.lane.started_after(unit);
        if self.is_corrupt || u64::from(after) >= count { 0 } else { after }
    }

    /// Whether this unit has panicked; the reply about that may still come.
    pub(super) fn has_panicked(&self, unit: Unit) -> bool {
        self.lane.has_panicked(unit)
    }

    /// How many bytes more it held after its last task than after its init.
    pub(super) fn growth(&self) -> u64 {
        self.lane.growth()
    }

    /// How many bytes more it holds now, in a task, than after its init; 0 before it has said what it held then.
    /// Nothing if its memory can't be measured any more.
    pub(super) fn growth_now(&mut self) -> Option<u64> {
        let baseline = self.lane.baseline();
        if baseline == 0 {
            return Some(0);
        }
        let held = self.meter.as_ref().and_then(Meter::read).or_else(|| {
            self.meter = self.process().and_then(|process| Meter::of(process).ok());
            self.meter.as_ref()?.read()
        });
        Some(held?.saturating_sub(baseline))
    }

    /// How much CPU time it has used, in nanoseconds, if that can be told.
    pub(super) fn cpu_time(&self) -> Option<u64> {
        self.process().and_then(cpu_time::of)
    }

    /// Removes and returns the failure that it has reported.
    pub(super) fn take_reported(&mut self) -> Option<Failure> {
        self.reported.take()
    }

    /// Sets the failure of an item that could not be sent, as if the worker had reported it.
    pub(super) fn set_reported(&mut self, failure: Failure) {
        self.reported = Some(failure);
    }

    /// Counts a retry of one of its tasks.
    pub(super) fn count_retry(&mut self) {
        self.stats.retries += 1;
    }
}
