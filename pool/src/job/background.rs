//! Calls that nobody waits for yet: their results lie with an [`AsyncResult`], and a *courier* thread drives the
//! pool while there are any, or streams that are open.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::call::open;
use super::{Job, input};
use crate::codec::Codec;
use crate::drive::{Awaits, Core};
use crate::error::Error;
use crate::ids::JobId;
use crate::observe::End;
use crate::observe::progress::Progress;
use crate::sys::identity::Owner;
use crate::task::{ExitOf, InitOf, RunsOn, Task};
use crate::unwind;
use crate::work::{Arrival, Inbox};

/// The result of a call that goes on in the background; also a future.
///
/// It can be awaited in any executor: what drives the call is a thread of the pool, so a pending future costs its
/// executor nothing. Dropping it does not end the call, as when a `select!` or a time limit gives it up; for that there
/// is [`cancel`](Self::cancel). When the pool is dropped first, the result is [`Error::Closed`].
///
/// ```
/// use pool::{WorkerPool, worker_task};
///
/// #[worker_task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// async fn sum_of_squares(pool: &WorkerPool, a: u64, b: u64) -> Result<u64, pool::Error> {
///     // Both are under way before the first is awaited.
///     let (a, b) = (square::apply_async(pool, a), square::apply_async(pool, b));
///     Ok(a.await? + b.await?)
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), pool::Error> {
///     let pool = WorkerPool::new(2)?;
///     assert_eq!(futures::executor::block_on(sum_of_squares(&pool, 3, 4))?, 25);
///     Ok(())
/// }
/// ```
#[must_use = "without the result nobody learns how the call went"]
pub struct AsyncResult<R> {
    completion: Arc<Completion>,
    read: Arc<dyn Fn(&Arrivals) -> Result<R, Error> + Send + Sync>,
    core: Weak<Core>,
    job: JobId,
}

/// What came for a job, as bytes.
struct Arrivals {
    arrivals: Vec<Arrival>,
    tape: Vec<u8>,
}

impl Arrivals {
    /// Decodes them, up to the first failure.
    fn open<T: Task>(&self, codec: Codec) -> Result<Vec<T::Output>, Error> {
        let (mut results, mut values) = (Vec::new(), Vec::new());
        for arrival in &self.arrivals {
            open::<T>(arrival, &self.tape, codec, &mut values, |_, _, values| {
                results.append(values?);
                Ok(())
            })?;
        }
        Ok(results)
    }
}

/// Where a result is laid down.
struct Completion {
    state: Mutex<CompletionState>,
    arrived: Condvar,
    owner: Owner,
}

type Callback = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct CompletionState {
    content: Option<Arc<Result<Arrivals, Error>>>,
    callbacks: Vec<Callback>,
    waker: Option<Waker>,
}

impl Default for Completion {
    fn default() -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), owner: Owner::here() }
    }
}

impl Completion {
    /// What was laid down, if that was done.
    fn content(&self) -> Option<Arc<Result<Arrivals, Error>>> {
        let Err(forked) = self.owner.check() else { return self.lock().content.clone() };
        // In a copy of the process nobody lays anything down any more, and whoever had the lock never gives it back.
        let laid = self.state.try_lock().ok().and_then(|state| state.content.clone());
        Some(laid.unwrap_or_else(|| Arc::new(Err(forked.into()))))
    }

    fn lock(&self) -> MutexGuard<'_, CompletionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays the result down and tells who waits for it.
    fn complete(&self, content: Result<Arrivals, Error>) {
        let (callbacks, waker) = {
            let mut state = self.lock();
            if state.content.is_none() {
                state.content = Some(Arc::new(content));
            }
            self.arrived.notify_all();
            (std::mem::take(&mut state.callbacks), state.waker.take())
        };
        if let Some(waker) = waker {
            call_back(|| waker.wake());
        }
        callbacks.into_iter().for_each(call_back);
    }
}

/// A callback, waker or bar that panics harms neither the pool, nor the others, nor whoever has registered it.
fn call_back(callback: impl FnOnce()) {
    let _ = unwind::catch(callback);
}

impl<R> std::fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

impl<R> AsyncResult<R> {
    /// A result that is there from the start: the call could not be made.
    fn failed(error: Error) -> Self {
        let completion = Arc::new(Completion::default());
        completion.complete(Err(error));
        Self { completion, read: Arc::new(|_| Err(Error::Closed)), core: Weak::new(), job: 0 }
    }

    /// Whether the result is there.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.completion.content().is_some()
    }

    /// Waits for the result, at most this long; without a limit for `None`. Says whether it is there.
    pub fn wait(&self, limit: impl Into<Option<Duration>>) -> bool {
        if self.ready() {
            return true;
        }
        let end = limit.into().and_then(|limit| Instant::now().checked_add(limit));
        let mut state = self.completion.lock();
        while state.content.is_none() {
            let arrived = &self.completion.arrived;
            state = match end {
                None => arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let Some(left) =
                        end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
                    else {
                        return false;
                    };
                    arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Waits for the result. May be called more than once.
    ///
    /// # Errors
    /// Why there is no result; [`Error::Cancelled`] after [`cancel`](Self::cancel).
    pub fn get(&self) -> Result<R, Error> {
        self.wait(None);
        self.read_now().unwrap_or(Err(Error::Closed))
    }

    /// Waits for the result, at most this long.
    ///
    /// # Errors
    /// [`Error::NotReady`] when the time is over; else as for [`get`](Self::get).
    pub fn get_timeout(&self, limit: Duration) -> Result<R, Error> {
        if self.wait(limit) { self.get() } else { Err(Error::NotReady(limit)) }
    }

    /// Whether the result is there and is no error.
    #[must_use]
    pub fn successful(&self) -> bool {
        self.read_now().is_some_and(|result| result.is_ok())
    }

    /// Ends the call, unless its result is there already: it becomes [`Error::Cancelled`].
    pub fn cancel(&self) {
        if let Some(core) = self.core.upgrade().filter(|core| core.is_here()) {
            core.change(|state| state.cancel(self.job, Error::Cancelled));
        }
    }

    fn read_now(&self) -> Option<Result<R, Error>> {
        let content = self.completion.content()?;
        Some(match &*content {
            Ok(arrivals) => (self.read)(arrivals),
            Err(error) => Err(error.clone()),
        })
    }

    fn when_ready(&self, callback: Callback) {
        if self.ready() {
            return call_back(callback);
        }
        let mut state = self.completion.lock();
        if state.content.is_none() {
            return state.callbacks.push(callback);
        }
        drop(state);
        call_back(callback);
    }
}

impl<R: Send + 'static> AsyncResult<R> {
    /// Calls `then` with the result when it is there, in a thread of this process; not if the call fails. A panic of
    /// `then` ends there.
    pub fn on_success(self, then: impl FnOnce(&R) + Send + 'static) -> Self {
        let result = self.again();
        self.when_ready(Box::new(move || {
            if let Some(Ok(value)) = result.read_now() {
                then(&value);
            }
        }));
        self
    }

    /// Calls `then` with the error when the call has failed, in a thread of this process. A panic of `then` ends
    /// there.
    pub fn on_error(self, then: impl FnOnce(&Error) + Send + 'static) -> Self {
        let result = self.again();
        self.when_ready(Box::new(move || {
            if let Some(Err(error)) = result.read_now() {
                then(&error);
            }
        }));
        self
    }

    fn again(&self) -> Self {
        Self {
            completion: Arc::clone(&self.completion),
            read: Arc::clone(&self.read),
            core: Weak::clone(&self.core),
            job: self.job,
        }
    }
}

impl<R> Future for AsyncResult<R> {
    type Output = Result<R, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.read_now() {
            return Poll::Ready(result);
        }
        // Wakers are the executor's code: they are cloned and dropped outside the lock.
        let mut waker = Some(cx.waker().clone());
        let mut state = self.completion.lock();
        if state.content.is_none() {
            std::mem::swap(&mut state.waker, &mut waker);
            return Poll::Pending;
        }
        drop(state);
        Poll::Ready(self.read_now().unwrap_or(Err(Error::Closed)))
    }
}

impl<T, S, I, E, O> Job<'_, T, S, I, E, O>
where
    T: Task + RunsOn<S>,
    I: InitOf<T::State> + RunsOn<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Runs the task once, without waiting. The item is encoded now.
    pub fn apply_async(self, item: T::Item<'_>) -> AsyncResult<T::Output> {
        let codec = self.pool.codec();
        self.submit(std::iter::once(item), move |arrivals| {
            arrivals.open::<T>(codec)?.pop().ok_or(Error::Closed)
        })
    }

    /// Runs the task over the items, without waiting; the results are in input order. The items are encoded now.
    pub fn map_async<'i>(self, items: impl IntoIterator<Item = T::Item<'i>>) -> AsyncResult<Vec<T::Output>> {
        let codec = self.pool.codec();
        self.submit(items.into_iter(), move |arrivals| arrivals.open::<T>(codec))
    }

    fn submit<'i, R>(
        self,
        items: impl Iterator<Item = T::Item<'i>>,
        read: impl Fn(&Arrivals) -> Result<R, Error> + Send + Sync + 'static,
    ) -> AsyncResult<R> {
        self.try_submit(items, Arc::new(read)).unwrap_or_else(AsyncResult::failed)
    }

    fn try_submit<'i, R>(
        mut self,
        items: impl Iterator<Item = T::Item<'i>>,
        read: Arc<dyn Fn(&Arrivals) -> Result<R, Error> + Send + Sync>,
    ) -> Result<AsyncResult<R>, Error> {
        let mut plan = self.options.plan(items.size_hint(), self.pool.killable())?;
        plan.fail_fast = true;
        let mut slot = self.slot(&mut plan)?;
        slot.is_background = true;
        let codec = self.pool.codec();
        let mut encoded = Vec::new();
        for (index, item) in items.take(usize::try_from(self.options.cut()).unwrap_or(usize::MAX)).enumerate()
        {
            let mut bytes = Vec::new();
            input::encode::<T>(codec, &item, &mut bytes).map_err(|why| {
                let kind = crate::error::TaskErrorKind::Encode(crate::text::cut(why));
                crate::error::TaskError::new(T::entry().name(), index, 0, 1, None, kind)
            })?;
            encoded.push(bytes);
        }
        let tasks = encoded.len() as u64;
        let progress = self.options.progress.take().and_then(|wanted| Progress::new(wanted, Some(tasks)));
        let completion = Arc::new(Completion::default());
        if encoded.is_empty() {
            progress.iter().for_each(|progress| progress.end(End::Done));
            completion.complete(Ok(Arrivals { arrivals: Vec::new(), tape: Vec::new() }));
            return Ok(AsyncResult { completion, read, core: Weak::new(), job: 0 });
        }
        let core = self.pool.core_arc();
        let job = self.pool.background().send(
            core,
            |core| core.open(slot, plan, encoded),
            &completion,
            progress,
        )?;
        Ok(AsyncResult { completion, read, core: Arc::downgrade(core), job })
    }
}

/// Drives the pool while asynchronous calls are under way, delivers their results, and wakes streams.
#[derive(Default)]
pub(crate) struct BackgroundDriver {
    desk: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    letters: HashMap<JobId, PendingCall>,
    thread: Option<JoinHandle<()>>,
    running: bool,
}

/// So many panics of this crate's own code a thread survives: one may be a matter of one call only.
const MOST_PANICS: u32 = 16;

/// A letter that is being written. Dropped before that is done, it says that the call was cancelled: nobody waits for
/// it in vain.
struct PendingCall {
    completion: Arc<Completion>,
    inbox: Inbox,
    progress: Option<Progress>,
}

impl PendingCall {
    /// Ends the bar, and lays the result down.
    fn deliver(mut self, end: End, content: Result<Arrivals, Error>) {
        self.end(end);
        self.completion.complete(content);
    }

    fn end(&mut self, end: End) {
        if let Some(progress) = self.progress.take() {
            call_back(|| progress.end(end));
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.end(End::Interrupted);
        if self.completion.content().is_none() {
            self.completion.complete(Err(Error::Cancelled));
        }
    }
}

impl BackgroundDriver {
    fn desk(&self) -> MutexGuard<'_, Calls> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a job whose results go to this letter.
    fn send(
        self: &Arc<Self>,
        core: &Arc<Core>,
        open: impl FnOnce(&Core) -> Result<JobId, Error>,
        completion: &Arc<Completion>,
        progress: Option<Progress>,
    ) -> Result<JobId, Error> {
        let mut desk = self.desk();
        // Workers are started before the courier's thread: a fork wants no other threads.
        let job = open(core)?;
        let completion = Arc::clone(completion);
        desk.letters.insert(job, PendingCall { completion, inbox: Inbox::default(), progress });
        self.start(&mut desk, core)?;
        Ok(job)
    }

    /// Drives while the stream of this job is open.
    #[cfg(feature = "stream")]
    pub(super) fn attach_stream(self: &Arc<Self>, core: &Arc<Core>, job: JobId) -> Result<(), Error> {
        let mut desk = self.desk();
        core.change_silently(|state| state.open_stream(job));
        self.start(&mut desk, core)
    }

    /// Sees to it that the thread runs.
    fn start(self: &Arc<Self>, desk: &mut Calls, core: &Arc<Core>) -> Result<(), Error> {
        if !desk.running {
            let (background, core) = (Arc::clone(self), Arc::clone(core));
            crate::sys::threads::expect_own();
            let thread =
                thread::Builder::new().name("pool background".into()).spawn(move || background.run(&core));
            desk.thread = Some(thread.map_err(|error| Error::start("the background thread", error))?);
            desk.running = true;
        }
        Ok(())
    }

    fn run(&self, core: &Core) {
        self.serve_again(|| self.serve(core), || self.give_up(core));
    }

    /// Serves until that comes to its end. User code is caught where it is called. Should anything else panic, what
    /// waits for this thread ends with an error, and the thread goes on for what comes after. A panic that comes again
    /// in each round would keep it busy for ever, as long as a stream is open: so the thread ends, and the next call
    /// starts another.
    fn serve_again(&self, serve: impl Fn(), give_up: impl Fn()) {
        for _ in 0..MOST_PANICS {
            if unwind::catch(&serve).is_ok() {
                return;
            }
            let _ = unwind::catch(&give_up);
        }
        let letters = {
            let mut desk = self.desk();
            desk.running = false;
            std::mem::take(&mut desk.letters)
        };
        for letter in letters.into_values() {
            let why = "it has panicked again and again: that is a bug of `pool`, which its stderr shows the place of";
            letter.deliver(End::Interrupted, Err(Error::start("the background thread", why)));
        }
    }

    /// Cancels the calls whose results go to letters, and the streams' calls.
    fn give_up(&self, core: &Core) {
        if core.is_here() {
            let letters = std::mem::take(&mut self.desk().letters);
            let wakers = core.change_silently(|state| {
                state.cancel_all(&Error::Cancelled);
                letters.keys().for_each(|job| state.close(*job));
                state.take_wakers()
            });
            wakers.into_iter().for_each(|waker| call_back(|| waker.wake()));
        }
    }

    /// Drives until there is nothing to drive for.
    fn serve(&self, core: &Core) {
        loop {
            if !core.is_here() {
                // A callback has forked: its copy of this thread is the only thread there, and has nobody to serve.
                return;
            }
            let (mut finished, mut moved) = (Vec::new(), Vec::new());
            let wakers = {
                let mut desk = self.desk();
                if desk.letters.is_empty() && !core.lock().has_streams() {
                    desk.running = false;
                    return;
                }
                core.change_silently(|state| {
                    state.drive();
                    let mut done_with = Vec::new();
                    for (job, PendingCall { inbox, progress, .. }) in &mut desk.letters {
                        let mut news = Inbox::default();
                        state.take_inbox(*job, &mut news);
                        let (done, failed) = news.outcomes();
                        state.taken(*job, done + failed, 0);
                        moved.extend(progress.clone().map(|progress| (progress, done, failed)));
                        inbox.append(news);
                        if inbox.end.is_some() || inbox.outcomes().1 > 0 {
                            done_with.push(*job);
                        }
                    }
                    for job in done_with {
                        state.close(job);
                        finished.extend(desk.letters.remove(&job));
                    }
                    state.take_wakers()
                })
            };
            // What there is to tell is told now that the desk is free.
            core.change(|_| ());
            // Callbacks may have taken their time: what has happened meanwhile is taken in before a sleep.
            let idle = finished.is_empty() && wakers.is_empty();
            for waker in wakers {
                call_back(|| waker.wake());
            }
            for (progress, done, failed) in moved {
                call_back(|| progress.count(done, failed));
            }
            for mut mail in finished {
                let Inbox { end, mut arrivals, tape, .. } = std::mem::take(&mut mail.inbox);
                let end = end.unwrap_or(Ok(()));
                arrivals.sort_by_key(|arrival| arrival.index);
                let failed = arrivals.iter().position(Arrival::is_failed);
                if let Some(place) = failed {
                    arrivals.drain(..place);
                }
                let how = if failed.is_some() { End::Failed } else { End::of(&end) };
                mail.deliver(
                    how,
                    match (end, failed) {
                        (Err(error), None) => Err(error),
                        _ => Ok(Arrivals { arrivals, tape }),
                    },
                );
            }
            if idle {
                core.wait(Awaits::Background);
            }
        }
    }

    /// Waits until the thread has ended. The core must be closed, or without asynchronous calls.
    pub(crate) fn finish(&self) {
        let thread = self.desk().thread.take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // The thread catches what callbacks do; if it panicked all the same, its letters are answered below.
            let _ = unwind::join(thread);
        }
        let letters = std::mem::take(&mut self.desk().letters);
        for mail in letters.into_values() {
            mail.deliver(End::Interrupted, Err(Error::Closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A driver whose thread runs, and a call that waits for it.
    fn driver() -> (BackgroundDriver, Arc<Completion>) {
        let (driver, completion) = (BackgroundDriver::default(), Arc::new(Completion::default()));
        let call =
            PendingCall { completion: Arc::clone(&completion), inbox: Inbox::default(), progress: None };
        let mut desk = driver.desk();
        desk.running = true;
        desk.letters.insert(1, call);
        drop(desk);
        (driver, completion)
    }

    #[test]
    fn a_panic_in_each_round_ends_the_thread_and_what_waits_for_it() {
        for gives_up in [true, false] {
            let (driver, completion) = driver();
            let rounds = Cell::new(0);
            let serve = || {
                rounds.set(rounds.get() + 1);
                // What the real one holds as it panics.
                let _desk = driver.desk();
                panic!("a bug of the crate's own");
            };
            let give_up = || {
                assert!(gives_up, "another one");
                driver.desk().letters.clear();
            };
            driver.serve_again(serve, give_up);
            assert_eq!(rounds.get(), MOST_PANICS);
            assert!(!driver.desk().running, "the next call starts a thread");
            match completion.content().as_deref() {
                Some(Err(Error::Cancelled)) if gives_up => {}
                Some(Err(error @ Error::Start { .. })) if !gives_up => {
                    assert!(error.to_string().contains("again and again"), "{error}");
                }
                _ => panic!("nobody has ended the call"),
            }
        }
    }

    #[test]
    fn one_panic_costs_the_calls_of_then_only() {
        let (driver, completion) = driver();
        let rounds = Cell::new(0);
        let serve = || {
            rounds.set(rounds.get() + 1);
            assert!(rounds.get() > 1, "a bug that shows once");
        };
        driver.serve_again(serve, || driver.desk().letters.clear());
        assert_eq!(rounds.get(), 2);
        assert!(driver.desk().running, "it has ended as it always does: that says so itself");
        assert!(matches!(completion.content().as_deref(), Some(Err(Error::Cancelled))));
    }
}
