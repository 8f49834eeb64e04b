//! Results one by one, while the job goes on; as asynchronous streams.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::{FusedStream, Stream};

use super::call::Call;
use super::imap::Results;
use super::{Job, Mode, PoolHandle};
use crate::engine::{Awaits, Engine};
use crate::error::Error;
use crate::ids::JobId;
use crate::task::{ExitOf, InitOf, RunsOn, Task};

/// A poll that has taken so long lets others run before it asks the input for more.
const LONG_POLL: Duration = Duration::from_micros(200);

/// The results of a job as a [`Stream`], while it goes on; from `par_stream` and `par_stream_unordered`.
///
/// It runs under any executor, whose thread never waits in it: a thread of the pool wakes the task when there are
/// results, or room for more items. That thread also sees to time limits and dead workers while nobody polls. Only the
/// input's own time is the executor's: its iterator is asked in a poll. Opening a stream starts the pool's workers
/// where there are none yet.
///
/// As with [`Imap`](crate::Imap), a task that fails is one item that is an error, results that were not taken yet are
/// bounded by `max_tasks_active`, and dropping the stream ends the job; the pool can be used at once. It is `Unpin`,
/// `Send` if the input's iterator is, and `'static` if the pool and the input are borrowed for so long.
///
/// ```
/// use futures::StreamExt;
/// use pool::{WorkerPool, worker_task};
///
/// #[worker_task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), pool::Error> {
///     let pool = WorkerPool::new(2)?;
///     futures::executor::block_on(async {
///         let mut squares = square::par_stream(&pool, 1..);
///         while let Some(square) = squares.next().await.transpose()? {
///             if square > 100 {
///                 assert_eq!(square, 121);
///                 break;
///             }
///         }
///         Ok(())
///     })
/// }
/// ```
#[must_use = "its results come as they are asked for, and dropping it ends the call"]
pub struct ResultStream<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    // Before the results: a stream that is given up is not woken at the end of its job.
    place: Option<Place<'p>>,
    results: Results<'p, 'i, T, I>,
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> fmt::Debug for ResultStream<'_, 'i, T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultStream").field("is_terminated", &self.is_terminated()).finish_non_exhaustive()
    }
}

impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> ResultStream<'p, 'i, T, I> {
    fn new(running: Result<Call<'p, 'i, T, I>, Error>, ordered: bool, pool: &'p PoolHandle) -> Self {
        let opened = running.and_then(|running| Ok((Place::take(pool, running.job)?, running)));
        let (place, running) = match opened {
            Ok((place, running)) => (Some(place), Ok(running)),
            Err(error) => (None, Err(error)),
        };
        Self { place, results: Results::new(running, ordered, pool.config().workers) }
    }
}

// Nothing in it is ever pinned.
impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Unpin for ResultStream<'_, 'i, T, I> {}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Stream for ResultStream<'_, 'i, T, I> {
    type Item = Result<T::Output, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { place, results } = self.get_mut();
        results.resume();
        // Most results are there already, and no clock is asked for those.
        let mut began = None;
        loop {
            let began = match results.next_now() {
                Poll::Ready(Some(result)) => return Poll::Ready(Some(result)),
                Poll::Ready(None) => {
                    let rested = place.as_ref().map_or(Poll::Ready(Ok(())), |place| place.poll_rest(cx));
                    let error = results.take_error(ready!(rested));
                    *place = None;
                    return Poll::Ready(error.map(Err));
                }
                Poll::Pending => *began.get_or_insert_with(Instant::now),
            };
            results.pump(false);
            let (Some(running), Some(place)) = (results.awaited(), &*place) else { continue };
            if running.input.is_short() {
                if began.elapsed() > LONG_POLL {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            } else if place.sleep(Awaits::Job(place.job), cx) {
                return Poll::Pending;
            }
        }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> FusedStream for ResultStream<'_, 'i, T, I> {
    fn is_terminated(&self) -> bool {
        self.results.is_told()
    }
}

/// A stream's place in its pool: as long as it has one, the background driver drives between polls.
struct Place<'p> {
    keeps_workers: bool,
    engine: &'p Engine,
    job: JobId,
}

impl<'p> Place<'p> {
    fn take(pool: &'p PoolHandle, job: JobId) -> Result<Self, Error> {
        let place = Self { keeps_workers: pool.config().policy.keep_alive, engine: pool.engine(), job };
        pool.background().attach_stream(pool.engine(), job)?;
        Ok(place)
    }

    /// Has the task woken when what is awaited may be there; not if it may be there now.
    fn sleep(&self, awaits: Awaits, cx: &Context<'_>) -> bool {
        // Where nobody would wake it, the next turn says why.
        if !self.engine.is_here() {
            return false;
        }
        let mut waker = Some(cx.waker().clone());
        self.engine.register_waker(self.job, awaits, &mut waker)
    }

    /// Ready when the workers have ended that were to end with the call.
    fn poll_rest(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.engine.check()?;
        if self.keeps_workers {
            return Poll::Ready(Ok(()));
        }
        loop {
            match self.engine.poll_stopped() {
                Ok(stopped) => return Poll::Ready(stopped),
                Err(awaits) if self.sleep(awaits, cx) => return Poll::Pending,
                Err(_) => {}
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.engine.is_here() {
            return;
        }
        self.engine.close_stream(self.job);
    }
}

/// With the feature `stream`.
impl<'p, T, S, I, E, O> Job<'p, T, S, I, E, O>
where
    T: Task + RunsOn<S>,
    I: InitOf<T::State> + RunsOn<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// The results in input order as a stream, while the job goes on.
    ///
    /// ```
    /// use futures::TryStreamExt;
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let squares = square::job(&pool).max_tasks_active(10).stream(1..=3);
    ///     assert_eq!(futures::executor::block_on(squares.try_collect::<Vec<_>>())?, [1, 4, 9]);
    ///     Ok(())
    /// }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "stream")))]
    #[doc(alias = "par_stream")]
    pub fn stream<'i, C>(self, items: C) -> ResultStream<'p, 'i, T, C::IntoIter>
    where
        C: IntoIterator<Item = T::Item<'i>>,
    {
        let pool = self.pool;
        ResultStream::new(self.open(items.into_iter(), Mode::Outcomes { bounded: true }), true, pool)
    }

    /// The results in the order in which they come as a stream, while the job goes on.
    ///
    /// ```
    /// use futures::TryStreamExt;
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let sum = square::job(&pool).stream_unordered(1..=3).try_fold(0, async |sum, x| Ok(sum + x));
    ///     assert_eq!(futures::executor::block_on(sum)?, 14);
    ///     Ok(())
    /// }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "stream")))]
    #[doc(alias = "par_stream_unordered")]
    pub fn stream_unordered<'i, C>(self, items: C) -> ResultStream<'p, 'i, T, C::IntoIter>
    where
        C: IntoIterator<Item = T::Item<'i>>,
    {
        let pool = self.pool;
        ResultStream::new(self.open(items.into_iter(), Mode::Outcomes { bounded: true }), false, pool)
    }
}
