//! The engine of a model. It does with the notes what [`LocalEngine`](crate::drive::LocalEngine) and its state do, in
//! the same steps; see "Falling asleep" and "Waking" there.

use std::collections::{BTreeMap, VecDeque};

use loom::sync::{Mutex, MutexGuard};

use super::*;
use crate::drive::sleepers::{Awaits, Bell, Sleepers};

pub(super) struct Engine {
    state: Mutex<State>,
    followers: AtomicUsize,
    pub(super) poll: Arc<Poll>,
    /// The background driver's looks end by time. Otherwise it sleeps until it is woken.
    has_time: bool,
    flaw: Option<Flaw>,
}

struct State {
    sleepers: Sleepers,
    /// What each follower sleeps on, by the bell that its note has.
    asleep: Vec<(Bell, Arc<Condvar>)>,
    calls: BTreeMap<JobId, Call>,
    lanes: Vec<Lane>,
    /// Calls with new results, as in `drive::jobs`.
    news: Vec<JobId>,
    background_news: Vec<JobId>,
    /// When the call ends that has a time limit.
    deadline: Option<(u64, JobId)>,
    now: u64,
    /// A caller leads, or the background driver does.
    is_led: bool,
}

struct Call {
    /// The results that it waits for, and those that it can take.
    left: usize,
    inbox: usize,
    is_over: bool,
    is_background: bool,
}

/// The parent's end of the lane of a worker, which answers its orders one after another.
struct Lane {
    words: Arc<Words>,
    orders: VecDeque<JobId>,
    taken: usize,
    sleeps: usize,
    knows_of_sleep: bool,
}

/// What a turn of a caller brings: how many results, and whether the call is over.
pub(super) type Turn = (usize, bool);

impl Engine {
    pub(super) fn new(workers: &[Arc<Words>], has_time: bool, flaw: Option<Flaw>) -> Arc<Self> {
        let lane = |words: &Arc<Words>| Lane {
            words: Arc::clone(words),
            orders: VecDeque::new(),
            taken: 0,
            sleeps: 0,
            knows_of_sleep: false,
        };
        let state = State {
            sleepers: Sleepers::default(),
            asleep: Vec::new(),
            calls: BTreeMap::new(),
            lanes: workers.iter().map(lane).collect(),
            news: Vec::new(),
            background_news: Vec::new(),
            deadline: None,
            now: 0,
            is_led: false,
        };
        let (poll, followers) = (Arc::default(), AtomicUsize::new(0));
        Arc::new(Self { state: Mutex::new(state), followers, poll, has_time, flaw })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread of a model panics with it")
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let (leader, followers) = state.sleepers_to_wake(self.has(Flaw::DeadlinesAreForgotten));
        let bells = state.asleep_at(followers);
        if leader && !self.has(Flaw::MarkedAndNotWoken) {
            self.poll.wake();
        }
        drop(state);
        bells.into_iter().for_each(|bell| bell.notify_one());
        result
    }

    // ---- calls ----

    /// Opens a call. It is over once all of its orders are answered.
    pub(super) fn open(&self, job: JobId, is_background: bool) {
        let call = Call { left: 0, inbox: 0, is_over: false, is_background };
        self.change(|state| state.calls.insert(job, call));
    }

    /// Sends an order of the call to this worker.
    pub(super) fn order(&self, job: JobId, worker: usize) {
        let is_announced = !self.has(Flaw::OrdersAreNotAnnounced);
        self.change(|state| state.send(worker, job, is_announced));
    }

    /// Ends a call with an error.
    pub(super) fn cancel(&self, job: JobId) {
        self.change(|state| state.end(job));
    }

    /// Lets a call end at this time.
    pub(super) fn limit(&self, job: JobId, at: u64) {
        self.change(|state| state.deadline = Some((at, job)));
    }

    /// Takes results, and closes the call if it is over.
    pub(super) fn turn(&self, job: JobId) -> Turn {
        let mut successor = None;
        let turn = self.change(|state| {
            state.note_caller();
            state.drive();
            let turn = state.take_inbox(job);
            if turn.1 {
                state.calls.remove(&job);
            }
            if turn != (0, false) {
                successor = state.take_successor(self.flaw);
            }
            turn
        });
        successor.into_iter().for_each(|bell| bell.notify_one());
        turn
    }

    pub(super) fn leave(&self) {
        if self.followers.load(Ordering::Relaxed) > 0 {
            let successor = self.lock().take_successor(self.flaw);
            successor.into_iter().for_each(|bell| bell.notify_one());
        }
    }

    pub(super) fn close(&self, job: JobId) {
        self.change(|state| drop(state.calls.remove(&job)));
        self.leave();
    }

    /// Drives until the call is over.
    pub(super) fn wait_over(&self, job: JobId) {
        loop {
            let (is_over, awaits) = self.change(|state| {
                state.drive();
                (state.calls.get(&job).is_none_or(|call| call.is_over), state.sleepers.next_change())
            });
            if is_over {
                break;
            }
            self.wait(awaits, None);
        }
        if !self.has(Flaw::ChangesEndWithoutALeader) {
            self.leave();
        }
    }

    // ---- sleeping ----

    /// Sleeps. If it is woken as a follower, it does not run before `resumes`.
    pub(super) fn wait(&self, awaits: Awaits, resumes: Option<&dyn Fn()>) {
        let mut state = self.lock();
        state.note_caller();
        if state.is_news(awaits) {
            return;
        }
        if self.has(Flaw::NotesAreLate) {
            drop(state);
            state = self.lock();
        }
        if state.sleepers.has_leader() {
            self.follow(state, awaits, None, resumes);
        } else {
            self.lead(state, awaits);
        }
    }

    fn stand_by(&self) {
        let mut state = self.lock();
        if state.is_news(Awaits::Background) {
            return;
        }
        match state.time_to_look() {
            Some(limit) => {
                state.take_successor(self.flaw).into_iter().for_each(|bell| bell.notify_one());
                self.follow(state, Awaits::Background, Some(limit), None);
            }
            None => self.lead(state, Awaits::Background),
        }
    }

    fn follow(
        &self,
        mut state: MutexGuard<'_, State>,
        awaits: Awaits,
        limit: Option<u64>,
        resumes: Option<&dyn Fn()>,
    ) {
        let is_caller = usize::from(awaits != Awaits::Background);
        self.followers.fetch_add(is_caller, Ordering::Relaxed);
        let bell = state.sleepers.follow(awaits);
        let asleep = Arc::<Condvar>::default();
        state.asleep.push((Arc::clone(&bell), Arc::clone(&asleep)));
        let mut state = match limit.filter(|_| self.has_time) {
            Some(limit) => {
                drop(state);
                thread::yield_now();
                let mut state = self.lock();
                // Otherwise it was woken.
                if state.sleepers.take(awaits).is_some() {
                    state.now += limit;
                }
                state
            }
            None => asleep.wait(state).expect("no thread of a model panics with it"),
        };
        if let Some(resumes) = resumes {
            drop(state);
            resumes();
            state = self.lock();
        }
        state.asleep.retain(|(other, _)| !Arc::ptr_eq(other, &bell));
        if !self.has(Flaw::NotesStay) {
            state.sleepers.stop_following(awaits, &bell);
        }
        self.followers.fetch_sub(is_caller, Ordering::Relaxed);
    }

    fn lead(&self, mut state: MutexGuard<'_, State>, awaits: Awaits) {
        if state.announce_sleep() && !self.has(Flaw::LanesAreNotLookedAt) {
            return state.announce_awake();
        }
        assert!(!std::mem::replace(&mut state.is_led, true), "two lead");
        let until = state.deadline.map(|(at, _)| at);
        state.sleepers.lead(awaits, until);
        drop(state);
        // A sleep with a limit may always take all of it.
        if until.is_none() {
            self.poll.sleep();
        }
        let mut state = self.lock();
        state.now = state.now.max(until.unwrap_or(0));
        state.sleepers.stop_leading();
        state.is_led = false;
        state.announce_awake();
    }

    // ---- the background driver ----

    /// Drives until no call is open. Tells of each result of calls in the background.
    pub(super) fn run_background(&self, told: &Count) {
        while !self.lock().calls.is_empty() {
            let results = self.change(|state| {
                state.drive();
                let mut results = 0;
                for job in std::mem::take(&mut state.background_news) {
                    let (count, is_over) = state.take_inbox(job);
                    results += count;
                    if is_over {
                        state.calls.remove(&job);
                    }
                }
                results
            });
            (0..results).for_each(|_| told.add());
            if results == 0 {
                self.stand_by();
            }
        }
        self.leave();
    }

    /// Nobody sleeps any more, and no call is open.
    pub(super) fn check_end(&self) {
        let mut state = self.lock();
        assert!(state.calls.is_empty() && state.asleep.is_empty() && !state.sleepers.has_leader());
        assert!(!state.sleepers.any_of_jobs() && state.sleepers.awaited_by_others().next().is_none());
        assert!(state.lanes.iter().all(|lane| lane.orders.is_empty() && !lane.knows_of_sleep));
        // No successor is waited for.
        let awaits = Awaits::Results(JobId::default());
        let bell = state.sleepers.follow(awaits);
        assert!(state.sleepers.take_successor().is_some());
        state.sleepers.stop_following(awaits, &bell);
    }
}

impl State {
    /// Sends an order, and announces a sleep of the parent on the lane before.
    fn send(&mut self, worker: usize, job: JobId, is_announced: bool) {
        let is_asleep = self.sleepers.has_leader() && is_announced;
        let lane = &mut self.lanes[worker];
        if is_asleep && !lane.knows_of_sleep {
            lane.announce_sleep();
        }
        lane.orders.push_back(job);
        self.calls.get_mut(&job).into_iter().for_each(|call| call.left += 1);
    }

    fn end(&mut self, job: JobId) {
        let Some(call) = self.calls.get_mut(&job) else { return };
        call.is_over = true;
        self.sleepers.count_event();
        let news = if call.is_background { &mut self.background_news } else { &mut self.news };
        news.push(job);
    }

    /// Takes in the replies so far, and ends what is out of time.
    fn drive(&mut self) {
        for worker in 0..self.lanes.len() {
            while self.lanes[worker].has_reply() {
                let lane = &mut self.lanes[worker];
                lane.taken += 1;
                let job = lane.orders.pop_front().expect("each reply answers an order");
                let Some(call) = self.calls.get_mut(&job) else { continue };
                (call.inbox, call.left) = (call.inbox + 1, call.left - 1);
                let is_over = call.left == 0;
                self.sleepers.count_event();
                let news = if call.is_background { &mut self.background_news } else { &mut self.news };
                news.push(job);
                if is_over {
                    self.end(job);
                }
            }
        }
        if let Some((_, job)) = self.deadline.take_if(|(at, _)| *at <= self.now) {
            self.end(job);
        }
    }

    fn take_inbox(&mut self, job: JobId) -> Turn {
        let Some(call) = self.calls.get_mut(&job) else { return (0, true) };
        (std::mem::take(&mut call.inbox), call.is_over)
    }

    fn note_caller(&mut self) {
        self.sleepers.drives(self.now);
    }

    fn is_news(&self, awaits: Awaits) -> bool {
        match awaits {
            Awaits::Job(job) | Awaits::Results(job) => {
                self.calls.get(&job).is_none_or(|call| call.inbox > 0 || call.is_over)
            }
            Awaits::Background => self.calls.is_empty() || !self.background_news.is_empty(),
            Awaits::Change { since } => self.sleepers.has_changed_since(since),
        }
    }

    fn sleepers_to_wake(&mut self, forgets_deadlines: bool) -> (bool, Vec<Bell>) {
        let must_wake_leader = self.sleepers.sleeping_leader().is_some_and(|(awaits, until)| {
            let oversleeps = |(at, _): (u64, JobId)| until.is_none_or(|until| at < until);
            self.is_news(awaits) || (!forgets_deadlines && self.deadline.is_some_and(oversleeps))
        });
        if must_wake_leader {
            self.sleepers.mark_leader_woken();
        }
        let mut due: Vec<Awaits> =
            self.sleepers.awaited_by_others().filter(|awaits| self.is_news(*awaits)).collect();
        for job in std::mem::take(&mut self.news) {
            due.extend(self.sleepers.awaited_of(job).filter(|awaits| self.is_news(*awaits)));
        }
        if due.iter().any(|awaits| *awaits != Awaits::Background) {
            self.note_caller();
        }
        (must_wake_leader, due.into_iter().filter_map(|awaits| self.sleepers.take(awaits)).collect())
    }

    fn time_to_look(&mut self) -> Option<u64> {
        let is_any_background = self.calls.values().any(|call| call.is_background);
        if !self.sleepers.has_leader() && self.calls.values().all(|call| call.is_background) {
            return None;
        }
        self.sleepers.time_to_look(self.now, is_any_background)
    }

    fn take_successor(&mut self, flaw: Option<Flaw>) -> Option<Arc<Condvar>> {
        if flaw == Some(Flaw::NobodySucceeds) {
            return None;
        }
        let bell = self.sleepers.take_successor();
        self.asleep_at(bell.into_iter().collect()).pop()
    }

    /// What the followers with these bells sleep on.
    fn asleep_at(&self, bells: Vec<Bell>) -> Vec<Arc<Condvar>> {
        let of = |bell: Bell| self.asleep.iter().find(|(other, _)| Arc::ptr_eq(other, &bell));
        bells.into_iter().filter_map(of).map(|(_, asleep)| Arc::clone(asleep)).collect()
    }

    /// Announces the sleep on all lanes with orders. Returns whether a reply is there already.
    fn announce_sleep(&mut self) -> bool {
        self.sleepers.begin_sleep();
        let active = || |lane: &&mut Lane| !lane.orders.is_empty();
        self.lanes.iter_mut().filter(active()).for_each(Lane::announce_sleep);
        fence(Ordering::SeqCst);
        self.lanes.iter_mut().filter(active()).any(|lane| lane.has_reply())
    }

    fn announce_awake(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.knows_of_sleep) {
            lane.words.sleep.store(0, Ordering::Relaxed);
            lane.knows_of_sleep = false;
        }
    }
}

impl Lane {
    fn has_reply(&self) -> bool {
        self.words.replies.load(Ordering::Acquire) > self.taken
    }

    fn announce_sleep(&mut self) {
        self.sleeps += 1;
        self.words.sleep.store(self.sleeps, Ordering::Relaxed);
        self.knows_of_sleep = true;
    }
}
