//! The state behind the pool's mutex.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::inbox::{Arrival, Inbox, Loss, What};
use super::post::Post;
use super::wait::{Sleep, Waiter};
use crate::codec::Codec;
use crate::error::{Death, DeathCause, Error, TaskError, TaskErrorKind};
use crate::lane::{self, Corrupt, now_ns, order, reply};
use crate::start::{Child, Seat, Starter};
use crate::supervise::{Action, Cause, Event, Grant, Head, JobCause, JobId, Plan, Supervisor, Work};
use crate::wire::{Carriage, ChunkHead, Failure, InitOrder};

/// The state of a pool's workers: what profile number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProfileDef {
    pub(crate) state_type: u64,
    pub(crate) task: u32,
    pub(crate) init: Option<u32>,
    pub(crate) exit: Option<u32>,
}

/// What the driver keeps of a job.
pub(crate) struct JobSlot {
    pub(crate) task_name: &'static str,
    pub(crate) task: u32,
    pub(crate) profile: u32,
    pub(crate) carriage: Carriage,
    pub(crate) inbox: Inbox,
    /// The bytes of items that came back, or were encoded before the job began.
    pub(crate) kept: HashMap<u64, Vec<u8>>,
    /// Drops an item that was moved by value and will not be run.
    pub(crate) drop_item: Option<fn(&[u8])>,
    /// The caller was told to stop.
    pub(crate) cancelled: bool,
}

/// What an exit function gave.
#[derive(Debug, Clone)]
pub(crate) struct ExitValue {
    pub(crate) exit: u32,
    pub(crate) worker: usize,
    pub(crate) value: Vec<u8>,
}

pub(crate) struct State {
    pub(super) leader: bool,
    supervisor: Supervisor,
    posts: Vec<Option<Post>>,
    jobs: HashMap<JobId, JobSlot>,
    next_job: JobId,
    profiles: Vec<ProfileDef>,
    starter: Box<dyn Starter>,
    waiter: Arc<Waiter>,
    cpus: Vec<Vec<usize>>,
    pub(crate) exits: Vec<ExitValue>,
    pub(crate) exit_error: Option<TaskError>,
    start_error: Option<Error>,
    last_death: Death,
    actions: Vec<Action>,
    scratch: Vec<u8>,
    pub(crate) closed: bool,
    /// Workers were told to end.
    ending: bool,
    /// Workers whose ends were signalled.
    suspects: Vec<usize>,
    looked_at: u64,
    cpus_to_use: usize,
    spinning: u32,
}

/// A parent that never sleeps looks for deaths this often.
const LOOK_NS: u64 = 1_000_000;
/// How long both sides spin before they sleep, where a core is free for it: about one wake-up.
const SPIN_NS: u32 = 50_000;
/// How often ending threads are looked at.
const THREAD_LOOK: Duration = Duration::from_millis(1);

impl State {
    pub(crate) fn new(
        supervisor: Supervisor,
        starter: Box<dyn Starter>,
        waiter: Arc<Waiter>,
        cpus: Vec<Vec<usize>>,
    ) -> Self {
        Self {
            leader: false,
            supervisor,
            posts: cpus.iter().map(|_| None).collect(),
            jobs: HashMap::new(),
            next_job: 0,
            profiles: Vec::new(),
            starter,
            waiter,
            cpus,
            exits: Vec::new(),
            exit_error: None,
            start_error: None,
            last_death: Death::new(DeathCause::Unknown),
            actions: Vec::new(),
            scratch: Vec::new(),
            closed: false,
            ending: false,
            suspects: Vec::new(),
            looked_at: 0,
            cpus_to_use: crate::cpu_count(),
            spinning: 0,
        }
    }

    pub(super) fn supervisor(&mut self) -> &mut Supervisor {
        &mut self.supervisor
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.supervisor.is_idle()
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.supervisor.is_at_rest()
    }

    /// The number of a worker state, the same for the same functions.
    pub(crate) fn profile(&mut self, wanted: ProfileDef) -> u32 {
        let same = |known: &ProfileDef| ProfileDef { task: wanted.task, ..*known } == wanted;
        let place = self.profiles.iter().position(same).unwrap_or_else(|| {
            self.profiles.push(wanted);
            self.profiles.len() - 1
        });
        place as u32 + 1
    }

    // ---- jobs ----

    pub(super) fn open(
        &mut self,
        mut slot: JobSlot,
        plan: Plan,
        items: Vec<Vec<u8>>,
    ) -> Result<JobId, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        if self.supervisor.is_at_rest() {
            self.starter.refresh();
        }
        self.start_error = None;
        self.ending = false;
        self.next_job = self.next_job.wrapping_add(1);
        let job = self.next_job;
        let kept = items.len() as u64;
        slot.kept = (0..kept).zip(items).collect();
        self.jobs.insert(job, slot);
        self.handle(Event::Opened { job, plan, kept });
        self.ring_all();
        Ok(job)
    }

    pub(crate) fn close(&mut self, job: JobId) {
        if let Some(slot) = self.jobs.remove(&job) {
            slot.drop_values();
            self.handle(Event::Closed { job });
        }
    }

    /// Ends every job that a caller waits for.
    pub(crate) fn cancel_all(&mut self, error: &Error) {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.cancel(job, error.clone());
        }
    }

    pub(crate) fn cancel(&mut self, job: JobId, error: Error) {
        let Some(slot) = self.jobs.get_mut(&job) else { return };
        if slot.inbox.end.is_none() {
            slot.inbox.end = Some(Err(error));
            slot.cancelled = true;
            self.handle(Event::Closed { job });
        }
    }

    pub(super) fn end_input(&mut self, job: JobId) {
        self.handle(Event::InputEnded { job });
    }

    pub(super) fn has_news(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_none_or(|slot| !slot.inbox.is_empty())
    }

    pub(super) fn others_have_news(&self, own: JobId) -> bool {
        self.jobs.iter().any(|(id, slot)| *id != own && !slot.inbox.is_empty())
    }

    pub(super) fn anybody_has_news(&self) -> bool {
        self.jobs.values().any(|slot| !slot.inbox.is_empty())
    }

    /// Swaps the job's inbox with an empty one.
    pub(crate) fn take_inbox(&mut self, job: JobId, empty: &mut Inbox) {
        debug_assert!(empty.is_empty());
        if let Some(slot) = self.jobs.get_mut(&job) {
            std::mem::swap(&mut slot.inbox, empty);
        } else {
            empty.end = Some(Err(Error::Closed));
        }
    }

    pub(super) fn post_and_slot(&mut self, worker: usize, job: JobId) -> Option<(&mut Post, &JobSlot)> {
        Some((self.posts[worker].as_mut()?, self.jobs.get(&job)?))
    }

    /// Sends a task whose bytes were kept.
    pub(super) fn send_kept(&mut self, job: JobId, Grant { worker, work }: Grant) {
        let Work::Again { index, .. } = work else { return };
        let Some(slot) = self.jobs.get_mut(&job) else { return };
        let head = ChunkHead { task: slot.task, profile: slot.profile, count: 1, carriage: slot.carriage };
        let item = slot.kept.remove(&index).unwrap_or_default();
        self.send_alone(job, worker, head, item);
    }

    /// Sends a chunk of one encoded item.
    pub(super) fn send_alone(&mut self, job: JobId, worker: usize, head: ChunkHead, item: Vec<u8>) {
        if let Some(post) = &mut self.posts[worker] {
            post.send_item(head, item);
        }
        self.handle(Event::Sent { job, worker, count: 1 });
    }

    /// An item of the job could not be encoded.
    pub(super) fn unsendable(&mut self, job: JobId, worker: usize, why: String) {
        if let Some(post) = &mut self.posts[worker] {
            post.told = Some(Failure::Encode(why));
        }
        self.handle(Event::Unsendable { job, worker });
    }

    pub(super) fn ring_all(&mut self) {
        self.let_spin();
        for post in self.posts.iter_mut().flatten() {
            post.lane.ring();
        }
    }

    // ---- one turn of the wheel ----

    /// Takes in all that has happened, and does what follows.
    pub(crate) fn drive(&mut self) {
        for worker in 0..self.posts.len() {
            self.drain(worker);
        }
        let now = now_ns();
        if now.saturating_sub(self.looked_at) > LOOK_NS {
            // A busy parent never sleeps, so it does not hear of deaths; it asks now and then.
            self.suspects.extend(self.waiter.look());
            self.looked_at = now;
        }
        for worker in std::mem::take(&mut self.suspects) {
            self.look_for_death(worker);
        }
        self.look_for_finished_threads();
        if self.supervisor.deadline().is_some_and(|deadline| deadline <= now) {
            self.handle(Event::Tick);
        }
        for job in self.supervisor.with_backlog() {
            while let Some(grant) =
                self.supervisor.grant(job).filter(|g| matches!(g.work, Work::Again { .. }))
            {
                self.send_kept(job, grant);
            }
        }
        for worker in 0..self.posts.len() {
            let Some(post) = &mut self.posts[worker] else { continue };
            post.flush();
            self.supervisor.block(worker, !post.is_clear());
            if post.recall_wanted && post.is_clear() {
                self.recall(worker);
            }
        }
        self.ring_all();
    }

    pub(super) fn handle(&mut self, event: Event) {
        let mut actions = std::mem::take(&mut self.actions);
        self.supervisor.handle(event, now_ns(), &mut actions);
        for action in actions.drain(..) {
            self.act(action);
        }
        // What acting led to was carried out inside; the buffer is kept for its memory.
        self.actions = actions;
    }

    /// Takes the worker's replies.
    fn drain(&mut self, worker: usize) {
        let Some(post) = &mut self.posts[worker] else { return };
        if post.corrupt || !post.lane.has_reply() {
            return;
        }
        while let Some(post) = &mut self.posts[worker] {
            if !post.lane.has_reply() || post.corrupt {
                break;
            }
            if self.drain_head(worker).is_err() {
                let Some(post) = &mut self.posts[worker] else { break };
                post.corrupt = true;
                if let Child::Process(process) = &post.child {
                    process.kill();
                }
            }
        }
        if let Some(post) = &mut self.posts[worker] {
            post.lane.publish_read();
            if let Some(Head::Tasks { unit, job, .. }) = self.supervisor.head(worker)
                && self.supervisor.has_limits(job)
                && post.lane.is_running(unit)
            {
                self.supervisor.head_began(worker, post.lane.started_at());
            }
        }
    }

    /// Takes the replies to the order at the head of the worker's queue.
    fn drain_head(&mut self, worker: usize) -> Result<(), Corrupt> {
        let Some(post) = &mut self.posts[worker] else { return Ok(()) };
        if !post.ready {
            self.scratch.clear();
            let head = post.lane.next_reply(&mut self.scratch)?.ok_or(Corrupt)?;
            if head.tag != reply::READY {
                return Err(Corrupt);
            }
            post.ready = true;
            self.handle(Event::Ready { worker });
            return Ok(());
        }
        match self.supervisor.head(worker).ok_or(Corrupt)? {
            Head::Tasks { unit, job, first, count } => self.drain_tasks(worker, unit, job, first, count),
            Head::Init { unit } | Head::Resume { unit } => self.drain_order(worker, unit),
            Head::Exit { unit } => self.drain_exit(worker, unit),
        }
    }

    fn drain_tasks(
        &mut self,
        worker: usize,
        unit: u32,
        job: JobId,
        first: u64,
        count: u64,
    ) -> Result<(), Corrupt> {
        let Self { posts, jobs, scratch, .. } = self;
        let Some(post) = &mut posts[worker] else { return Ok(()) };
        scratch.clear();
        let mut void = Vec::new();
        let slot = jobs.get_mut(&job).filter(|slot| !slot.cancelled);
        let (tape, arrivals) = match slot {
            Some(slot) => (&mut slot.inbox.tape, &mut slot.inbox.arrivals),
            None => (scratch, &mut void),
        };
        let mut done = 0;
        let mut told = None;
        let mut result = Ok(());
        while done < count {
            let start = tape.len();
            let head = match post.lane.next_reply(tape) {
                Ok(Some(head)) => head,
                Ok(None) => break,
                Err(corrupt) => {
                    result = Err(corrupt);
                    break;
                }
            };
            match head.tag {
                reply::VALUE => {}
                reply::LARGE_VALUE => tape.append(&mut post.parts),
                reply::PART => {
                    post.parts.extend_from_slice(&tape[start..]);
                    tape.truncate(start);
                    post.lane.publish_read();
                    post.lane.ring();
                    continue;
                }
                reply::DONE if post.acknowledge_part() => continue,
                reply::FAILED => {
                    match Codec::Bincode.decode::<Failure>(&tape[start..]) {
                        Ok(failure) => told = Some(failure),
                        Err(_) => result = Err(Corrupt),
                    }
                    tape.truncate(start);
                    break;
                }
                _ => {
                    tape.truncate(start);
                    result = Err(Corrupt);
                    break;
                }
            }
            let what = What::Value { start, len: tape.len() - start };
            arrivals.push(Arrival { index: first + done, worker, what });
            done += 1;
        }
        let pace_ns = post.lane.pace_ns();
        if done > 0 {
            post.answered_before(unit.wrapping_add(done as u32));
            self.handle(Event::Done { worker, count: done, pace_ns });
        }
        if let Some(failure) = told {
            if let Some(post) = &mut self.posts[worker] {
                post.told = Some(failure);
            }
            self.handle(Event::Failed { worker });
            if let Some(post) = &mut self.posts[worker] {
                post.answered_before(unit.wrapping_add(done as u32 + 1));
            }
        }
        result
    }

    /// Takes the reply to an order that gives no value.
    fn drain_order(&mut self, worker: usize, unit: u32) -> Result<(), Corrupt> {
        let Some(post) = &mut self.posts[worker] else { return Ok(()) };
        self.scratch.clear();
        let Some(head) = post.lane.next_reply(&mut self.scratch)? else { return Ok(()) };
        let event = match head.tag {
            reply::DONE if post.acknowledge_part() => return Ok(()),
            reply::DONE => Event::OrderDone { worker },
            reply::FAILED => {
                post.told = Some(Codec::Bincode.decode(&self.scratch).map_err(|_| Corrupt)?);
                Event::Failed { worker }
            }
            _ => return Err(Corrupt),
        };
        post.answered_before(unit.wrapping_add(1));
        self.handle(event);
        Ok(())
    }

    fn drain_exit(&mut self, worker: usize, unit: u32) -> Result<(), Corrupt> {
        let Some(post) = &mut self.posts[worker] else { return Ok(()) };
        self.scratch.clear();
        let Some(head) = post.lane.next_reply(&mut self.scratch)? else { return Ok(()) };
        match head.tag {
            reply::PART => {
                post.parts.extend_from_slice(&self.scratch);
                post.lane.publish_read();
                post.lane.ring();
            }
            reply::EXIT_VALUE | reply::LARGE_EXIT_VALUE => {
                let mut value = std::mem::take(&mut self.scratch);
                if head.tag == reply::LARGE_EXIT_VALUE {
                    value = std::mem::take(&mut post.parts);
                }
                let (exit, value) = value.split_first_chunk().ok_or(Corrupt)?;
                let exit = u32::from_le_bytes(*exit);
                self.exits.push(ExitValue { exit, worker, value: value.to_vec() });
            }
            reply::EXIT_FAILED => {
                let failure: Failure = Codec::Bincode.decode(&self.scratch).map_err(|_| Corrupt)?;
                self.exit_failed(worker, failure.into());
            }
            reply::DONE => {
                post.answered_before(unit.wrapping_add(1));
                self.handle(Event::OrderDone { worker });
            }
            _ => return Err(Corrupt),
        }
        Ok(())
    }

    fn exit_failed(&mut self, worker: usize, kind: TaskErrorKind) {
        let kind = TaskErrorKind::Exit(Box::new(kind));
        self.exit_error.get_or_insert_with(|| TaskError::new("exit", 0, worker, 1, None, kind));
    }

    /// Threads end without a sign.
    fn look_for_finished_threads(&mut self) {
        for worker in 0..self.posts.len() {
            if matches!(&self.posts[worker], Some(Post { child: Child::Thread(thread), .. }) if thread.is_finished())
            {
                self.look_for_death(worker);
            }
        }
    }

    /// Sees whether the worker has ended. Its last replies are taken first: what it committed counts.
    fn look_for_death(&mut self, worker: usize) {
        let Some(post) = &mut self.posts[worker] else { return };
        let death = match &mut post.child {
            Child::Process(process) => match process.try_reap() {
                Some(death) => death,
                None => return,
            },
            Child::Thread(thread) if thread.is_finished() => Death::new(DeathCause::Exited(0)),
            Child::Thread(_) => return,
        };
        self.drain(worker);
        let Some(post) = &mut self.posts[worker] else { return };
        let head = self.supervisor.head(worker);
        let running = head.is_some_and(|head| post.corrupt || post.lane.is_running(head.unit()));
        self.last_death = if post.corrupt { Death::new(DeathCause::Corrupt) } else { death };
        self.handle(Event::Died { worker, running });
        if self.supervisor.is_absent(worker) {
            self.posts[worker] = None;
        }
    }

    // ---- what the supervisor wants done ----

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { worker } => self.start(worker),
            Action::SendInit { worker, profile } => {
                let ProfileDef { task, init, exit, .. } = self.profiles[profile as usize - 1];
                let payload = InitOrder { profile, task, init, exit }.to_bytes();
                self.send(worker, order::INIT, &payload);
            }
            Action::SendExit { worker } => self.send(worker, order::EXIT, &[]),
            Action::SendResume { worker } => self.send(worker, order::RESUME, &[]),
            Action::Recall { worker } => self.recall(worker),
            Action::Kill { worker } => {
                if let Some(Post { child: Child::Process(process), .. }) = &self.posts[worker] {
                    process.kill();
                }
            }
            Action::Keep { worker, unit, job, first, count } => self.keep(worker, unit, job, first, count),
            Action::Lose { worker, unit, job, index, attempts, cause } => {
                self.lose(worker, unit, job, index, attempts, cause);
            }
            Action::Fail { job, worker, cause } => self.fail(job, worker, cause),
            Action::ExitLost { worker, cause } => {
                let kind = self.kind_of(worker, cause);
                self.exit_failed(worker, kind);
            }
            Action::Complete { job } => {
                if let Some(slot) = self.jobs.get_mut(&job) {
                    slot.inbox.end.get_or_insert(Ok(()));
                }
            }
        }
    }

    fn start(&mut self, worker: usize) {
        // The one before is gone: dropping its post reaps it and unmaps its lane.
        self.posts[worker] = None;
        match self.try_start(worker) {
            Ok(post) => self.posts[worker] = Some(post),
            Err(error) => {
                self.start_error = Some(error);
                self.handle(Event::NotStarted { worker });
            }
        }
    }

    fn try_start(&mut self, worker: usize) -> Result<Post, Error> {
        let failed = |error| Error::start(format!("worker {worker}"), error);
        let (lane, down, up) = lane::open().map_err(failed)?;
        let bell = self.waiter.bell().map_err(failed)?;
        let seat = Seat { id: worker, down, up, bell, cpus: self.cpus[worker].clone() };
        let child = self.starter.start(seat)?;
        if let Child::Process(process) = &child {
            self.waiter.watch(process.pidfd(), worker).map_err(failed)?;
        }
        Ok(Post::new(lane, child))
    }

    fn send(&mut self, worker: usize, tag: u8, payload: &[u8]) {
        if let Some(post) = &mut self.posts[worker] {
            post.send(tag, payload);
        }
    }

    fn recall(&mut self, worker: usize) {
        let Some(post) = &mut self.posts[worker] else { return };
        // Replies that are under way keep their order: what is half out goes out first.
        post.recall_wanted = !post.is_clear();
        if post.recall_wanted {
            return;
        }
        match post.lane.recall(post.answered) {
            Ok(recalled) => self.handle(Event::Recalled { worker, kept_up_to: recalled.kept_up_to }),
            Err(Corrupt) => {
                post.corrupt = true;
                if let Child::Process(process) = &post.child {
                    process.kill();
                }
            }
        }
    }

    fn keep(&mut self, worker: usize, unit: u32, job: JobId, first: u64, count: u64) {
        let Self { posts, jobs, .. } = self;
        if let (Some(post), Some(slot)) = (&posts[worker], jobs.get_mut(&job)) {
            slot.kept.extend((first..).zip(post.items_from(unit, count)));
        }
    }

    fn lose(&mut self, worker: usize, unit: u32, job: JobId, index: u64, attempts: u32, cause: Cause) {
        let kind = self.kind_of(worker, cause);
        let Self { posts, jobs, .. } = self;
        let Some(slot) = jobs.get_mut(&job) else { return };
        let told = cause == Cause::Told && matches!(kind, TaskErrorKind::Encode(_));
        let item = posts[worker].as_ref().filter(|_| !slot.carriage.by_value && !told);
        let item = item.and_then(|post| post.items_from(unit, 1).pop());
        let loss = Box::new(Loss { attempts, kind, item });
        slot.inbox.arrivals.push(Arrival { index, worker, what: What::Failed(loss) });
    }

    fn fail(&mut self, job: JobId, worker: usize, cause: JobCause) {
        let error = match cause {
            JobCause::Init(cause) => {
                let kind = TaskErrorKind::Init(Box::new(self.kind_of(worker, cause)));
                let name = self.jobs.get(&job).map_or("", |slot| slot.task_name);
                Error::Task(TaskError::new(name, 0, worker, 1, None, kind))
            }
            JobCause::NotStarted => self.start_error.clone().unwrap_or_else(|| {
                Error::start("workers", format!("the last one that was started {}", self.last_death))
            }),
        };
        if let Some(slot) = self.jobs.get_mut(&job) {
            slot.inbox.end.get_or_insert(Err(error));
            slot.cancelled = true;
        }
    }

    fn kind_of(&mut self, worker: usize, cause: Cause) -> TaskErrorKind {
        match cause {
            Cause::Died => TaskErrorKind::Died(self.last_death),
            Cause::TimedOut(limit) => TaskErrorKind::TimedOut(Duration::from_nanos(limit)),
            Cause::Told => {
                let told = self.posts[worker].as_mut().and_then(|post| post.told.take());
                told.map_or_else(|| TaskErrorKind::Failed("no reason was given".into()), Into::into)
            }
        }
    }

    // ---- sleeping ----

    /// Says to all lanes that the parent will sleep, and how long; nothing if there is something to do already.
    pub(super) fn prepare_sleep(&mut self) -> Option<Sleep> {
        if self.spin() {
            return None;
        }
        for (worker, post) in self.posts.iter_mut().enumerate() {
            if let Some(post) = post {
                post.lane.doze(self.supervisor.wake_at(worker));
            }
        }
        fence(Ordering::SeqCst);
        if self.has_replies() {
            return None;
        }
        let now = now_ns();
        let until = |deadline: u64| Duration::from_nanos(deadline.saturating_sub(now));
        let limit = self.supervisor.deadline().map(until);
        // The end of a thread wakes nobody, so a parent that waits for one looks again soon.
        let ends =
            self.ending && self.posts.iter().flatten().any(|post| matches!(post.child, Child::Thread(_)));
        let limit = if ends { Some(limit.unwrap_or(THREAD_LOOK).min(THREAD_LOOK)) } else { limit };
        Some(Sleep { limit })
    }

    fn has_replies(&self) -> bool {
        self.posts.iter().flatten().any(|post| !post.corrupt && post.lane.has_reply())
    }

    /// Waits for a reply for about as long as a wake-up takes, where workers leave a core free for that.
    fn spin(&mut self) -> bool {
        let busy = self.supervisor.busy();
        let fits = busy > 0 && busy < self.cpus_to_use && self.jobs.len() == 1;
        let end = now_ns() + u64::from(SPIN_NS);
        while fits && now_ns() < end {
            for _ in 0..32 {
                if self.has_replies() {
                    return true;
                }
                std::hint::spin_loop();
            }
        }
        false
    }

    /// Tells the workers how long they may spin.
    fn let_spin(&mut self) {
        let spin_ns = if self.supervisor.busy() < self.cpus_to_use { SPIN_NS } else { 0 };
        if spin_ns != self.spinning {
            self.spinning = spin_ns;
            for post in self.posts.iter().flatten() {
                post.lane.let_spin(spin_ns);
            }
        }
    }

    pub(super) fn rouse(&mut self, ended: Vec<usize>) {
        self.suspects.extend(ended);
        for post in self.posts.iter().flatten() {
            post.lane.rouse();
        }
    }

    // ---- the end ----

    /// All workers end when they have done what they have; exit functions run.
    pub(crate) fn retire(&mut self) {
        self.ending = true;
        self.handle(Event::Retire);
        self.ring_all();
    }

    /// All workers end now. Waits for killed processes, never for user code.
    pub(crate) fn terminate(&mut self) {
        self.closed = true;
        self.cancel_all(&Error::Closed);
        for post in self.posts.iter().flatten() {
            match &post.child {
                Child::Process(process) => process.kill(),
                Child::Thread(_) => post.lane.close(),
            }
        }
        for post in &mut self.posts {
            *post = None;
        }
    }
}

impl JobSlot {
    /// Drops what was moved by value and is not anybody's now.
    fn drop_values(self) {
        if let Some(drop_item) = self.drop_item {
            for item in self.kept.values() {
                drop_item(item);
            }
        }
    }
}
