//! Callers: they open jobs, feed them, take results, and give up.

use super::*;
use crate::ids::ProfileId;

/// A caller and its job.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) plan: Plan,
    /// The number of items left in its input.
    pub(super) left: u64,
    pub(super) input_ended: bool,
    pub(super) handed_out: u64,
    pub(super) kept: HashSet<TaskIndex>,
    pub(super) outcomes: HashMap<TaskIndex, Outcome>,
    pub(super) runs: HashMap<TaskIndex, u64>,
    pub(super) deaths: HashMap<TaskIndex, u64>,
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
        let folds = random.one_in(3);
        let plan = Plan {
            profile: ProfileId::from_wire(random.below(3) as u32),
            chunking,
            max_active: random.pick(&[None, None, Some(1), Some(2), Some(11)]),
            // Only lazy calls bound them, and those do not fold.
            max_held_bytes: random.pick(&[None, Some(1), Some(40), Some(500)]).filter(|_| !folds),
            lifespan: self.lifespan,
            retries: random.pick(&[0, 0, 1, 3]),
            fail_fast: random.one_in(2),
            folds,
            task_limit_ns: limit(random),
            init_limit_ns: limit(random),
            exit_limit_ns: limit(random),
            total: random.one_in(2).then_some(len),
        };
        self.next_job = self.next_job.next();
        let call = Call {
            plan: plan.clone(),
            left: len,
            input_ended: false,
            handed_out: 0,
            kept: HashSet::new(),
            outcomes: HashMap::new(),
            runs: HashMap::new(),
            deaths: HashMap::new(),
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

    pub(super) fn feed(&mut self, job: JobId) {
        let Some(call) = self.calls.get(&job) else { return };
        let waiting = if self.calm { call.left } else { self.random.below(call.left + 1) };
        // A caller that has no more items, or has sent all before, reports none.
        if waiting > 0 && self.supervisor.set_waiting(job, waiting) {
            self.tell(Event::Wanted);
        }
        while let Some(Grant { worker, work }) = self.supervisor.grant(job) {
            let Some(call) = self.calls.get_mut(&job) else { panic!("job {job} is forgotten") };
            let Some(process) = &mut self.workers[worker] else { panic!("worker {worker} is not there") };
            assert!(!process.recall && !process.recall_wanted, "worker {worker} is being recalled");
            match work {
                Work::Again { index, .. } => {
                    assert!(call.kept.remove(&index), "task {index} of job {job} was not kept");
                    if self.random.one_in(100) && !self.calm {
                        self.tell(Event::Unsendable { job, worker });
                        continue;
                    }
                    process.begins.insert(process.next_unit);
                    process.push(Order::Task { job, index });
                    self.tell(Event::Sent { job, worker, count: 1 });
                }
                Work::Fresh { first, most, whole } => {
                    assert_eq!(first.number(), call.handed_out);
                    let held = call.held_bytes();
                    assert!(
                        call.plan.max_held_bytes.is_none_or(|most| held < most),
                        "job {job} gets more while {held} bytes are held"
                    );
                    let last = self.random.one_in(2) || self.calm;
                    let buffered = if last { call.left } else { call.left.min(self.random.below(50)) };
                    let is_last = buffered == call.left;
                    if buffered == 0 || (buffered < whole && !is_last) {
                        break;
                    }
                    if self.random.one_in(100) && !self.calm {
                        (call.left, call.handed_out) = (call.left - 1, call.handed_out + 1);
                        self.tell(Event::Unsendable { job, worker });
                        continue;
                    }
                    let count = if self.random.one_in(4) { 1 } else { most.min(buffered) };
                    (call.left, call.handed_out) = (call.left - count, call.handed_out + count);
                    if !call.outcomes.values().any(|outcome| *outcome == Outcome::Value) {
                        call.blind = call.handed_out;
                    }
                    process.begins.insert(process.next_unit);
                    for index in first.range(count) {
                        process.push(Order::Task { job, index });
                    }
                    self.tell(Event::Sent { job, worker, count });
                }
            }
        }
        if let Some(call) = self.calls.get_mut(&job).filter(|call| call.left == 0 && !call.input_ended) {
            call.input_ended = true;
            self.tell(Event::InputEnded { job });
        }
    }

    pub(super) fn take(&mut self, job: JobId) {
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

    pub(super) fn close(&mut self, job: JobId) {
        self.calls.remove(&job);
        self.tell(Event::Closed { job });
    }
}
