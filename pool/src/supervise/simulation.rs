//! The supervisor under seeded schedules: callers feed, take, drop tasks, decide about failed ones, go away and cancel;
//! workers boot, run, hang, fail, leave and die at any time, and the pool gets more of them or fewer. After every step,
//! each task has at most one outcome, none has run twice unless its worker died in it or its caller wanted that, none
//! too early, no job has more tasks under way than allowed, and no worker was killed that had time left. In the end,
//! nothing is stuck.
//!
//! `POOL_SIMULATION_EVENTS` is the least number of events (100,000), `POOL_SIMULATION_SECONDS` the least time (0), and
//! `POOL_SIMULATION_SEED` the first seed. A broken promise names the seed of its schedule.

mod callers;
mod checks;
mod steps;
mod workers;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::supervisor::{Grant, Head, Supervisor, Work};
use super::{Action, Cause, Event, JobId, Plan};
use crate::ids::{PerWorker, ProfileId, TaskIndex, Unit, WorkerId};
use crate::options::IdlePolicy;
use crate::work::{Chunking, EachWorker, HeldBytes, RetryPlan};

/// xorshift64*: <https://doi.org/10.1145/2845077>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

use callers::{Call, Outcome};
pub(super) use steps::count;
use workers::{Order, Process, Reply};

/// How long the tasks of a job that was left may run on.
const GRACE_NS: u64 = 500_000_000;

/// How many CPUs a worker can use.
const CPUS: u64 = 3;

struct World {
    random: Random,
    supervisor: Supervisor,
    now: u64,
    /// Those that the pool has or had.
    workers: PerWorker<Option<Process>>,
    /// How many it has.
    size: usize,
    calls: BTreeMap<JobId, Call>,
    next_job: JobId,
    /// When each job was left whose tasks may still be with workers.
    left: BTreeMap<JobId, u64>,
    consequences: VecDeque<Event>,
    events: u64,
    /// The lifespan of all jobs, so that no worker may outlive it.
    lifespan: Option<u64>,
    /// Whether chunk i goes to worker i.
    orders_tasks: bool,
    /// When idle workers leave.
    idle: Option<IdlePolicy>,
    /// Whether workers can be killed.
    killable: bool,
    /// From now on nothing goes wrong.
    calm: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let workers = 1 + random.below(4) as usize;
        let order_tasks = random.one_in(4);
        let lifespan = random.pick(&[None, None, Some(1), Some(3), Some(20)]);
        let killable = !random.one_in(5);
        let timeout_ns = random.pick(&[100_000, 20_000_000]);
        let least = random.below(workers as u64 + 1) as usize;
        let idle = random.one_in(2).then_some(IdlePolicy { timeout_ns, least });
        Self {
            supervisor: Supervisor::new(workers, order_tasks, killable)
                .with_idle_policy(idle)
                .with_cpus(CPUS as usize),
            random,
            now: 0,
            workers: PerWorker::new(workers, |_| None),
            size: workers,
            calls: BTreeMap::new(),
            next_job: JobId::default(),
            left: BTreeMap::new(),
            consequences: VecDeque::new(),
            events: 0,
            lifespan,
            orders_tasks: order_tasks,
            idle,
            killable,
            calm: false,
        }
    }

    // ---- the driver ----

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        let mut event = Some(event);
        while let Some(next) = event.take().or_else(|| self.consequences.pop_front()) {
            self.events += 1;
            if let Event::Closed { job } = next {
                self.left.entry(job).or_insert(self.now);
            }
            let is_tick = matches!(next, Event::Tick);
            self.note_warmth();
            self.supervisor.handle(next, self.now, &mut actions);
            // It looks at all jobs and workers. What is wrong once stays wrong.
            if self.events.is_multiple_of(8) {
                self.supervisor.check();
            }
            for action in actions.drain(..) {
                if let Action::Kill { worker } = action
                    && is_tick
                {
                    self.check_kill(worker);
                }
                if let Action::SendExit { worker } = action
                    && is_tick
                {
                    self.check_leaves(worker);
                }
                self.act(action);
            }
            self.note_idle();
        }
        self.check_bounds();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { worker } => {
                assert!(self.workers[worker].is_none(), "worker {worker} is started twice");
                self.check_is_wanted(worker);
                assert!(
                    worker.0 < self.size || self.has_task_of_its_own(worker),
                    "worker {worker} is surplus"
                );
                if !self.calm && self.random.one_in(40) {
                    let is_final = self.random.one_in(4);
                    self.consequences.push_back(Event::NotStarted { worker, is_final });
                } else {
                    self.workers[worker] = Some(Process::default());
                }
            }
            Action::SendInit { worker, profile } => self.push(worker, Order::Init(profile)),
            Action::SendExit { worker } => self.push(worker, Order::Exit),
            Action::SendResume { worker } => self.push(worker, Order::Resume),
            Action::Recall { worker } => {
                let later = self.random.one_in(3);
                let Some(process) = &mut self.workers[worker] else { return };
                process.recall_wanted = later;
                if !later {
                    self.recall(worker);
                }
            }
            Action::Kill { worker } => {
                if let Some(process) = &mut self.workers[worker] {
                    process.killed = true;
                }
            }
            Action::Requeue { job, first, count, .. } => {
                let Some(call) = self.calls.get_mut(&job) else { return };
                for index in first.range(count) {
                    assert!(call.kept.insert(index), "task {index} of job {job} is kept twice");
                    assert!(
                        !call.outcomes.contains_key(&index),
                        "task {index} of job {job} is done and kept"
                    );
                }
            }
            Action::FailTask { bytes, job, index, attempts, cause, .. } => {
                let Some(call) = self.calls.get_mut(&job) else { return };
                if cause != Cause::Reported {
                    assert!(attempts > call.plan.retries, "task {index} of job {job} has retries left");
                }
                let retried = call.retried.get(&index).copied().unwrap_or(0);
                assert_eq!(attempts, retried + 1, "task {index} of job {job} was retried {retried} times");
                self.lose(job, index, bytes);
            }
            Action::Ask { bytes, job, index, attempts, cause, .. } => {
                let Some(call) = self.calls.get_mut(&job) else { return };
                assert!(call.plan.asks(attempts), "task {index} of job {job} has no retries left");
                let retried = call.retried.get(&index).copied().unwrap_or(0);
                assert_eq!(attempts, retried + 1, "task {index} of job {job} was retried {retried} times");
                let before = call.undecided.insert(index, (cause, bytes));
                assert_eq!(before, None, "task {index} of job {job} is asked about twice");
            }
            Action::Fail { job, .. } => {
                if let Some(call) = self.calls.get_mut(&job) {
                    call.over = true;
                    self.left.entry(job).or_insert(self.now);
                }
            }
            Action::Retry { job, index, .. } => {
                let Some(call) = self.calls.get_mut(&job) else { return };
                let asks = call.plan.asks(1) && !call.dropped.contains_key(&index);
                assert!(!asks, "nobody was asked about task {index} of job {job}");
                call.retry(index, self.now);
            }
            Action::ExitLost { .. } => {}
            Action::Complete { job } => {
                let Some(call) = self.calls.get_mut(&job) else { return };
                assert!(call.input_ended, "job {job} is complete before its input has ended");
                let is_over = match call.plan.each_worker {
                    Some(EachWorker::WarmsUp) => call.warm.len(),
                    Some(EachWorker::RunsTask) | None => call.outcomes.len(),
                };
                assert_eq!(is_over as u64, call.handed_out, "job {job} is complete");
                call.over = true;
            }
        }
    }

    /// Notes that a task of the job has failed for good.
    fn lose(&mut self, job: JobId, index: TaskIndex, bytes: u64) {
        let Some(call) = self.calls.get_mut(&job) else { return };
        call.finish_if_done(job, index, Outcome::Lost, bytes);
        call.failed += 1;
        if call.plan.most_failed == Some(call.failed) {
            call.over = true;
            self.left.entry(job).or_insert(self.now);
        }
    }

    /// Notes for each call that waits for it which workers have been up with the state that it wants.
    fn note_warmth(&mut self) {
        let waits = |call: &&mut Call| call.plan.each_worker == Some(EachWorker::WarmsUp);
        for call in self.calls.values_mut().filter(waits) {
            let is_warm = |process: &Process| {
                let has_made = |profile: ProfileId| process.made.contains(&profile);
                process.known && !process.killed && !process.exits && call.plan.profile.is_none_or(has_made)
            };
            let all = self.workers.numbered();
            let all = all.filter(|(worker, _)| (worker.0 as u64) < call.handed_out);
            call.warm
                .extend(all.filter(|(_, process)| process.as_ref().is_some_and(is_warm)).map(|(id, _)| id));
        }
    }

    /// Gives the pool more workers, or fewer. Nobody waits any more until those are warm that it has no more.
    fn resize(&mut self) {
        self.size = 1 + self.random.below(6) as usize;
        self.workers.grow(self.size, |_| None);
        let warms_up = |call: &&mut Call| call.plan.each_worker == Some(EachWorker::WarmsUp);
        for call in self.calls.values_mut().filter(warms_up) {
            call.warm.extend((self.size..call.handed_out as usize).map(WorkerId));
        }
        self.tell(Event::Resized { workers: self.size });
    }

    fn push(&mut self, worker: WorkerId, order: Order) {
        if let Some(process) = &mut self.workers[worker] {
            process.push(order);
        }
    }

    fn recall(&mut self, worker: WorkerId) {
        let Some(process) = &mut self.workers[worker] else { return };
        process.recall_wanted = false;
        process.recall = true;
        let kept_up_to = process.claimed.max(process.answered());
        self.consequences.push_back(Event::Recalled { worker, kept_up_to: Unit::new(kept_up_to) });
    }

    /// Takes at most `most` of the worker's replies.
    fn drain(&mut self, worker: WorkerId, most: u64) {
        for _ in 0..most {
            let Some(process) = &mut self.workers[worker] else { return };
            let Some(reply) = process.replies.pop_front() else { return };
            let head = self.supervisor.head(worker);
            match reply {
                Reply::Ready => {
                    process.known = true;
                    self.tell(Event::Ready { worker });
                }
                Reply::Value { job, index } => {
                    let Some(Head::Tasks { job: of, first, count: of_head, .. }) = head else {
                        panic!("no task is expected: {head:?}")
                    };
                    assert_eq!((of, first), (job, index), "another task is expected");
                    let count = self.take_run(worker, job, index, of_head);
                    let mut bytes = count;
                    if let Some(call) = self.calls.get_mut(&job) {
                        bytes = count * call.result_bytes;
                        let each = call.result_bytes;
                        index
                            .range(count)
                            .for_each(|index| call.finish_if_done(job, index, Outcome::Value, each));
                    }
                    let pace_ns = self.random.pick(&[0, 10, 1000, 1_000_000]);
                    self.tell(Event::Done { worker, count, bytes, pace_ns });
                }
                Reply::Folded { job, first, count } => {
                    let Some(Head::Tasks { job: of, first: expected, count: most, .. }) = head else {
                        panic!("no task is expected: {head:?}")
                    };
                    assert!((of, expected) == (job, first) && count <= most, "other tasks are expected");
                    if let Some(call) = self.calls.get_mut(&job) {
                        first
                            .range(count)
                            .for_each(|index| call.finish_if_done(job, index, Outcome::Value, 1));
                    }
                    let pace_ns = self.random.pick(&[0, 10, 1000, 1_000_000]);
                    self.tell(Event::Done { worker, count, bytes: 1, pace_ns });
                }
                Reply::FoldFailed { count, order: Order::Task { job, index } } => {
                    let first = TaskIndex::new(index.number() - count);
                    let lost = first.range(count).map(|index| Order::Task { job, index });
                    self.lose_fold(lost);
                    if count > 0 {
                        self.tell(Event::Unfolded { worker, count });
                    }
                    self.tell(Event::Failed { worker, bytes: 1 });
                }
                Reply::FoldFailed { order, .. } => panic!("{order:?} is not folded"),
                Reply::Failed(order) => {
                    order.expect(head);
                    // A report is as long as a result, because the bound is kept by the length of results.
                    let bytes = match order {
                        Order::Task { job, .. } => self.calls.get(&job).map_or(1, |call| call.result_bytes),
                        _ => 0,
                    };
                    self.tell(Event::Failed { worker, bytes });
                    if matches!(order, Order::Init(_))
                        && let Some(process) = &mut self.workers[worker]
                    {
                        assert!(!process.killed || process.up);
                    }
                }
                Reply::Done(order) => {
                    order.expect(head);
                    if let Order::Init(profile) = order {
                        process.made.push(profile);
                    }
                    self.tell(Event::OrderDone { worker });
                }
            }
        }
    }

    /// Takes some of the values that follow this one, as far as they answer tasks of the same batch. Returns how many
    /// there are with it.
    fn take_run(&mut self, worker: WorkerId, job: JobId, first: TaskIndex, most: u64) -> u64 {
        let Some(process) = &mut self.workers[worker] else { return 1 };
        let most = 1 + self.random.below(most);
        let mut count = 1;
        while count < most
            && let Some(Reply::Value { job: of, index }) = process.replies.front()
            && (*of, *index) == (job, first + count)
        {
            process.replies.pop_front();
            count += 1;
        }
        count
    }

    // ---- time, and the checks after each step ----

    fn pass_time(&mut self) {
        self.now += self.random.pick(&[1, 1000, 100_000, 10_000_000]);
        if self.calm {
            self.now = self.now.max(self.supervisor.deadline().unwrap_or(0));
        }
        for worker in self.workers.ids() {
            let runs = self.workers[worker].as_ref().is_some_and(|process| process.running);
            if let Some(head) = self.supervisor.head_to_begin(worker)
                && runs
            {
                // A worker notes when it begins a task only if the job has a time limit.
                let has_limit = |plan: &Plan| plan.task_limit_ns.or(plan.cpu_limit_ns).is_some();
                let is_timed = |job| self.calls.get(job).is_some_and(|call| has_limit(&call.plan));
                let is_stale = matches!(head, Head::Tasks { ref job, .. } if !is_timed(job));
                self.supervisor.head_began(worker, if is_stale { 0 } else { self.now });
            }
            if runs && self.random.one_in(2) {
                let folded = self.workers[worker].as_ref().map_or(0, |process| process.folded);
                self.supervisor.head_folded(worker, folded as u32, self.now);
            }
        }
        if self.supervisor.deadline().is_some_and(|deadline| deadline <= self.now) {
            for (worker, _) in self.supervisor.overdue_heads(self.now) {
                if !self.calm && self.random.one_in(4) {
                    self.supervisor.head_panicked(worker);
                }
            }
            for (worker, _) in self.supervisor.cpu_looks(self.now) {
                let used_ns = if self.random.one_in(8) { None } else { Some(self.use_cpu(worker)) };
                self.tell(Event::UsedCpu { worker, used_ns });
            }
            self.tell(Event::Tick);
        }
    }

    /// Suspends the parent for a while. No worker may be killed for that.
    fn suspend(&mut self) {
        let killed = |world: &Self| world.workers.iter().flatten().filter(|process| process.killed).count();
        self.tell(Event::Tick);
        let (from, before) = (self.now, killed(self));
        self.now += self.random.pick(&[1_000_000_000, 60_000_000_000]);
        self.tell(Event::Suspended { from, until: self.now });
        self.tell(Event::Tick);
        assert_eq!(killed(self), before, "a worker is killed for a suspension of its parent");
    }

    fn step(&mut self) {
        let worker = WorkerId(self.random.below(self.workers.len() as u64) as usize);
        match self.random.below(16) {
            0 if self.calls.len() < 3 && !self.calm => self.open(),
            0 if self.calls.is_empty() => self.tell(Event::ShutDown),
            15 if !self.calm && self.random.one_in(25) => self.resize(),
            15 if !self.calm && self.random.one_in(20) => match self.random.below(3) {
                0 => self.tell(Event::OverSoftLimit { worker }),
                1 => self.suspend(),
                _ => self.tell(Event::OverHardLimit { worker, held: 3, limit: 1 }),
            },
            1 => self.pass_time(),
            2 if self.workers[worker].as_ref().is_some_and(|process| process.recall_wanted) => {
                self.recall(worker);
                if let Some(recalled) = self.consequences.pop_front() {
                    self.tell(recalled);
                }
            }
            3..=5 => {
                self.drain(worker, 1 + worker.0 as u64);
                // Its lane is full, or has space again.
                let is_full = !self.calm && self.random.one_in(6);
                self.supervisor.block(worker, is_full);
            }
            6..=9 => {
                self.send_again();
                let jobs: Vec<JobId> = self.calls.keys().copied().collect();
                jobs.into_iter().for_each(|job| self.turn(job));
            }
            _ => self.work(worker),
        }
    }
}

/// Runs one schedule, and returns its number of events.
fn run(seed: u64) -> u64 {
    let mut world = World::new(seed);
    for _ in 0..3000 {
        world.step();
    }
    world.calm = true;
    for _ in 0..200_000 {
        if world.calls.is_empty() && world.supervisor.is_idle() && world.supervisor.all_ended() {
            assert!(world.workers.iter().all(Option::is_none));
            return world.events;
        }
        world.step();
    }
    let (calls, workers) = (&world.calls, &world.workers);
    panic!("stuck: {calls:#?}\n{workers:#?}\n{:#?}", world.supervisor);
}

#[test]
fn promises_hold_under_any_schedule() {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let wanted: u64 = number("POOL_SIMULATION_EVENTS", 100_000);
    let end = Instant::now() + Duration::from_secs(number("POOL_SIMULATION_SECONDS", 0));
    let mut seed = number("POOL_SIMULATION_SEED", 1);
    let mut events = 0;
    while events < wanted || Instant::now() < end {
        events += std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
            eprintln!("the schedule of POOL_SIMULATION_SEED={seed} broke a promise");
            std::panic::resume_unwind(panic)
        });
        seed += 1;
    }
    println!("{events} events");
}
