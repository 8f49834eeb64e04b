//! Threads that help callers decode results, where decoding keeps workers waiting.
//!
//! A caller offers its work and takes part in it itself. Helpers come while there is an offer, and a caller returns
//! only when none of them is at its work any more. They start on demand, linger for a moment, in which they
//! [rest](crate::sys::threads), and end with the pool at the latest.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, current};
use std::time::{Duration, Instant};

use crate::sys::identity::Owner;
use crate::sys::threads::{become_resting, expect_own, main_stack, rest, spawn};
use crate::sys::{cpu, stack};
use crate::unwind;

/// How long a helper lingers: long beside the time between two turns of a caller that needs help.
const LINGER: Duration = Duration::from_millis(20);

/// Work that several threads can share.
pub(super) trait Work: Send + Sync {
    /// Takes parts of it until none is left. May run user code.
    fn help(&self);
}

/// The helpers of a pool.
pub(crate) struct Helpers {
    /// At most this many.
    most: usize,
    state: Mutex<State>,
    /// There is an offer, or the pool ends.
    offered: Condvar,
    /// A helper has left its work.
    left: Condvar,
    owner: Owner,
}

#[derive(Default)]
struct State {
    offers: Vec<Offer>,
    last_id: u64,
    /// The threads, those included that have ended and were not joined yet.
    threads: Vec<JoinHandle<()>>,
    /// How many have not ended, and how many of those wait for an offer.
    count: usize,
    idle: usize,
    is_over: bool,
}

struct Offer {
    id: u64,
    /// None once it takes no more helpers.
    work: Option<Arc<dyn Work>>,
    /// How much stack it may use. What the caller gets must not be nested more deeply than its own stack allows.
    stack: usize,
    /// How many are at it.
    helpers: usize,
}

impl Helpers {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::default(),
            offered: Condvar::new(),
            left: Condvar::new(),
            owner: Owner::here(),
        }
    }

    /// Whether there may be any.
    pub(super) fn are_allowed(&self) -> bool {
        self.most > 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work, with the help of up to `wanted` others. Afterwards nobody else has a reference to it.
    pub(super) fn share(self: &Arc<Self>, work: &Arc<dyn Work>, wanted: usize) {
        let offer = self.offer(Arc::clone(work), wanted);
        work.help();
        drop(offer);
    }

    fn offer(self: &Arc<Self>, work: Arc<dyn Work>, wanted: usize) -> Offered<'_> {
        let stack = stack::left();
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        if !state.is_over {
            state.offers.push(Offer { id, work: Some(work), stack, helpers: 0 });
            for _ in 0..wanted.min(state.idle) {
                self.offered.notify_one();
            }
            // One more at a time: if it is not enough, the next offer comes soon.
            if wanted > state.idle && state.count < self.most {
                self.start(&mut state);
            }
        }
        Offered { helpers: self, id }
    }

    /// Starts a helper, if the system allows.
    fn start(self: &Arc<Self>, state: &mut State) {
        for ended in state.threads.extract_if(.., |thread| thread.is_finished()) {
            let _ = unwind::join(ended);
        }
        let this = Arc::clone(self);
        expect_own();
        if let Ok(thread) = spawn("pool decoder".into(), Some(main_stack()), move || this.run()) {
            state.threads.push(thread);
            state.count += 1;
        }
    }

    fn run(&self) {
        become_resting();
        // Its caller may be pinned to the CPU that it is on itself. If that can't be changed, it helps less.
        let cpus = cpu::unless_this_thread_has_all();
        if !cpus.is_empty() {
            let _ = cpu::pin_this_thread(&cpus);
        }
        let mut state = self.lock();
        let mut until = Instant::now() + LINGER;
        while !state.is_over {
            if let Some((id, work, stack)) = state.join_offer() {
                drop(state);
                // Where it panics in the pool's own code, the caller does what it has left.
                let _ = unwind::catch(|| stack::with_at_most(stack, || work.help()));
                drop(work);
                if !self.owner.is_here() {
                    // User code has forked. Alone in the child, the copy of this thread has nothing to do, and the lock
                    // may be one that another thread of the parent held.
                    return;
                }
                state = self.lock();
                state.leave_offer(id);
                self.left.notify_all();
                until = Instant::now() + LINGER;
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.idle += 1;
            let wait = || self.offered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state = rest(wait);
            state.idle -= 1;
        }
        state.count -= 1;
    }

    /// Ends all of them. Callers decode without them from now on.
    pub(crate) fn end(&self) {
        let threads = {
            let mut state = self.lock();
            state.is_over = true;
            self.offered.notify_all();
            std::mem::take(&mut state.threads)
        };
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != current().id()) {
            let _ = unwind::join(thread);
        }
    }
}

impl State {
    /// Takes part in the first offer that takes helpers.
    fn join_offer(&mut self) -> Option<(u64, Arc<dyn Work>, usize)> {
        let offer = self.offers.iter_mut().find(|offer| offer.work.is_some())?;
        offer.helpers += 1;
        Some((offer.id, offer.work.clone()?, offer.stack))
    }

    /// Leaves an offer, of which no part is left.
    fn leave_offer(&mut self, id: u64) {
        if let Some(offer) = self.offers.iter_mut().find(|offer| offer.id == id) {
            offer.helpers -= 1;
            offer.work = None;
        }
    }
}

/// An offer. Dropping it waits until no helper is at it.
struct Offered<'h> {
    helpers: &'h Helpers,
    id: u64,
}

impl Drop for Offered<'_> {
    fn drop(&mut self) {
        // The work may have forked. In the child there is no helper, and the lock may be one that another thread held.
        if !self.helpers.owner.is_here() {
            return;
        }
        let mut state = self.helpers.lock();
        loop {
            let Some(place) = state.offers.iter().position(|offer| offer.id == self.id) else { return };
            state.offers[place].work = None;
            if state.offers[place].helpers == 0 {
                state.offers.remove(place);
                return;
            }
            state = self.helpers.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread::{self, ThreadId};

    use super::*;

    /// Work of a part for each of some threads, which wait for each other.
    struct Together {
        left: Mutex<usize>,
        at_once: Barrier,
        threads: Mutex<HashSet<ThreadId>>,
    }

    impl Together {
        fn of(threads: usize) -> Arc<Self> {
            let at_once = Barrier::new(threads);
            Arc::new(Self { left: Mutex::new(threads), at_once, threads: Mutex::default() })
        }
    }

    impl Work for Together {
        fn help(&self) {
            let mut left = self.left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                drop(left);
                self.threads.lock().unwrap().insert(current().id());
                self.at_once.wait();
            }
        }
    }

    fn share(helpers: &Arc<Helpers>, work: &Arc<Together>, wanted: usize) {
        helpers.share(&(Arc::clone(work) as Arc<dyn Work>), wanted);
    }

    #[test]
    fn helpers_take_part_and_leave() {
        let helpers = Arc::new(Helpers::new(1));
        for _ in 0..3 {
            let work = Together::of(2);
            share(&helpers, &work, 1);
            let work = Arc::into_inner(work).expect("nobody has it any more");
            let threads = work.threads.into_inner().unwrap();
            assert!(threads.len() == 2 && threads.contains(&current().id()));
            assert_eq!(helpers.lock().count, 1);
        }
        helpers.end();
        assert_eq!(helpers.lock().count, 0);
    }

    #[test]
    fn nobody_else_is_needed() {
        let ended = Arc::new(Helpers::new(1));
        ended.end();
        for helpers in [Arc::new(Helpers::new(0)), ended] {
            let work = Together::of(1);
            share(&helpers, &work, 1);
            assert!(helpers.lock().offers.is_empty() && helpers.lock().count == 0);
            assert_eq!(Arc::into_inner(work).unwrap().threads.into_inner().unwrap().len(), 1);
        }
    }

    #[test]
    fn several_callers_share_them() {
        let helpers = Arc::new(Helpers::new(2));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let work = Together::of(2);
                        share(&helpers, &work, 1);
                        assert_eq!(Arc::into_inner(work).unwrap().threads.into_inner().unwrap().len(), 2);
                    }
                });
            }
        });
        helpers.end();
        assert!(helpers.lock().offers.is_empty());
    }

    #[test]
    fn a_helper_that_panics_costs_nobody_else_anything() {
        struct Panics(Barrier, ThreadId);
        impl Work for Panics {
            fn help(&self) {
                self.0.wait();
                assert!(current().id() == self.1, "a bug of the crate's own");
            }
        }
        let helpers = Arc::new(Helpers::new(1));
        for _ in 0..2 {
            let work: Arc<dyn Work> = Arc::new(Panics(Barrier::new(2), current().id()));
            helpers.share(&work, 1);
            assert_eq!(Arc::strong_count(&work), 1);
        }
        helpers.end();
    }
}
