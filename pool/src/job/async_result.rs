//! Calls that return at once, and the [`AsyncResult`] that receives their result.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::Job;
use super::batch::Batch;
use super::cancel::{CallRef, CallSlot, CancelHandle};
use super::completion::{Arrivals, Completion};
use super::input::InputBuffer;
use super::room::Places;
use super::source::Source;
use crate::error::Error;
use crate::observe::End;
use crate::observe::progress::Progress;
use crate::task::{BorrowsFrom, ExitOf, InitOf, RunsOn, Task};
use crate::work::EncodedInput;

/// The result of a call that runs in the background; from `apply_async` and `map_async`. Also a future.
///
/// Wait for it with [`get`](Self::get), or await it in any executor: a thread of the pool drives the call, so a pending
/// future costs its executor nothing. Dropping the result does not cancel the call, unless it was made with
/// [`cancel_on_drop`](Self::cancel_on_drop), for a `select!` or a time limit. If the pool ends first, the result is
/// [`Error::Closed`].
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
pub struct AsyncResult<R> {
    completion: Arc<Completion>,
    read: Arc<dyn Fn(&Arrivals) -> Result<R, Error> + Send + Sync>,
    call: CallRef,
    cancels_on_drop: bool,
}

impl<R> std::fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

impl<R> AsyncResult<R> {
    fn new(
        completion: Arc<Completion>,
        read: Arc<dyn Fn(&Arrivals) -> Result<R, Error> + Send + Sync>,
        call: CallRef,
    ) -> Self {
        Self { completion, read, call, cancels_on_drop: false }
    }

    /// A result that is there from the start: the error of a call that could not be made.
    fn failed(error: Error) -> Self {
        let completion = Arc::new(Completion::default());
        let nobody_waits = completion.complete(Err(error));
        debug_assert!(nobody_waits.is_none());
        Self {
            completion,
            read: Arc::new(|_| Err(Error::Closed)),
            call: CallRef::Over,
            cancels_on_drop: false,
        }
    }

    /// Returns whether the result is there; never waits.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.completion.content().is_some()
    }

    /// Waits for the result, for at most `limit`, or without limit if it is `None`. Returns whether the result is
    /// there.
    pub fn wait(&self, limit: impl Into<Option<Duration>>) -> bool {
        if self.ready() {
            return true;
        }
        self.completion.wait_until(limit.into().and_then(|limit| Instant::now().checked_add(limit)))
    }

    /// Waits for the result and returns it. May be called again: each call decodes the result again.
    ///
    /// # Errors
    /// The error that the call ended with, as for [`Job::map`]; [`Error::Cancelled`] after [`cancel`](Self::cancel).
    pub fn get(&self) -> Result<R, Error> {
        self.wait(None);
        self.read_now().unwrap_or(Err(Error::Closed))
    }

    /// Waits for the result for at most `limit`, and returns it.
    ///
    /// # Errors
    /// [`Error::NotReady`] when the result is not there in time; others as for [`get`](Self::get).
    pub fn get_timeout(&self, limit: Duration) -> Result<R, Error> {
        if self.wait(limit) { self.get() } else { Err(Error::NotReady(limit)) }
    }

    /// Returns whether the result is there and is no error; never waits, but decodes the result.
    #[must_use]
    pub fn successful(&self) -> bool {
        self.read_now().is_some_and(|result| result.is_ok())
    }

    /// Cancels the call: its result becomes [`Error::Cancelled`], unless it is there already.
    pub fn cancel(&self) {
        self.call.cancel();
    }

    /// Returns a handle that can cancel this call, and no other one, for whoever has not the result itself.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::of_one(Arc::new(CallSlot::of(self.call.clone())))
    }

    /// Lets the call be cancelled when the result is dropped before it is there: for a `select!` or a time limit, after
    /// which nobody wants it any more.
    ///
    /// ```
    /// use futures::future::{Either, select};
    /// use pool::{Error, WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn nap(ms: u64) -> u64 {
    ///     std::thread::sleep(std::time::Duration::from_millis(ms));
    ///     ms
    /// }
    ///
    /// /// The answer that comes first. The worker that is at the other one is free again after half a second at most.
    /// async fn first(pool: &WorkerPool, a: u64, b: u64) -> Result<u64, Error> {
    ///     let (a, b) = (nap::apply_async(pool, a), nap::apply_async(pool, b));
    ///     match select(a.cancel_on_drop(), b.cancel_on_drop()).await {
    ///         Either::Left((answer, _)) | Either::Right((answer, _)) => answer,
    ///     }
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     assert_eq!(futures::executor::block_on(first(&pool, 60_000, 1))?, 1);
    ///     Ok(())
    /// }
    /// ```
    #[must_use = "the call is cancelled when this is dropped"]
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancels_on_drop = true;
        self
    }

    fn read_now(&self) -> Option<Result<R, Error>> {
        let content = self.completion.content()?;
        Some(match &*content {
            Ok(arrivals) => (self.read)(arrivals),
            Err(error) => Err(error.clone()),
        })
    }
}

impl<R: Send + 'static> AsyncResult<R> {
    /// Calls `then` with the result once it is there; never if the call fails.
    ///
    /// `then` runs in a thread of the pool that is there for callbacks, or at once in this one if the result is there
    /// and earlier callbacks of it have run. It may take its time, and it may call the pool and wait for that: the pool
    /// goes on meanwhile. Callbacks run one after another, in the order in which the results came. The next one waits
    /// for a tenth of a second at most, and then runs beside those that still run; so a callback may wait for another
    /// one, but not for more than 60 of them at a time. A panic of `then` is caught and ignored.
    ///
    /// [`join`](crate::WorkerPool::join) waits for all callbacks. The end of a pool that is dropped or terminated waits
    /// for half a second at most; a callback that takes longer ends by itself, and those that have not begun still run,
    /// with [`Error::Closed`] if the call had no result.
    pub fn on_success(self, then: impl FnOnce(&R) + Send + 'static) -> Self {
        self.on_result(|result| {
            if let Ok(value) = result {
                then(value);
            }
        })
    }

    /// Calls `then` with the error once the call has failed, as [`on_success`](Self::on_success) does with the result.
    pub fn on_error(self, then: impl FnOnce(&Error) + Send + 'static) -> Self {
        self.on_result(|result| {
            if let Err(error) = result {
                then(error);
            }
        })
    }

    /// Calls `then` with the result once it is there.
    fn on_result(self, then: impl FnOnce(&Result<R, Error>) + Send + 'static) -> Self {
        let result = self.share();
        self.completion.when_ready(Box::new(move || {
            if let Some(result) = result.read_now() {
                then(&result);
            }
        }));
        self
    }

    fn share(&self) -> Self {
        Self {
            completion: Arc::clone(&self.completion),
            read: Arc::clone(&self.read),
            call: self.call.clone(),
            cancels_on_drop: false,
        }
    }
}

impl<R> Drop for AsyncResult<R> {
    fn drop(&mut self) {
        if self.cancels_on_drop && !self.ready() {
            self.cancel();
        }
    }
}

impl<R> Future for AsyncResult<R> {
    type Output = Result<R, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.read_now() {
            return Poll::Ready(result);
        }
        // Wakers run the executor's code, which may take any lock: clone and drop them outside ours.
        let mut waker = Some(cx.waker().clone());
        if self.completion.register_waker(&mut waker) {
            return Poll::Pending;
        }
        Poll::Ready(self.read_now().unwrap_or(Err(Error::Closed)))
    }
}

impl<T, S, I, E, O> Job<'_, T, S, I, E, O>
where
    T: Task + BorrowsFrom<S>,
    I: InitOf<T::State> + BorrowsFrom<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Runs the task once, without waiting for its result. The item is encoded before this returns. Errors come through
    /// the [`AsyncResult`], also those of options, and [`Error::Busy`] where
    /// [`max_queue`](crate::WorkerPoolBuilder::max_queue) allows no more tasks.
    #[must_use = "without it nobody learns how the call went"]
    #[track_caller]
    pub fn apply_async(self, item: T::Item<'_>) -> AsyncResult<T::Output>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
    {
        self.apply_async_in(None, item)
    }

    /// Like [`apply_async`](Self::apply_async), but waits until the pool has room for another task, where
    /// [`max_queue`](crate::WorkerPoolBuilder::max_queue) bounds them. Those who wait get room in the order in which
    /// they asked. The item is encoded only then. Await the result that this gives for the task itself:
    ///
    /// ```
    /// use pool::{Error, WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn shrink(photo: Vec<u8>) -> Vec<u8> {
    ///     photo.into_iter().step_by(2).collect()
    /// }
    ///
    /// /// For a request that may wait for its turn.
    /// async fn thumbnail(pool: &WorkerPool, photo: Vec<u8>) -> Result<Vec<u8>, Error> {
    ///     shrink::job(pool).apply_async_when_ready(photo).await.await
    /// }
    ///
    /// /// For one that is refused while the service is busy: `None` could be its answer 503.
    /// async fn thumbnail_now(pool: &WorkerPool, photo: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    ///     match shrink::apply_async(pool, photo).await {
    ///         Ok(small) => Ok(Some(small)),
    ///         Err(Error::Busy { .. }) => Ok(None),
    ///         Err(error) => Err(error),
    ///     }
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), Error> {
    ///     let pool = WorkerPool::builder().workers(2).max_queue(100).build()?;
    ///     assert_eq!(futures::executor::block_on(thumbnail(&pool, vec![1, 2, 3]))?, [1, 3]);
    ///     assert_eq!(futures::executor::block_on(thumbnail_now(&pool, vec![1, 2, 3]))?, Some(vec![1, 3]));
    ///     Ok(())
    /// }
    /// ```
    #[expect(clippy::async_yields_async, reason = "who waits for room need not wait for the result")]
    #[track_caller]
    pub fn apply_async_when_ready(mut self, item: T::Item<'_>) -> impl Future<Output = AsyncResult<T::Output>>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
    {
        // Whoever polls the future did not make the call.
        self.options.called_at = Some(Location::caller());
        async move {
            let places = match self.pool.background().room() {
                Some(room) if self.pool.engine().is_here() => Some(room.wait().await),
                _ => None,
            };
            self.apply_async_in(places, item)
        }
    }

    #[track_caller]
    fn apply_async_in(self, places: Option<Places>, item: T::Item<'_>) -> AsyncResult<T::Output> {
        let (codec, site) = (self.pool.config().codec, self.site());
        self.submit(true, places, std::iter::once(item), move |arrivals| {
            arrivals.decode::<T>(codec, &site)?.pop().ok_or(Error::Closed)
        })
    }

    /// Runs the task over the items, without waiting; the results come in input order, and the first failed task ends
    /// the call. All items are encoded before this returns, and stay in memory until they are sent. Errors come through
    /// the [`AsyncResult`], also those of options; a panic of `items` goes through this call, which is then never made.
    /// If [`max_queue`](crate::WorkerPoolBuilder::max_queue) allows fewer tasks than there are items, the result is
    /// [`Error::Busy`], and the rest of them is not pulled.
    #[must_use = "without it nobody learns how the call went"]
    #[track_caller]
    pub fn map_async<'i>(self, items: impl IntoIterator<Item = T::Item<'i>>) -> AsyncResult<Vec<T::Output>>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
    {
        let (codec, site) = (self.pool.config().codec, self.site());
        self.submit(false, None, items.into_iter(), move |arrivals| arrivals.decode::<T>(codec, &site))
    }

    #[track_caller]
    fn submit<'i, R>(
        self,
        is_single: bool,
        places: Option<Places>,
        items: impl Iterator<Item = T::Item<'i>>,
        read: impl Fn(&Arrivals) -> Result<R, Error> + Send + Sync + 'static,
    ) -> AsyncResult<R> {
        self.try_submit(is_single, places, items, Arc::new(read)).unwrap_or_else(AsyncResult::failed)
    }

    #[track_caller]
    fn try_submit<'i, R>(
        mut self,
        is_single: bool,
        places: Option<Places>,
        items: impl Iterator<Item = T::Item<'i>>,
        read: Arc<dyn Fn(&Arrivals) -> Result<R, Error> + Send + Sync>,
    ) -> Result<AsyncResult<R>, Error> {
        let mut plan = self.options.plan(items.size_hint(), self.pool.config())?;
        plan.most_failed = Some(1);
        self.check_cancelled()?;
        let mut spec = self.spec(plan)?;
        let judge = self.options.judge::<T>(self.pool.config().codec, &spec.site);
        let codec = self.pool.config().codec;
        let most = self.options.max_items();
        let room = self.pool.background().room().filter(|_| places.is_none());
        let free = room.map_or(u64::MAX, |room| room.free() as u64);
        let refusal = |items: u64| if items > free { room.map(|room| room.busy()) } else { None };
        if let Some(busy) = refusal(most.min(items.size_hint().0 as u64)) {
            return Err(busy);
        }
        // One item beyond the free places shows that there is no room; no others are pulled then.
        let items = InputBuffer::<T, _>::new(Source::asked(items), most.min(free.saturating_add(1)), codec)
            .into_all();
        let tasks = items.len();
        if let Some(busy) = refusal(tasks) {
            return Err(busy);
        }
        let places = match room {
            Some(room) => Some(room.take(tasks as usize)?),
            None => places,
        };
        let progress = self.options.take(|extra| &mut extra.progress);
        let label = self.options.label.as_deref();
        let progress = progress.and_then(|request| Progress::new(request, Some(tasks), label));
        let completion = Arc::new(Completion::default());
        if tasks == 0 {
            progress.iter().for_each(|progress| progress.end(End::Done));
            let nobody_waits = completion.complete(Ok(Arrivals::new(Vec::new(), Vec::new())));
            debug_assert!(nobody_waits.is_none());
            return Ok(AsyncResult::new(completion, read, CallRef::Over));
        }
        let (engine, background) = (self.pool.engine(), self.pool.background());
        let is_alike = self.options.seed.is_none() && spec.deadline_ns.is_none() && progress.is_none();
        let call = if is_single && is_alike && !self.pool.config().order_tasks {
            completion.keep_places(places);
            background.submit_single(engine, Batch::new(spec, items, Arc::clone(&completion), judge))?;
            CallRef::Single(Arc::downgrade(engine), Arc::downgrade(background), Arc::clone(&completion))
        } else {
            spec.input = Some(EncodedInput::Items(Box::new(items)));
            let job = background.submit(engine, spec, &completion, (progress, places), judge)?;
            CallRef::Whole(Arc::downgrade(engine), job)
        };
        if let Some(slot) = self.options.cancel.get() {
            slot.made(&call);
        }
        Ok(AsyncResult::new(completion, read, call))
    }
}
