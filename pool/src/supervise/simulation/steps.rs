//! How many jobs and workers an event looks at: as many in a large pool with many open jobs as in a small one.

use std::cell::Cell;

use super::*;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Counts jobs or workers that are looked at.
pub(in crate::supervise) fn count(looks: usize) {
    STEPS.with(|steps| steps.set(steps.get() + looks as u64));
}

/// A supervisor, with the greatest number of looks that each kind of event or question has taken.
struct Counted {
    supervisor: Supervisor,
    actions: Vec<Action>,
    most: BTreeMap<&'static str, u64>,
    now: u64,
    last_job: JobId,
}

impl Counted {
    fn new(workers: usize) -> Self {
        let supervisor = Supervisor::new(workers, false, true);
        let (actions, most) = (Vec::new(), BTreeMap::new());
        Self { supervisor, actions, most, now: 0, last_job: JobId::default() }
    }

    fn ask<R>(&mut self, what: &'static str, question: impl FnOnce(&mut Supervisor) -> R) -> R {
        let before = STEPS.get();
        let answer = question(&mut self.supervisor);
        let most = self.most.entry(what).or_default();
        *most = (*most).max(STEPS.get() - before);
        answer
    }

    /// Reports an event, and asks what the driver asks in each turn.
    fn tell(&mut self, what: &'static str, event: Event) {
        self.now += 100;
        let (now, mut actions) = (self.now, std::mem::take(&mut self.actions));
        actions.clear();
        self.ask(what, |supervisor| supervisor.handle(event, now, &mut actions));
        self.actions = actions;
        self.ask("turn", |supervisor| {
            (supervisor.deadline(), supervisor.busy(), supervisor.all_ended(), supervisor.grant_again())
        });
    }

    fn open(&mut self, what: &'static str, plan: Plan) -> JobId {
        self.last_job = self.last_job.next();
        self.tell(what, Event::Opened { job: self.last_job, plan: Box::new(plan) });
        self.last_job
    }

    /// Sends one task of the job, as far as the supervisor grants it.
    fn send(&mut self, job: JobId) -> WorkerId {
        let grant = self.ask("grant", |supervisor| supervisor.grant(job)).expect("there is an idle worker");
        self.tell("sent", Event::Sent { job, worker: grant.worker, count: 1 });
        grant.worker
    }

    /// A call of two tasks that both go wrong: one fails, and the other one was folded with it, or nobody wants it.
    /// What comes back is not sent again.
    fn lose(&mut self, folds: bool) {
        let job = self.open("opened", Plan { total: Some(2), folds, ..Plan::plain() });
        let worker = self.ask("grant", |supervisor| supervisor.grant(job)).expect("a worker is idle").worker;
        self.tell("sent", Event::Sent { job, worker, count: 2 });
        self.tell("input_ended", Event::InputEnded { job });
        if folds {
            self.tell("unfolded", Event::Unfolded { worker, count: 1 });
            self.tell("failed", Event::Failed { worker, bytes: 1 });
        } else {
            let unit = self.supervisor.head(worker).expect("it has both").unit();
            self.tell("dropped", Event::Dropped { job, index: TaskIndex::new(1) });
            self.tell("recalled", Event::Recalled { worker, kept_up_to: unit + 1 });
            self.tell("failed", Event::Failed { worker, bytes: 1 });
            self.tell("order_done", Event::OrderDone { worker });
        }
        self.ask("again", |supervisor| supervisor.grant(job)).expect("a task came back");
        self.tell("unsendable", Event::Unsendable { job, worker });
        self.tell("taken", Event::Taken { job, count: 2, bytes: 2 });
        self.tell("closed", Event::Closed { job });
    }

    /// A call of one task, which fails, and is tried again after a delay as its caller wants.
    fn try_again(&mut self) {
        let retry = Some(Box::new(RetryPlan { first_ns: 50, most_ns: 50, jitter: None, asks: true }));
        let job = self.open("opened", Plan { total: Some(1), retries: 1, retry, ..Plan::plain() });
        let worker = self.send(job);
        self.tell("input_ended", Event::InputEnded { job });
        self.tell("failed", Event::Failed { worker, bytes: 1 });
        let index = TaskIndex::default();
        self.tell("decided", Event::Decided { job, index, tries_again: true, bytes: 1 });
        self.tell("delay", Event::Tick);
        assert!(self.ask("again", |supervisor| supervisor.grant_again()).is_some(), "its delay is over");
        let worker = self.send(job);
        self.tell("done", Event::Done { worker, count: 1, bytes: 1, pace_ns: 100 });
        self.tell("taken", Event::Taken { job, count: 1, bytes: 1 });
        self.tell("closed", Event::Closed { job });
    }

    /// A whole short call.
    fn call(&mut self) {
        let plan = Plan { task_limit_ns: Some(1_000_000), lifespan: Some(1 << 40), ..Plan::plain() };
        let job = self.open("opened", plan);
        self.ask("set_waiting", |supervisor| supervisor.set_waiting(job, 1));
        let worker = self.send(job);
        self.tell("input_ended", Event::InputEnded { job });
        let now = self.now;
        self.ask("began", |supervisor| supervisor.head_began(worker, now));
        self.tell("tick", Event::Tick);
        self.tell("done", Event::Done { worker, count: 1, bytes: 1, pace_ns: 100 });
        self.tell("taken", Event::Taken { job, count: 1, bytes: 1 });
        self.tell("closed", Event::Closed { job });
    }
}

/// The looks that events take in a pool of so many workers, of which all are up, with so many open jobs.
fn most_looks(workers: usize, jobs: usize) -> BTreeMap<&'static str, u64> {
    let mut counted = Counted::new(workers);
    let first = counted.open("first", Plan { total: Some(workers as u64), ..Plan::plain() });
    for worker in (0..workers).map(WorkerId) {
        counted.tell("ready", Event::Ready { worker });
    }
    // While all workers are idle, and jobs have nothing to do.
    let idle: Vec<JobId> = (0..jobs).map(|_| counted.open("opened", Plan::plain())).collect();
    for _ in 0..100 {
        counted.call();
    }
    // While all but one are busy.
    let busy: Vec<WorkerId> = (1..workers).map(|_| counted.send(first)).collect();
    for _ in 0..100 {
        counted.call();
    }
    // Many calls in the background: each is one task, and waits for a worker or in its queue.
    for _ in 0..100 {
        let job = counted.open("opened", Plan { total: Some(1), ..Plan::plain() });
        let worker = counted.send(job);
        counted.tell("input_ended", Event::InputEnded { job });
        counted.tell("done", Event::Done { worker, count: 1, bytes: 1, pace_ns: 100 });
        counted.tell("taken", Event::Taken { job, count: 1, bytes: 1 });
        counted.tell("closed", Event::Closed { job });
    }
    // Tasks that fail, are dropped, or are to be sent again.
    (0..100).for_each(|round| counted.lose(round % 2 == 0));
    (0..100).for_each(|_| counted.try_again());
    // Jobs that are given up, idle or at work.
    for job in idle {
        counted.tell("closed", Event::Closed { job });
    }
    for worker in busy {
        counted.tell("done", Event::Done { worker, count: 1, bytes: 1, pace_ns: 100 });
    }
    // While a job for each worker waits for one of them.
    counted.supervisor.block(WorkerId(0), true);
    let each_worker = Some(EachWorker::RunsTask);
    let each = counted.open("each", Plan { each_worker, total: Some(workers as u64), ..Plan::plain() });
    while let Some((job, grant)) = counted.ask("again", |supervisor| supervisor.grant_again()) {
        counted.tell("each sent", Event::Sent { job, worker: grant.worker, count: 1 });
        counted.tell("each done", Event::Done { worker: grant.worker, count: 1, bytes: 1, pace_ns: 100 });
        counted.tell("each taken", Event::Taken { job, count: 1, bytes: 1 });
    }
    for _ in 0..100 {
        counted.call();
    }
    counted.tell("each closed", Event::Closed { job: each });
    ["first", "each", "each closed"].iter().for_each(|opens_or_ends| _ = counted.most.remove(opens_or_ends));
    counted.supervisor.check();
    counted.most
}

#[test]
fn no_event_looks_at_all_jobs_or_workers() {
    let (few, many) = (most_looks(2, 2), most_looks(1000, 100_000));
    println!("{many:?}");
    assert_eq!(few, many);
}
