//! Callers: they open jobs, feed them, take results, drop tasks, go away and come back, and give up.

use super::*;

/// A caller and its job.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) plan: Plan,
    /// The number of items left in its input.
    pub(super) left: u64,
    /// How many of them its caller has at hand, so that they can be sent while it is away.
    at_hand: u64,
    /// Its caller neither pulls items nor takes results.
    is_away: bool,
    pub(super) input_ended: bool,
    pub(super) handed_out: u64,
    pub(super) kept: HashSet<TaskIndex>,
    /// The workers that have been up with the state that it wants, if it waits for that.
    pub(super) warm: HashSet<WorkerId>,
    pub(super) outcomes: HashMap<TaskIndex, Outcome>,
    pub(super) runs: HashMap<TaskIndex, u64>,
    pub(super) deaths: HashMap<TaskIndex, u64>,
    /// How often an attempt at a task was given up for another.
    pub(super) retried: HashMap<TaskIndex, u32>,
    /// The failed tasks that it is asked about, with the cause and the bytes of each report.
    pub(super) undecided: BTreeMap<TaskIndex, (Cause, u64)>,
    /// The times before which tasks may not be sent again.
    not_before: HashMap<TaskIndex, u64>,
    /// How many tasks have failed for good.
    pub(super) failed: u64,
    /// The tasks that nobody wants any more, and since when.
    pub(super) dropped: BTreeMap<TaskIndex, u64>,
    /// The bytes of each outcome that the caller has not taken, by its task.
    pub(super) held: BTreeMap<TaskIndex, u64>,
    /// Whether the caller takes them in task order.
    pub(super) ordered: bool,
    /// In that case, the task whose outcome it takes next.
    pub(super) next: TaskIndex,
    /// The length of each of its results.
    pub(super) result_bytes: u64,
    /// How many tasks were handed out before that length was known.
    pub(super) blind: u64,
    /// The job is over for the caller: complete, failed or given up.
    pub(super) over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Value,
    Lost,
}

impl Call {
    pub(super) fn held_bytes(&self) -> u64 {
        self.held.values().sum()
    }

    /// Notes that an attempt at a task was given up for another.
    pub(super) fn retry(&mut self, index: TaskIndex, now: u64) {
        let retried = self.retried.entry(index).or_default();
        *retried += 1;
        let delay = self.plan.retry.as_ref().map_or(0, |retry| retry.delay_ns(index, *retried));
        self.not_before.insert(index, now + delay);
    }

    pub(super) fn finish_if_done(&mut self, job: JobId, index: TaskIndex, outcome: Outcome, bytes: u64) {
        assert!(index.number() < self.handed_out, "task {index} of job {job} was never handed out");
        let before = self.outcomes.insert(index, outcome);
        assert_eq!(before, None, "task {index} of job {job} has two outcomes");
        // Of many results that are folded, one value is left.
        if !self.plan.folds || outcome == Outcome::Lost {
            self.held.insert(index, bytes);
        }
    }
}

impl World {
    pub(super) fn open(&mut self) {
        let random = &mut self.random;
        let len = random.pick(&[0, 1, 5, 40, 200]);
        let chunking = match random.below(4) {
            0 => Chunking::Size(1 + random.below(7)),
            1 => Chunking::Splits { splits: 1 + random.below(9), total: len.max(1) },
            _ => Chunking::Adaptive,
        };
        let limit = |random: &mut Random| random.one_in(4).then_some(1_000_000);
        let each_worker = random.pick(&[None, None, Some(EachWorker::RunsTask), Some(EachWorker::WarmsUp)]);
        let workers = self.size as u64;
        let len = if each_worker.is_some() { workers } else { len };
        let folds = random.one_in(3) && each_worker.is_none();
        let plan = Plan {
            profile: ProfileId::from_wire(random.below(3) as u32),
            chunking,
            each_worker,
            max_active: random.pick(&[None, None, Some(1), Some(2), Some(11)]),
            held: match random.below(3) {
                // Calls that fold do not bound them.
                _ if folds || each_worker.is_some() => HeldBytes::Any,
                0 => HeldBytes::Any,
                1 => HeldBytes::About(random.pick(&[1, 40, 500])),
                _ => HeldBytes::AtMost(random.pick(&[1, 40, 500])),
            },
            lifespan: self.lifespan,
            retries: random.pick(&[0, 0, 1, 3]),
            retry: random.one_in(2).then(|| {
                let (first_ns, asks) = (random.pick(&[0, 1000, 50_000_000]), random.one_in(2));
                let jitter = random.one_in(2).then(|| random.next());
                Box::new(RetryPlan { first_ns, most_ns: 4 * first_ns, jitter, asks })
            }),
            most_failed: random.pick(&[None, None, Some(1), Some(3)]).filter(|_| each_worker.is_none()),
            folds,
            task_limit_ns: limit(random),
            cpu_limit_ns: limit(random),
            init_limit_ns: limit(random),
            exit_limit_ns: limit(random),
            total: (each_worker.is_some() || random.one_in(2)).then_some(len),
        };
        let handed_out = if each_worker.is_some() { len } else { 0 };
        let has_tasks = each_worker == Some(EachWorker::RunsTask);
        self.next_job = self.next_job.next();
        let call = Call {
            plan: plan.clone(),
            left: len - handed_out,
            at_hand: 0,
            is_away: false,
            input_ended: handed_out > 0,
            handed_out,
            kept: TaskIndex::default().range(if has_tasks { len } else { 0 }).collect(),
            warm: HashSet::new(),
            outcomes: HashMap::new(),
            runs: HashMap::new(),
            deaths: HashMap::new(),
            retried: HashMap::new(),
            undecided: BTreeMap::new(),
            not_before: HashMap::new(),
            failed: 0,
            dropped: BTreeMap::new(),
            held: BTreeMap::new(),
            ordered: !plan.folds && self.random.one_in(2),
            next: TaskIndex::default(),
            result_bytes: self.random.pick(&[1, 7, 60]),
            blind: 0,
            over: false,
        };
        self.calls.insert(self.next_job, call);
        self.tell(Event::Opened { job: self.next_job, plan: Box::new(plan) });
    }

    /// What happens to a job while workers are looked after: its caller may be away, but what it has submitted is sent.
    pub(super) fn turn(&mut self, job: JobId) {
        let Some(call) = self.calls.get_mut(&job) else { return };
        call.is_away ^= self.random.one_in(20);
        call.is_away &= !self.calm;
        let is_there = !call.is_away;
        if is_there && (call.over || (!self.calm && self.random.one_in(200))) {
            return self.close(job);
        }
        if is_there {
            let more = self.random.below(call.left + 1);
            let is_all = self.calm || self.random.one_in(2);
            call.at_hand = if is_all { call.left } else { call.at_hand.max(more) };
        }
        if !self.calm && self.random.one_in(12) {
            self.drop_task(job);
        }
        if is_there {
            self.decide(job);
        }
        self.feed(job);
        if is_there {
            self.take(job);
        }
    }

    /// Decides about some of the failed tasks that the caller is asked about.
    fn decide(&mut self, job: JobId) {
        let Some(call) = self.calls.get(&job) else { return };
        for (index, (cause, bytes)) in call.undecided.clone() {
            if !self.calm && self.random.one_in(2) {
                continue;
            }
            let tries_again = self.random.one_in(2);
            let Some(call) = self.calls.get_mut(&job).filter(|call| !call.over) else { return };
            call.undecided.remove(&index);
            let tries_again = tries_again && !call.dropped.contains_key(&index);
            if tries_again {
                call.retry(index, self.now);
                assert!(call.kept.insert(index), "task {index} of job {job} is kept twice");
                *call.deaths.entry(index).or_default() += u64::from(cause == Cause::Reported);
            } else {
                self.lose(job, index, bytes);
            }
            self.tell(Event::Decided { job, index, tries_again, bytes });
        }
    }

    /// Sends tasks again, whoever's they are.
    pub(super) fn send_again(&mut self) {
        while let Some((job, Grant { worker, work: Work::Again { index, .. } })) =
            self.supervisor.grant_again()
        {
            self.send_kept(job, worker, index);
        }
    }

    fn send_kept(&mut self, job: JobId, worker: WorkerId, index: TaskIndex) {
        let Some(call) = self.calls.get_mut(&job) else { panic!("job {job} is forgotten") };
        assert!(call.kept.remove(&index), "task {index} of job {job} was not kept");
        let waits = call.not_before.get(&index).is_some_and(|from| *from > self.now);
        assert!(!waits || call.dropped.contains_key(&index), "task {index} of job {job} is sent too early");
        if call.dropped.contains_key(&index) || (!self.calm && self.random.one_in(100)) {
            return self.tell(Event::Unsendable { job, worker });
        }
        self.push_tasks(worker, job, index, 1);
    }

    fn push_tasks(&mut self, worker: WorkerId, job: JobId, first: TaskIndex, count: u64) {
        let Some(process) = &mut self.workers[worker] else { panic!("worker {worker} is not there") };
        assert!(!process.recall && !process.recall_wanted, "worker {worker} is being recalled");
        let is_its_own = self.calls.get(&job).is_some_and(|call| call.plan.each_worker.is_some());
        assert!(
            worker.0 < self.size || is_its_own,
            "a task of job {job} goes to worker {worker}, a surplus one"
        );
        process.begins.insert(process.next_unit);
        first.range(count).for_each(|index| process.push(Order::Task { job, index }));
        self.tell(Event::Sent { job, worker, count });
    }

    /// Sends what is at hand, as far as it is granted.
    fn feed(&mut self, job: JobId) {
        let Some(call) = self.calls.get(&job) else { return };
        if self.supervisor.set_waiting(job, call.at_hand) {
            self.tell(Event::Wanted);
        }
        while let Some(Grant { worker, work }) = self.supervisor.grant(job) {
            let Some(call) = self.calls.get_mut(&job) else { panic!("job {job} is forgotten") };
            let (first, most, whole) = match work {
                Work::Again { index, .. } => {
                    self.send_kept(job, worker, index);
                    continue;
                }
                Work::Fresh { first, most, whole } => (first, most, whole),
            };
            assert_eq!(first.number(), call.handed_out);
            let held = call.held_bytes();
            assert!(
                !matches!(call.plan.held, HeldBytes::AtMost(most) if held >= most),
                "job {job} gets more while {held} bytes are held"
            );
            if call.at_hand == 0 || (call.at_hand < whole && call.at_hand < call.left) {
                break;
            }
            let dropped = call.dropped.range(first..).next().map(|(index, _)| *index);
            let is_unsendable = dropped == Some(first) || (!self.calm && self.random.one_in(100));
            let most = dropped.map_or(most, |next| most.min(next - first)).min(call.at_hand);
            let count = if is_unsendable || self.random.one_in(4) { 1 } else { most };
            call.left -= count;
            call.at_hand -= count;
            call.handed_out += count;
            if is_unsendable {
                self.tell(Event::Unsendable { job, worker });
                continue;
            }
            if !call.outcomes.values().any(|outcome| *outcome == Outcome::Value) {
                call.blind = call.handed_out;
            }
            self.push_tasks(worker, job, first, count);
        }
        let Some(call) = self.calls.get_mut(&job) else { return };
        let _ = self.supervisor.set_waiting(job, call.at_hand);
        if call.left == 0 && !call.input_ended {
            call.input_ended = true;
            self.tell(Event::InputEnded { job });
        }
    }

    /// Drops any task of the job: one to come, one that waits or runs, or one that is done. Checks that it does not
    /// wait behind others.
    fn drop_task(&mut self, job: JobId) {
        let warms_up = |call: &Call| call.plan.each_worker == Some(EachWorker::WarmsUp);
        let call = self.calls.get_mut(&job).filter(|call| !call.plan.folds && !warms_up(call));
        let Some(call) = call else { return };
        let len = call.left + call.handed_out;
        if len == 0 {
            return;
        }
        let index = TaskIndex::new(self.random.below(len));
        call.dropped.entry(index).or_insert(self.now);
        let is_over = call.over;
        self.tell(Event::Dropped { job, index });
        for worker in self.workers.ids().filter(|_| !is_over) {
            let may_hang = self.killable && self.random.one_in(3);
            let Some(process) = &mut self.workers[worker] else { continue };
            let is_it = |(_, order): &(u32, Order)| *order == Order::Task { job, index };
            process.hangs |= may_hang && process.running && process.orders.front().is_some_and(is_it);
            let is_head = match self.supervisor.head(worker) {
                Some(Head::Tasks { job: of, first, .. }) => (of, first) == (job, index),
                _ => false,
            };
            assert!(
                is_head
                    || process.killed
                    || process.recall
                    || process.recall_wanted
                    || !process.orders.iter().any(is_it),
                "task {index} of job {job} was dropped, and waits at worker {worker}"
            );
        }
    }

    fn take(&mut self, job: JobId) {
        let Some(call) = self.calls.get_mut(&job) else { return };
        let held = call.held.len() as u64;
        let most = if self.calm { held } else { self.random.below(held + 1) };
        let (mut count, mut bytes) = (0, 0);
        while count < most
            && let Some((index, of)) = call.held.first_key_value().map(|(index, bytes)| (*index, *bytes))
            && (!call.ordered || index == call.next)
        {
            call.held.remove(&index);
            call.next = index + 1;
            (count, bytes) = (count + 1, bytes + of);
        }
        self.tell(Event::Taken { job, count, bytes });
    }

    fn close(&mut self, job: JobId) {
        self.calls.remove(&job);
        self.tell(Event::Closed { job });
    }
}
