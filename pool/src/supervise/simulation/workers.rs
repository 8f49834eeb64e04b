//! Workers, which boot, run, fail and die at any time.

use super::*;

/// An order in a worker's lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Task { job: JobId, index: TaskIndex },
    Init(ProfileId),
    Exit,
    Resume,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    Ready,
    Value {
        job: JobId,
        index: TaskIndex,
    },
    /// The results of so many tasks, from this one on, are folded.
    Folded {
        job: JobId,
        first: TaskIndex,
        count: u64,
    },
    Failed(Order),
    /// So many results were folded, and are lost with the order after them, which failed.
    FoldFailed {
        count: u64,
        order: Order,
    },
    Done(Order),
}

/// A worker process and its lane, as the parent can see them.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// Orders not answered, each with its unit.
    pub(super) orders: VecDeque<(u32, Order)>,
    pub(super) next_unit: u32,
    /// Whether its start is over.
    pub(super) there: bool,
    pub(super) up: bool,
    /// Whether the parent knows that.
    pub(super) known: bool,
    /// How many of the orders have run, with results that are folded and not handed over.
    pub(super) folded: usize,
    /// The units that begin a chunk. Results are folded within one.
    pub(super) begins: HashSet<u32>,
    /// Whether it has started the order after those.
    pub(super) running: bool,
    /// That order never ends.
    pub(super) hangs: bool,
    /// Units before this one are claimed.
    pub(super) claimed: u32,
    pub(super) recall: bool,
    /// Whether a recall is waiting, as it must while a large order is half sent.
    pub(super) recall_wanted: bool,
    pub(super) replies: VecDeque<Reply>,
    /// The profiles of which it has made the state, as the parent knows.
    pub(super) made: Vec<ProfileId>,
    pub(super) killed: bool,
    /// Whether it was sent the exit order.
    pub(super) exits: bool,
    pub(super) served: u64,
    /// How much CPU time it has used, as was last read at this time.
    pub(super) used_ns: u64,
    pub(super) used_at: u64,
    /// Since when it has had nothing to do, as the parent knows.
    pub(super) idle_since: Option<u64>,
}

impl Process {
    pub(super) fn push(&mut self, order: Order) {
        self.exits |= order == Order::Exit;
        self.orders.push_back((self.next_unit, order));
        self.next_unit += 1;
    }
}

impl Process {
    /// Hands over what is folded.
    fn hand_over(&mut self) {
        let count = std::mem::take(&mut self.folded);
        if let Some((_, Order::Task { job, index: first })) = self.orders.drain(..count).next() {
            self.replies.push_back(Reply::Folded { job, first, count: count as u64 });
        }
    }

    /// The first unit without an answer.
    pub(super) fn answered(&self) -> u32 {
        self.orders.front().map_or(self.next_unit, |(unit, _)| *unit)
    }
}

impl Order {
    /// Checks that the supervisor expects the answer to this order.
    pub(super) fn expect(self, head: Option<Head>) {
        let fits = match (self, head) {
            (Self::Task { job, index }, Some(Head::Tasks { job: of, first, .. })) => {
                (job, index) == (of, first)
            }
            (Self::Init(_), Some(Head::Init { .. }))
            | (Self::Exit, Some(Head::Exit { .. }))
            | (Self::Resume, Some(Head::Resume { .. })) => true,
            _ => false,
        };
        assert!(fits, "the answer to {self:?} came where {head:?} was expected");
    }
}

impl World {
    /// Lets the worker take one step.
    pub(super) fn work(&mut self, worker: WorkerId) {
        let (calm, random) = (self.calm, &mut self.random);
        let Some(process) = &mut self.workers[worker] else { return };
        if process.killed || (!calm && random.one_in(60)) {
            return self.die(worker);
        }
        if process.hangs {
            return;
        }
        if !process.there {
            if !calm && random.one_in(20) {
                let is_final = random.one_in(4);
                self.workers[worker] = None;
                return self.tell(Event::NotStarted { worker, is_final });
            }
            process.there = true;
            return self.tell(Event::Started { worker });
        }
        if !process.up {
            process.up = true;
            process.replies.push_back(Reply::Ready);
            return;
        }
        let Some(&(unit, order)) = process.orders.get(process.folded) else { return process.hand_over() };
        let follows = matches!(order, Order::Task { .. }) && !process.begins.contains(&unit);
        if !process.running && (!follows || random.one_in(5)) {
            process.hand_over();
        }
        let follows = process.folded > 0;
        if let Order::Task { job, index } = order {
            if process.claimed <= unit && process.recall {
                process.hand_over();
                // The parent has recalled it, so the worker skips it.
                process.orders.pop_front();
                return;
            }
            if process.claimed <= unit {
                process.claimed = unit + 1 + random.below(3) as u32;
                let batch =
                    process.orders.iter().take_while(|(_, order)| matches!(order, Order::Task { .. }));
                process.claimed = process.claimed.min(unit + batch.count() as u32);
            }
            if !process.running {
                process.running = true;
                process.served += 1;
                assert!(
                    self.lifespan.is_none_or(|lifespan| process.served <= lifespan),
                    "worker {worker} is too old"
                );
                // Only what has a limit ends then.
                let is_limited = |call: &Call| {
                    call.plan.task_limit_ns.or(call.plan.cpu_limit_ns).is_some()
                        || call.over
                        || call.dropped.contains_key(&index)
                };
                process.hangs = self.killable
                    && !calm
                    && random.one_in(40)
                    && self.calls.get(&job).is_none_or(is_limited);
                if let Some(call) = self.calls.get_mut(&job) {
                    let is_its_own = call.plan.each_worker.is_none() || index.as_usize() == worker.0;
                    assert!(is_its_own, "task {index} of job {job} runs on worker {worker}");
                    let (runs, deaths) = (call.runs.entry(index).or_default(), call.deaths.get(&index));
                    *runs += 1;
                    assert!(
                        *runs <= 1 + deaths.copied().unwrap_or(0),
                        "task {index} of job {job} runs twice unasked"
                    );
                }
                return;
            }
            process.running = false;
            let failed = !calm && random.one_in(30);
            if self.calls.get(&job).map_or(follows, |call| call.plan.folds) {
                if !failed {
                    process.folded += 1;
                } else if random.one_in(2) {
                    process.hand_over();
                    process.orders.pop_front();
                    process.replies.push_back(Reply::Failed(order));
                } else {
                    let count = std::mem::take(&mut process.folded) as u64;
                    process.orders.drain(..=count as usize);
                    process.replies.push_back(Reply::FoldFailed { count, order });
                }
                return;
            }
            process.orders.pop_front();
            process.replies.push_back(if failed {
                Reply::Failed(order)
            } else {
                Reply::Value { job, index }
            });
            return;
        }
        if !process.running && order != Order::Resume {
            process.running = true;
            return;
        }
        process.running = false;
        process.orders.pop_front();
        if order == Order::Resume {
            process.recall = false;
            process.claimed = unit + 1;
        }
        let failed = matches!(order, Order::Init(_)) && !calm && random.one_in(30);
        process.replies.push_back(if failed { Reply::Failed(order) } else { Reply::Done(order) });
        if order == Order::Exit {
            self.die(worker);
        }
    }

    /// Lets tasks run again whose results were folded and are lost.
    pub(super) fn lose_fold(&mut self, orders: impl Iterator<Item = Order>) {
        for order in orders {
            if let Order::Task { job, index } = order
                && let Some(call) = self.calls.get_mut(&job)
            {
                *call.deaths.entry(index).or_default() += 1;
            }
        }
    }

    /// Ends the worker. The replies that it has committed count.
    pub(super) fn die(&mut self, worker: WorkerId) {
        self.drain(worker, u64::MAX);
        let Some(process) = self.workers[worker].take() else { return };
        if process.running
            && let Some(&(_, Order::Task { job, index })) = process.orders.get(process.folded)
            && let Some(call) = self.calls.get_mut(&job)
        {
            *call.deaths.entry(index).or_default() += 1;
        }
        if process.folded > 0 {
            self.lose_fold(process.orders.range(..process.folded).map(|(_, order)| *order));
            self.tell(Event::Unfolded { worker, count: process.folded as u64 });
        }
        self.tell(Event::Died { worker, running: process.running });
    }

    /// Lets the worker use CPU time: not more than there was since it was last looked at. Returns what it has used in
    /// all.
    pub(super) fn use_cpu(&mut self, worker: WorkerId) -> u64 {
        let (now, uses) = (self.now, self.random.below(CPUS + 1));
        let Some(process) = &mut self.workers[worker] else { return 0 };
        process.used_ns += uses * (now - std::mem::replace(&mut process.used_at, now));
        process.used_ns
    }
}
