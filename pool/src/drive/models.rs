//! Leader, followers and background driver under a model checker (`RUSTFLAGS="--cfg loom"`), in every order in which
//! they can run. The notes of the sleepers are the real ones, and the [`Engine`] of the models does with them what the
//! driver does.
//!
//! A model has callers, a worker or two, and perhaps the background driver. At most one of them may lead. No sleep of a
//! leader or a caller has a limit, which would hide a lost wake-up: the checker finds that nobody can go on. Workers
//! answer only after the results before were handed out, so that no later wake-up makes up for a lost one.
//!
//! Each model says how many preemptions a schedule may have; a thread that waits or ends is not preempted.

mod engine;

use std::panic::catch_unwind;
use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::sleepers::Awaits;
use crate::ids::JobId;
use engine::Engine;

const A: JobId = JobId::new(1);
const B: JobId = JobId::new(2);
const C: JobId = JobId::new(3);

/// A broken rule of the protocol, to show that the models depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// A leader that goes away wakes no follower.
    NobodySucceeds,
    /// A follower that is awake leaves its note, and stays the successor.
    NotesStay,
    /// The leader is marked as woken, and the eventfd is not written to.
    MarkedAndNotWoken,
    /// A caller looks for news, and leaves its note in a later step.
    NotesAreLate,
    /// The leader does not look at the lanes after it has announced its sleep.
    LanesAreNotLookedAt,
    /// A worker that gets an order is not told that the leader sleeps.
    OrdersAreNotAnnounced,
    /// A leader sleeps on if a deadline comes nearer.
    DeadlinesAreForgotten,
    /// A caller that has waited for a change wakes no follower when it returns.
    ChangesEndWithoutALeader,
}

/// Tries every schedule with at most this many preemptions.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Something that is waited for until it has happened often enough.
#[derive(Debug, Default)]
struct Count {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Count {
    fn add(&self) {
        *self.count.lock().expect("no thread of a model panics with it") += 1;
        self.changed.notify_all();
    }

    fn wait_for(&self, wanted: usize) {
        let mut count = self.count.lock().expect("no thread of a model panics with it");
        while *count < wanted {
            count = self.changed.wait(count).expect("no thread of a model panics with it");
        }
    }
}

/// The poll set: an eventfd, which stays readable until it is read.
#[derive(Debug, Default)]
struct Poll(Count);

impl Poll {
    fn wake(&self) {
        self.0.add();
    }

    /// Sleeps until it is woken. As in the driver, the eventfd is reset in a step of its own.
    fn sleep(&self) {
        self.0.wait_for(1);
        *self.0.count.lock().expect("no thread of a model panics with it") = 0;
    }
}

/// The words of a lane that both sides read.
#[derive(Debug, Default)]
struct Words {
    /// How many replies are committed.
    replies: AtomicUsize,
    /// Which sleep of the parent this is; 0 while it is awake.
    sleep: AtomicUsize,
}

impl Words {
    /// Answers orders, which were sent before. Each answer needs so many results to be handed out.
    fn work(&self, poll: &Poll, handed_out: &Count, needs: &[usize]) {
        let mut woken = 0;
        for (replies, need) in (1..).zip(needs) {
            handed_out.wait_for(*need);
            self.replies.store(replies, Ordering::Release);
            fence(Ordering::SeqCst);
            let sleep = self.sleep.load(Ordering::Relaxed);
            if sleep != 0 && sleep != woken {
                woken = sleep;
                poll.wake();
            }
        }
    }
}

/// A call and its caller.
struct Caller<'c> {
    engine: &'c Engine,
    job: JobId,
    /// What holds it up when it is woken as a follower.
    resumes: Option<&'c dyn Fn()>,
    /// Its input, which it asks before each turn but the first.
    input: Option<&'c dyn Fn()>,
}

impl<'c> Caller<'c> {
    fn of(engine: &'c Engine, job: JobId) -> Self {
        Self { engine, job, resumes: None, input: None }
    }

    /// Takes turns until the call is over: runs `on_result` with the number of each result. Returns how many came.
    fn run(self, mut on_result: impl FnMut(usize)) -> usize {
        let Self { engine, job, resumes, input } = self;
        let mut results = 0;
        loop {
            let (count, is_over) = engine.turn(job);
            (results..results + count).for_each(&mut on_result);
            results += count;
            if is_over {
                return results;
            }
            if count == 0 {
                engine.wait(Awaits::Results(job), resumes);
            }
            if let Some(input) = input {
                engine.leave();
                input();
            }
        }
    }
}

/// An engine, and the threads that work on it.
struct Pool {
    engine: Arc<Engine>,
    handed_out: Arc<Count>,
    words: Vec<Arc<Words>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Pool {
    fn new(workers: usize, has_time: bool, flaw: Option<Flaw>) -> Self {
        let words: Vec<Arc<Words>> = (0..workers).map(|_| Arc::default()).collect();
        let engine = Engine::new(&words, has_time, flaw);
        Self { engine, handed_out: Arc::default(), words, threads: Vec::new() }
    }

    /// Opens these calls, with no orders yet.
    fn open(self, jobs: &[JobId]) -> Self {
        jobs.iter().for_each(|job| self.engine.open(*job, *job == C));
        self
    }

    /// Sends orders of these calls to the worker.
    fn order(self, worker: usize, jobs: &[JobId]) -> Self {
        jobs.iter().for_each(|job| self.engine.order(*job, worker));
        self
    }

    /// Starts the worker. Before each of its answers so many results must have been handed out.
    fn work(mut self, worker: usize, needs: &'static [usize]) -> Self {
        let words = Arc::clone(&self.words[worker]);
        self.spawn(move |engine, handed_out| words.work(&engine.poll, handed_out, needs));
        self
    }

    fn spawn(&mut self, run: impl FnOnce(&Engine, &Count) + 'static) {
        let (engine, handed_out) = (Arc::clone(&self.engine), Arc::clone(&self.handed_out));
        self.threads.push(thread::spawn(move || run(&engine, &handed_out)));
    }

    /// Starts a caller that hands out its results.
    fn call(mut self, job: JobId) -> Self {
        self.spawn(move |engine, handed_out| {
            assert_eq!(Caller::of(engine, job).run(|_| handed_out.add()), 1)
        });
        self
    }

    /// Starts the background driver.
    fn stand_by(mut self) -> Self {
        self.spawn(|engine, handed_out| engine.run_background(handed_out));
        self
    }

    /// Waits for all threads, and checks that nothing is left.
    fn end(self) {
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.engine.check_end();
    }
}

/// The second answer needs the first result.
fn two_wait(orders: [JobId; 2], flaw: Option<Flaw>) {
    let pool = Pool::new(1, false, flaw).open(&[A, B]).order(0, &orders).work(0, &[0, 1]).call(B);
    assert_eq!(Caller::of(&pool.engine, A).run(|_| pool.handed_out.add()), 1);
    pool.end();
}

/// With each result, its caller goes away until the other one has got its next.
fn each_goes_away(flaw: Option<Flaw>) {
    let pool = Pool::new(1, false, flaw).open(&[A, B]).order(0, &[A, B, A, B]);
    let mut pool = pool.work(0, &[0, 1, 2, 3]);
    pool.spawn(|engine, handed_out| {
        let results = Caller::of(engine, B).run(|result| {
            handed_out.add();
            handed_out.wait_for([3, 4][result]);
        });
        assert_eq!(results, 2);
    });
    let results = Caller::of(&pool.engine, A).run(|result| {
        pool.handed_out.add();
        pool.handed_out.wait_for([2, 4][result]);
    });
    assert_eq!(results, 2);
    pool.end();
}

/// A leader wakes for a deadline, and asks its input for an item, which needs the other's result.
fn one_asks_its_input(flaw: Option<Flaw>) {
    let pool = Pool::new(1, false, flaw).open(&[A, B]).order(0, &[B, A]);
    pool.engine.limit(C, 5);
    let pool = pool.work(0, &[0, 1]).call(B);
    let caller = Caller { input: Some(&|| pool.handed_out.wait_for(1)), ..Caller::of(&pool.engine, A) };
    assert_eq!(caller.run(|_| ()), 1);
    pool.end();
}

/// Another thread cancels both calls.
fn both_are_cancelled(flaw: Option<Flaw>) {
    let mut pool = Pool::new(0, false, flaw).open(&[A, B]);
    pool.spawn(|engine, _| assert_eq!(Caller::of(engine, B).run(|_| ()), 0));
    pool.spawn(|engine, _| [A, B].into_iter().for_each(|job| engine.cancel(job)));
    assert_eq!(Caller::of(&pool.engine, A).run(|_| ()), 0);
    pool.end();
}

/// One of the calls gets a time limit while both may sleep without limit.
fn one_gets_a_limit(flaw: Option<Flaw>) {
    let mut pool = Pool::new(0, false, flaw).open(&[A, B]);
    pool.spawn(|engine, _| assert_eq!(Caller::of(engine, B).run(|_| ()), 0));
    pool.spawn(|engine, _| engine.limit(A, 5));
    assert_eq!(Caller::of(&pool.engine, A).run(|_| ()), 0);
    pool.engine.cancel(B);
    pool.end();
}

/// A call is opened while the other one may sleep, and gets the worker to work that has nothing to do.
fn one_comes_later(flaw: Option<Flaw>) {
    let pool = Pool::new(2, false, flaw).open(&[A]).order(0, &[A]);
    let (idle, mut pool) = (Arc::clone(&pool.words[1]), pool.work(0, &[1]));
    pool.spawn(move |engine, handed_out| {
        engine.open(B, false);
        engine.order(B, 1);
        let poll = Arc::clone(&engine.poll);
        let worker = thread::spawn(move || idle.work(&poll, &Count::default(), &[0]));
        assert_eq!(Caller::of(engine, B).run(|_| handed_out.add()), 1);
        worker.join().unwrap();
    });
    assert_eq!(Caller::of(&pool.engine, A).run(|_| ()), 1);
    pool.end();
}

/// A caller waits until another call is over, as the end of a pool does; the result of a third caller comes then.
fn one_waits_for_a_change(flaw: Option<Flaw>) {
    let mut pool = Pool::new(1, false, flaw).open(&[A, B]).order(0, &[B, A]).work(0, &[0, 1]);
    pool.spawn(|engine, handed_out| {
        engine.wait_over(B);
        handed_out.add();
    });
    assert_eq!(Caller::of(&pool.engine, A).run(|_| ()), 1);
    pool.engine.close(B);
    pool.end();
}

/// A call in the background, whose result the other one needs, or the other way round.
fn one_is_in_the_background(orders: [JobId; 2], flaw: Option<Flaw>) {
    let pool = Pool::new(1, true, flaw).open(&[A, C]).order(0, &orders).work(0, &[0, 1]).stand_by();
    assert_eq!(Caller::of(&pool.engine, A).run(|_| pool.handed_out.add()), 1);
    pool.end();
}

/// The background driver may lead when the callers come back.
fn both_come_back(flaw: Option<Flaw>) {
    let pool = Pool::new(1, true, flaw).open(&[A, B]).order(0, &[A, B]).work(0, &[0, 1]).stand_by().call(B);
    assert_eq!(Caller::of(&pool.engine, A).run(|_| pool.handed_out.add()), 1);
    pool.end();
}

/// The successor of a caller that goes away does not run before a result of the background is there.
fn the_successor_is_late(flaw: Option<Flaw>) {
    let pool = Pool::new(1, true, flaw).open(&[A, B, C]).order(0, &[A, C, B]);
    let mut pool = pool.work(0, &[0, 1, 2]).stand_by();
    pool.spawn(|engine, handed_out| {
        let caller = Caller { resumes: Some(&|| handed_out.wait_for(2)), ..Caller::of(engine, B) };
        assert_eq!(caller.run(|_| handed_out.add()), 1);
    });
    let caller = Caller::of(&pool.engine, A);
    let results = caller.run(|_| {
        pool.handed_out.add();
        pool.handed_out.wait_for(3);
    });
    assert_eq!(results, 1);
    pool.end();
}

#[test]
fn two_callers_wait_for_their_results() {
    check(3, || two_wait([A, B], None));
    check(3, || two_wait([B, A], None));
}

#[test]
fn callers_that_go_away_hand_over() {
    check(2, || each_goes_away(None));
}

#[test]
fn a_leader_leaves_for_its_input() {
    check(3, || one_asks_its_input(None));
}

#[test]
fn whoever_sleeps_is_woken_for_a_change() {
    check(3, || both_are_cancelled(None));
}

#[test]
fn a_nearer_deadline_wakes_the_leader() {
    check(3, || one_gets_a_limit(None));
}

#[test]
fn a_worker_that_gets_an_order_knows_that_the_leader_sleeps() {
    check(2, || one_comes_later(None));
}

#[test]
fn whoever_waited_for_a_change_hands_over() {
    check(3, || one_waits_for_a_change(None));
}

#[test]
fn callers_drive_for_the_background() {
    check(2, || one_is_in_the_background([A, C], None));
    check(2, || one_is_in_the_background([C, A], None));
}

#[test]
fn the_background_driver_hands_over() {
    check(1, || both_come_back(None));
}

#[test]
fn the_background_driver_leads_for_a_late_successor() {
    check(1, || the_successor_is_late(None));
}

/// Whether the checker finds that a rule is broken.
fn finds(flaw: Flaw, model: fn(Option<Flaw>)) -> bool {
    catch_unwind(|| check(2, move || model(Some(flaw)))).is_err()
}

#[test]
fn each_rule_is_needed() {
    for (flaw, model) in [
        (Flaw::NobodySucceeds, each_goes_away as fn(_)),
        (Flaw::NobodySucceeds, one_asks_its_input),
        (Flaw::NotesStay, each_goes_away),
        (Flaw::MarkedAndNotWoken, both_are_cancelled),
        (Flaw::NotesAreLate, both_are_cancelled),
        (Flaw::LanesAreNotLookedAt, |flaw| two_wait([A, B], flaw)),
        (Flaw::OrdersAreNotAnnounced, one_comes_later),
        (Flaw::DeadlinesAreForgotten, one_gets_a_limit),
        (Flaw::ChangesEndWithoutALeader, one_waits_for_a_change),
    ] {
        assert!(finds(flaw, model), "{flaw:?} does no harm");
    }
}
