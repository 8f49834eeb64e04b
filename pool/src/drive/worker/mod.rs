//! The parent's side of one worker: its lane, its process or thread, what it was sent and what it has said.

mod outbox;
mod parts;
mod replies;

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Death, DeathCause, EndNotes, TaskErrorKind};
use crate::ids::{Unit, WorkerId};
use crate::lane::{Activity, OrderReservation, ParentEnd, Position};
use crate::observe::insights::WorkerInsights;
use crate::observe::{Ended, Observer, Probes};
use crate::start::Child;
use crate::supervise::Cause;
use crate::sys::clock::now_ns;
use crate::sys::memory::{Killed, Meter};
use crate::sys::process::Handle;
use crate::wire::{ChunkHead, Failure};

use outbox::Outbox;
use parts::Parts;
pub(super) use replies::{Answers, ExitReply, OrderReply};

pub(super) struct WorkerHandle {
    lane: ParentEnd,
    child: Child,
    probes: Probes,
    outbox: Outbox,
    /// It has said that it is up.
    is_up: bool,
    /// It wrote what no worker writes: it was killed for that.
    is_corrupt: bool,
    /// It can't wake the parent any more, and was told to leave.
    is_sent_off: bool,
    /// Tells how much memory it holds, where there is a limit to that.
    meter: Option<Meter>,
    /// How far it was when it was last found asleep with orders to be done.
    overslept_at: Option<(Unit, usize)>,
    /// When it was started.
    started: u64,
    /// What only the parent knows of what it has done.
    did: WorkerInsights,
    /// What it reported last of a failure.
    reported: Option<Failure>,
    /// A large reply on its way.
    parts: Parts,
    /// How many exit functions it has told of.
    exits: usize,
    /// How it ended.
    ended: Option<Ended>,
}

impl WorkerHandle {
    pub(super) fn new(lane: ParentEnd, child: Child, probes: Probes, memory_limit: Option<u64>) -> Self {
        let meter = match (memory_limit, &child) {
            (Some(limit), Child::Process(process)) => {
                lane.limit_memory(limit);
                Meter::of(process)
            }
            _ => None,
        };
        Self {
            lane,
            child,
            probes,
            outbox: Outbox::default(),
            is_up: false,
            is_corrupt: false,
            is_sent_off: false,
            meter,
            overslept_at: None,
            started: now_ns(),
            did: WorkerInsights { starts: 1, ..WorkerInsights::default() },
            reported: None,
            parts: Parts::default(),
            exits: 0,
            ended: None,
        }
    }

    /// What it has done.
    pub(super) fn insights(&self) -> WorkerInsights {
        let mut did = WorkerInsights {
            init: self.lane.spent(Activity::Init),
            waiting: self.lane.spent(Activity::Waiting),
            working: self.lane.spent(Activity::Working),
            exit: self.lane.spent(Activity::Exit),
            ..self.did
        };
        did.add(&self.outbox.traffic());
        did
    }

    pub(super) fn probes(&self) -> &Probes {
        &self.probes
    }

    pub(super) fn probes_mut(&mut self) -> &mut Probes {
        &mut self.probes
    }

    // ---- orders ----

    /// Whether chunks can be written straight into the lane.
    pub(super) fn is_clear(&self) -> bool {
        self.outbox.is_clear()
    }

    /// Sends a small order, now or when there is room.
    pub(super) fn send(&mut self, tag: u8, payload: &[u8]) {
        self.outbox.send(&mut self.lane, tag, payload);
    }

    /// Sends a chunk of one encoded item, now or when there is room.
    pub(super) fn send_item(&mut self, head: ChunkHead, item: Vec<u8>) {
        self.outbox.send_item(&mut self.lane, head, item);
    }

    /// Sends of what waits as much as there is room for.
    pub(super) fn flush(&mut self) {
        self.outbox.flush(&mut self.lane);
    }

    /// The longest order that goes in one piece.
    pub(super) fn longest_order(&self) -> usize {
        self.lane.longest_order()
    }

    /// Whether there is memory for an order of this length in one piece.
    pub(super) fn takes(&mut self, len: usize) -> bool {
        self.lane.takes(len)
    }

    /// Room for a chunk of at least so many bytes, if there is any and nothing waits for room.
    pub(super) fn reserve(&mut self, least: usize) -> Option<OrderReservation<'_>> {
        if self.outbox.is_clear() { self.lane.reserve(least) } else { None }
    }

    /// Notes a chunk that was written straight into the lane.
    pub(super) fn record_chunk(&mut self, record: Position, len: usize, end: Position, count: u32) {
        self.outbox.record_chunk(&self.lane, record, len, end, count);
    }

    /// Takes back what it has not claimed: the first unit that it does not keep, or nothing yet. One that claims more
    /// than it was sent is killed.
    pub(super) fn recall(&mut self) -> Option<Unit> {
        self.outbox.recall(&mut self.lane).unwrap_or_else(|_| {
            self.kill_corrupt();
            None
        })
    }

    /// Whether a recall waited for what is out by now.
    pub(super) fn is_recall_due(&self) -> bool {
        self.outbox.is_recall_due()
    }

    /// Ends a recall.
    pub(super) fn resume(&mut self) {
        self.outbox.resume(&mut self.lane);
    }

    /// The items of the tasks from this unit on.
    pub(super) fn items_from(&self, unit: Unit, count: u64) -> Vec<Vec<u8>> {
        self.outbox.items_from(&self.lane, unit, count)
    }

    /// The item of this task, for its error. The caller decodes it to show it, unless that is what has failed, or may
    /// have ended the worker.
    pub(super) fn shown_item(&self, unit: Unit, cause: Cause, kind: &TaskErrorKind) -> Option<Vec<u8>> {
        let can_be_shown = match cause {
            Cause::Reported => matches!(kind, TaskErrorKind::Panicked(_) | TaskErrorKind::Failed(_)),
            Cause::Died | Cause::TimedOut(_) | Cause::TooLarge { .. } => self.lane.has_decoded(unit),
        };
        if can_be_shown { self.items_from(unit, 1).pop() } else { None }
    }

    // ---- sleep ----

    /// Wakes it, if it sleeps and there is news for it.
    pub(super) fn wake(&mut self) {
        self.lane.wake_worker();
    }

    /// Says that the parent will sleep: until the worker has answered something, or if it is `patient`, until the
    /// worker is half-way through what it has. What waits for room does not count: the worker has not got it.
    pub(super) fn announce_sleep(&mut self, patient: bool) {
        let answered = self.outbox.answered();
        let open = self.lane.next_unit() - answered;
        let awaited = if patient { open.saturating_sub(1) / 2 } else { 0 };
        self.lane.announce_sleep(answered + awaited);
    }

    pub(super) fn announce_awake(&self) {
        self.lane.announce_awake();
    }

    /// How long it may spin before it sleeps.
    pub(super) fn let_spin(&self, spin_ns: u32) {
        self.lane.let_spin(spin_ns);
    }

    /// If it says that it sleeps, and has orders, it is woken once more; if that does not help, it is not what it was.
    pub(super) fn check_sleep(&mut self) {
        let Child::Process(process) = &self.child else { return };
        // One that is not up does not say so, unless what it said when it was is gone.
        let unanswered = self.outbox.unanswered();
        let overslept = unanswered > 0 && !self.lane.has_reply() && self.lane.worker_sleeps();
        let place = overslept.then(|| (self.outbox.answered(), unanswered));
        if place.is_some() && place == self.overslept_at && process.sleeps() {
            return self.kill_corrupt();
        }
        self.overslept_at = place;
        if overslept {
            self.lane.force_wake();
        }
    }

    /// Whether it can't wake the parent any more; said once.
    pub(super) fn has_become_mute(&mut self) -> bool {
        self.lane.has_lost_waker() && !std::mem::replace(&mut self.is_sent_off, true)
    }

    // ---- what it says of itself ----

    /// When it began this unit, if it is at it.
    pub(super) fn began(&self, unit: Unit) -> Option<u64> {
        self.lane.is_running(unit).then(|| self.lane.started_at())
    }

    /// Whether this unit has panicked, and is only told of yet.
    pub(super) fn has_panicked(&self, unit: Unit) -> bool {
        self.lane.has_panicked(unit)
    }

    /// How many bytes more it holds between tasks than after its init.
    pub(super) fn growth(&self) -> u64 {
        self.lane.growth()
    }

    /// How many bytes more it holds now, in the midst of a task; 0 while that is not known.
    pub(super) fn growth_now(&self) -> u64 {
        match self.lane.baseline() {
            0 => 0,
            baseline => self.meter.as_ref().map_or(0, Meter::read).saturating_sub(baseline),
        }
    }

    /// What it reported of a failure.
    pub(super) fn take_reported(&mut self) -> Option<Failure> {
        self.reported.take()
    }

    /// Notes what went wrong with an item before it could be sent.
    pub(super) fn report_instead(&mut self, failure: Failure) {
        self.reported = Some(failure);
    }

    /// An attempt at one of its tasks will be made again.
    pub(super) fn count_retry(&mut self) {
        self.did.retries += 1;
    }

    // ---- the end ----

    pub(super) fn pid(&self) -> Option<i32> {
        match &self.child {
            Child::Process(process) => Some(process.pid()),
            Child::Thread(_) => None,
        }
    }

    pub(super) fn kill(&mut self) {
        if let Child::Process(process) = &mut self.child {
            process.kill();
        }
    }

    /// It wrote what no worker writes: it must end.
    fn kill_corrupt(&mut self) {
        self.is_corrupt = true;
        self.kill();
    }

    /// Ends it at the pool's end: an idle one leaves in order, another is killed. A thread leaves after its task.
    pub(super) fn dismiss(&mut self, is_idle: bool) {
        match &mut self.child {
            Child::Process(process) if self.is_corrupt || !is_idle => process.kill(),
            Child::Process(_) | Child::Thread(_) => self.lane.close(),
        }
    }

    /// Kills it if it has not ended within this time.
    pub(super) fn end_within(&mut self, limit: Duration) {
        if let Child::Process(process) = &mut self.child
            && process.reap_within(limit).is_none()
        {
            process.kill();
        }
    }

    /// Whether nobody would tell of its end.
    pub(super) fn is_unwatched(&self) -> bool {
        matches!(&self.child, Child::Process(process) if process.is_unwatched())
    }

    /// Whether it was killed, and is waited for.
    pub(super) fn is_dying(&self) -> bool {
        matches!(&self.child, Child::Process(process) if process.is_dying())
    }

    /// Whether it was killed, and is not to be waited for any longer.
    pub(super) fn is_stuck(&self) -> bool {
        matches!(&self.child, Child::Process(process) if process.is_stuck())
    }

    /// Whether it is a thread that has ended: those end without a sign.
    pub(super) fn is_finished_thread(&self) -> bool {
        matches!(&self.child, Child::Thread(thread) if thread.is_finished())
    }

    /// How it ended, if it has. One that is stuck is given up: `give_up` gets what it is known by from then on.
    pub(super) fn try_reap(&mut self, give_up: impl FnOnce(Arc<Handle>)) -> Option<Death> {
        match &mut self.child {
            Child::Process(process) => match process.try_reap() {
                Some(status) => Some(status.into()),
                None if process.is_stuck() => {
                    give_up(process.give_up());
                    Some(Death::new(DeathCause::Stuck))
                }
                None => None,
            },
            Child::Thread(thread) => thread.is_finished().then(|| Death::new(DeathCause::Exited(0))),
        }
    }

    /// What is known of it if SIGKILL has ended it.
    pub(super) fn killed_as(&self) -> Option<&Killed> {
        match &self.child {
            Child::Process(process) => process.killed_as(),
            Child::Thread(_) => None,
        }
    }

    /// Whether it died over something that it wrote before it had said that it is up. It was up, or it could not have
    /// written over what it had said.
    pub(super) fn was_up_unheard(&self) -> bool {
        self.is_corrupt && !self.is_up
    }

    /// It has ended, and all that it has said is taken; `next` is the unit that it was to answer.
    pub(super) fn note_end(
        &mut self,
        worker: WorkerId,
        death: Death,
        next: Option<Unit>,
        observer: &mut Observer,
    ) -> &Ended {
        // Where replies are lost with the lane, what was started may have been done, and must not be done again.
        let is_at = |unit| match self.is_corrupt {
            true => self.lane.has_started(unit),
            false => self.lane.is_running(unit),
        };
        let running = next.is_some_and(is_at);
        let death = if self.is_corrupt { Death::new(DeathCause::Corrupt) } else { death };
        let ended = observer.worker_ended(worker, &mut self.probes, death, running);
        self.did.deaths = u32::from(!ended.is_orderly);
        self.ended.insert(ended)
    }

    /// What there is to say of its end, besides how it ended.
    pub(super) fn end_notes(&self) -> EndNotes {
        let stderr_tail = self.ended.as_ref().and_then(|ended| ended.stderr_tail.clone());
        let kill_refused = match &self.child {
            Child::Process(process) => process.kill_refused(),
            Child::Thread(_) => None,
        };
        EndNotes { stderr_tail, kill_refused }
    }

    /// How it ended.
    pub(super) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }
}
