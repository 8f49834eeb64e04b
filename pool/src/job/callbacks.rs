//! The user's code that calls in the background run: callbacks, wakers and progress bars. It runs on threads of its
//! own, so the pool goes on whatever that code waits for.
//!
//! Notices wait in a queue, and one thread runs them one after another, in the order in which the results came. If one
//! takes longer than [`PATIENCE`], another thread goes on with the next one: it may be what the first waits for, such
//! as the callback of another call. So a *reserve* stands by while a notice runs and others wait.
//!
//! There is no such thread before the first notice. They stay while calls or streams are open in the background, and
//! end once the queue is empty.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{JoinHandle, current};
use std::time::{Duration, Instant};

use crate::ids::JobId;
use crate::observe::progress::Progress;
use crate::sys::identity::Owner;
use crate::sys::threads::{expect_own, spawn};
use crate::unwind;

/// How long the next notice waits for the one that runs. Long beside what callbacks usually do, so that they run one
/// after another; short enough for a user who waits for one of several callbacks that wait for each other.
const PATIENCE: Duration = Duration::from_millis(100);

/// At most this many threads. Only notices that wait for others need more than two.
const MOST_THREADS: usize = 64;

/// At most this many threads without a notice: one that has just run one, and the reserve.
const MOST_SPARE: usize = 2;

/// Runs the notices of a pool.
pub(super) struct Callbacks {
    state: Mutex<State>,
    /// There is a notice, or no thread is needed any more.
    changed: Condvar,
    /// A thread has ended.
    ended: Condvar,
    owner: Owner,
}

/// Something of the user's to run.
pub(super) enum Notice {
    /// Counts outcomes on the bar of a call.
    Count {
        job: JobId,
        progress: Progress,
        done: u64,
        failed: u64,
    },
    Run(Box<dyn FnOnce() + Send>),
}

#[derive(Default)]
struct State {
    queue: VecDeque<Notice>,
    /// The threads, those included that have ended and were not joined yet.
    threads: Vec<JoinHandle<()>>,
    /// How many threads there are, and how many of them run a notice.
    count: usize,
    running: usize,
    /// How many threads sleep, and how many of those only until the running notice has had its time.
    sleeping: usize,
    standing_by: usize,
    /// One of those that sleep was woken for a notice.
    is_one_woken: bool,
    /// The number of the notice that the next one waits for, and when it began.
    current: Option<(u64, Instant)>,
    /// How many notices have begun.
    begun: u64,
    /// Calls or streams are open in the background.
    is_needed: bool,
}

impl Default for Callbacks {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), ended: Condvar::new(), owner: Owner::here() }
    }
}

impl Notice {
    pub(super) fn run(self) {
        let _ = unwind::catch(|| match self {
            Self::Count { progress, done, failed, .. } => progress.count(done, failed),
            Self::Run(run) => run(),
        });
    }

    /// Adds the counts of the next notice, if it is about the same bar.
    fn absorb(&mut self, next: &Self) -> bool {
        match (self, next) {
            (
                Self::Count { job, done, failed, .. },
                Self::Count { job: of, done: more, failed: more_failed, .. },
            ) if job == of => {
                *done += more;
                *failed += more_failed;
                true
            }
            _ => false,
        }
    }
}

impl Callbacks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the threads, because calls or streams are open.
    pub(super) fn keep(&self) {
        self.lock().is_needed = true;
    }

    /// Lets the threads end once they have run what is left.
    pub(super) fn let_end(&self) {
        let mut state = self.lock();
        state.is_needed = false;
        if state.count > 0 {
            self.changed.notify_all();
        }
    }

    /// Runs these, after those that were posted before. Returns at once, unless the system has no thread to run them.
    pub(super) fn post(self: &Arc<Self>, notices: impl IntoIterator<Item = Notice>) {
        let mut state = self.lock();
        for notice in notices {
            if !state.queue.back_mut().is_some_and(|last| last.absorb(&notice)) {
                state.queue.push_back(notice);
            }
        }
        if !state.queue.is_empty() {
            self.summon(&mut state);
            if state.count == 0 {
                let left = std::mem::take(&mut state.queue);
                drop(state);
                left.into_iter().for_each(Notice::run);
            }
        }
    }

    /// Sees to it that a thread looks at the queue which runs no notice.
    fn summon(self: &Arc<Self>, state: &mut State) {
        if state.count > state.running {
            let is_awaited = state.current.is_some() && state.standing_by > 0;
            if !is_awaited && state.sleeping > 0 && !state.is_one_woken {
                state.is_one_woken = true;
                self.changed.notify_one();
            }
        } else if state.count < MOST_THREADS {
            let this = Arc::clone(self);
            expect_own();
            if let Ok(thread) = spawn("pool callbacks".into(), None, move || this.run()) {
                state.threads.retain(|thread| !thread.is_finished());
                state.threads.push(thread);
                state.count += 1;
            }
        }
    }

    /// Runs notices until none is left and none will come.
    fn run(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            let is_surplus = state.count - state.running > MOST_SPARE;
            if state.queue.is_empty() && (is_surplus || !state.is_needed) {
                state.count -= 1;
                self.ended.notify_all();
                return;
            }
            if state.queue.is_empty() {
                state.sleeping += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.sleeping -= 1;
                state.is_one_woken = false;
                continue;
            }
            let waits = state.current.and_then(|(_, since)| PATIENCE.checked_sub(since.elapsed()));
            if let Some(left) = waits.filter(|left| !left.is_zero()) {
                state.sleeping += 1;
                state.standing_by += 1;
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                state.sleeping -= 1;
                state.standing_by -= 1;
                state.is_one_woken = false;
                continue;
            }
            let Some(notice) = state.queue.pop_front() else { continue };
            let number = state.begun;
            state.begun += 1;
            state.running += 1;
            state.current = Some((number, Instant::now()));
            if !state.queue.is_empty() {
                self.summon(&mut state);
            }
            drop(state);
            notice.run();
            if !self.owner.is_here() {
                // The notice has forked. Alone in the child, this copy of the thread has nothing to run, and the lock
                // may stay locked.
                return;
            }
            state = self.lock();
            state.running -= 1;
            if state.current.is_some_and(|(current, _)| current == number) {
                state.current = None;
            }
        }
    }

    /// Waits until everything posted has run and the threads have ended, for at most `limit` if there is one. Returns
    /// at once in one of these threads.
    pub(super) fn finish(&self, limit: Option<Duration>) {
        let end = limit.map(|limit| Instant::now() + limit);
        let mut state = self.lock();
        let this = current().id();
        if state.threads.iter().any(|thread| thread.thread().id() == this) {
            return;
        }
        while state.count > 0 {
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                // They end by themselves once the user's code returns.
                return;
            }
            state = match end {
                None => self.ended.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(_) => self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        for thread in threads {
            let _ = unwind::join(thread);
        }
    }
}

/// Wakes a task.
pub(super) fn wake(waker: Waker) -> Notice {
    Notice::Run(Box::new(|| waker.wake()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn notice(run: impl FnOnce() + Send + 'static) -> Notice {
        Notice::Run(Box::new(run))
    }

    /// Runs these, and waits for their end.
    fn run_all(callbacks: &Arc<Callbacks>, notices: impl IntoIterator<Item = Notice>) {
        callbacks.post(notices);
        callbacks.finish(None);
        let state = callbacks.lock();
        assert_eq!((state.count, state.running, state.queue.len(), state.threads.len()), (0, 0, 0, 0));
    }

    fn all<T>(received: Receiver<T>) -> Vec<T> {
        received.into_iter().collect()
    }

    #[test]
    fn each_runs_once_and_in_order() {
        let callbacks = Arc::new(Callbacks::default());
        let (send, received) = channel();
        for part in 0..10_u32 {
            let numbers = (part * 100..(part + 1) * 100).map(|number| {
                let send = send.clone();
                notice(move || {
                    send.send(number).unwrap();
                    if number.is_multiple_of(7) {
                        // A panic, without its message.
                        std::panic::resume_unwind(Box::new("the others run nevertheless"));
                    }
                })
            });
            callbacks.post(numbers);
        }
        drop(send);
        run_all(&callbacks, []);
        assert_eq!(all(received), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn each_may_wait_for_a_later_one() {
        const DEPTH: usize = 5;
        let callbacks = Arc::new(Callbacks::default());
        let mut notices = Vec::new();
        // The notice with the number n waits for the one with the number n + 1.
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..DEPTH).map(|_| channel::<()>()).unzip();
        for (number, receiver) in receivers.into_iter().enumerate() {
            let tell = number.checked_sub(1).map(|before| senders[before].clone());
            notices.push(notice(move || {
                if number + 1 < DEPTH {
                    receiver.recv().unwrap();
                }
                tell.into_iter().for_each(|tell| tell.send(()).unwrap());
            }));
        }
        run_all(&callbacks, notices);
    }

    #[test]
    fn a_thread_is_there_while_it_is_needed() {
        let callbacks = Arc::new(Callbacks::default());
        callbacks.keep();
        assert_eq!(callbacks.lock().count, 0, "none before the first notice");
        let (send, received) = channel();
        for number in 0..100 {
            let send = send.clone();
            callbacks.post([notice(move || send.send((number, current().id())).unwrap())]);
            let (got, _) = received.recv().unwrap();
            assert_eq!(got, number);
        }
        assert!((1..=MOST_SPARE).contains(&callbacks.lock().count));
        callbacks.let_end();
        run_all(&callbacks, []);
    }

    #[test]
    fn the_end_waits_for_a_limited_time_and_never_for_itself() {
        let callbacks = Arc::new(Callbacks::default());
        let (release, released) = channel::<()>();
        let (tell, told) = channel();
        let inner = Arc::clone(&callbacks);
        callbacks.post([notice(move || {
            inner.finish(None);
            tell.send(()).unwrap();
            let _ = released.recv();
        })]);
        told.recv().unwrap();
        callbacks.finish(Some(Duration::from_millis(1)));
        assert_eq!(callbacks.lock().running, 1, "it goes on");
        drop(release);
        run_all(&callbacks, []);
    }
}
