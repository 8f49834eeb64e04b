//! Calls that nobody waits for yet: their results come to an [`AsyncResult`].

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::call::decode;
use super::{Job, input};
use crate::codec::Codec;
use crate::engine::Engine;
use crate::error::Error;
use crate::ids::JobId;
use crate::observe::End;
use crate::observe::progress::Progress;
use crate::sys::identity::Owner;
use crate::task::{ExitOf, InitOf, RunsOn, Task};
use crate::unwind;
use crate::work::Arrival;

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
    engine: Weak<Engine>,
    job: JobId,
}

/// What came for a job, as bytes.
pub(super) struct Arrivals {
    arrivals: Vec<Arrival>,
    tape: Vec<u8>,
}

impl Arrivals {
    pub(super) fn new(arrivals: Vec<Arrival>, tape: Vec<u8>) -> Self {
        Self { arrivals, tape }
    }

    /// Decodes them, up to the first failure.
    fn open<T: Task>(&self, codec: Codec) -> Result<Vec<T::Output>, Error> {
        let (mut results, mut values) = (Vec::new(), Vec::new());
        for arrival in &self.arrivals {
            decode::<T>(arrival, &self.tape, codec, &mut values, |_, _, values| {
                results.append(values?);
                Ok(())
            })?;
        }
        Ok(results)
    }
}

/// Where a result is laid down.
pub(super) struct Completion {
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
    pub(super) fn content(&self) -> Option<Arc<Result<Arrivals, Error>>> {
        let Err(forked) = self.owner.check() else { return self.lock().content.clone() };
        // In a copy of the process nobody lays anything down any more, and whoever had the lock never gives it back.
        let laid = self.state.try_lock().ok().and_then(|state| state.content.clone());
        Some(laid.unwrap_or_else(|| Arc::new(Err(forked.into()))))
    }

    fn lock(&self) -> MutexGuard<'_, CompletionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays the result down and tells who waits for it.
    pub(super) fn complete(&self, content: Result<Arrivals, Error>) {
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
pub(super) fn call_back(callback: impl FnOnce()) {
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
        Self {
            completion,
            read: Arc::new(|_| Err(Error::Closed)),
            engine: Weak::new(),
            job: JobId::default(),
        }
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
        if let Some(engine) = self.engine.upgrade().filter(|engine| engine.is_here()) {
            engine.cancel(self.job, Error::Cancelled);
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
            engine: Weak::clone(&self.engine),
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
        let codec = self.pool.config().codec;
        self.submit(std::iter::once(item), move |arrivals| {
            arrivals.open::<T>(codec)?.pop().ok_or(Error::Closed)
        })
    }

    /// Runs the task over the items, without waiting; the results are in input order. The items are encoded now.
    pub fn map_async<'i>(self, items: impl IntoIterator<Item = T::Item<'i>>) -> AsyncResult<Vec<T::Output>> {
        let codec = self.pool.config().codec;
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
        let mut plan = self.options.plan(items.size_hint(), self.pool.config())?;
        plan.fail_fast = true;
        let mut spec = self.spec(plan)?;
        let codec = self.pool.config().codec;
        for (index, item) in
            items.take(usize::try_from(self.options.max_items()).unwrap_or(usize::MAX)).enumerate()
        {
            let mut bytes = Vec::new();
            input::encode::<T>(codec, &item, &mut bytes).map_err(|why| {
                let kind = crate::error::TaskErrorKind::Encode(crate::text::cut(why));
                crate::error::TaskError::new(T::name(), index, 0, 1, None, kind)
            })?;
            spec.encoded.push(bytes);
        }
        let tasks = spec.encoded.len() as u64;
        let progress = self.options.progress.take().and_then(|wanted| Progress::new(wanted, Some(tasks)));
        let completion = Arc::new(Completion::default());
        if spec.encoded.is_empty() {
            progress.iter().for_each(|progress| progress.end(End::Done));
            completion.complete(Ok(Arrivals::new(Vec::new(), Vec::new())));
            return Ok(AsyncResult { completion, read, engine: Weak::new(), job: JobId::default() });
        }
        let engine = self.pool.engine();
        let job = self.pool.background().submit(engine, spec, &completion, progress)?;
        Ok(AsyncResult { completion, read, engine: Arc::downgrade(engine), job })
    }
}
