//! Asynchronous streams: results one by one, while the call goes on.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::{FusedStream, Stream};

use super::call::Call;
use super::imap::Results;
use super::source::Source;
use super::{Job, Mode, PoolHandle};
use crate::engine::{Awaits, Engine};
use crate::error::Error;
use crate::ids::JobId;
use crate::task::{BorrowsFrom, ExitOf, InitOf, RunsOn, Task};

/// A poll that has taken this long returns, so that other tasks of the executor run before the input is asked again.
const LONG_POLL: Duration = Duration::from_micros(200);

/// The results of a call as a [`Stream`], while it goes on; from `par_stream` and `par_stream_unordered`.
///
/// It runs under any executor and blocks its thread only if the input does: a thread of the pool wakes the task when
/// results arrive or there is room for more items, and enforces time limits and notices dead workers between polls. The
/// input runs in the executor's thread: opening the stream and each poll ask its iterator for items. For one that
/// blocks, as a channel's does, use [`Imap`](crate::Imap) in a thread of its own. Opening a stream also starts the
/// pool's workers if there are none yet, and takes as long as that does.
///
/// As with [`Imap`](crate::Imap), a failed task is one item that is an error, results that were not taken yet are
/// limited by `max_tasks_active`, and dropping the stream cancels the rest of the call; the pool can be used again at
/// once. The stream is `Unpin`, it is `Send` if the input's iterator is, and `'static` if the pool and the input are
/// borrowed for that long.
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
    // Dropped before the results, so that a stream that is given up is not woken at the end of its call.
    attachment: Option<Attachment<'p>>,
    results: Results<'p, 'i, T, I>,
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> fmt::Debug for ResultStream<'_, 'i, T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultStream").field("is_terminated", &self.is_terminated()).finish_non_exhaustive()
    }
}

impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> ResultStream<'p, 'i, T, I> {
    fn new(call: Result<Call<'p, 'i, T, I>, Error>, ordered: bool, pool: &'p PoolHandle) -> Self {
        let opened = call.and_then(|call| Ok((Attachment::new(pool, call.job)?, call)));
        let (attachment, call) = match opened {
            Ok((attachment, call)) => (Some(attachment), Ok(call)),
            Err(error) => (None, Err(error)),
        };
        Self { attachment, results: Results::new(call, ordered, pool.workers(), false) }
    }
}

// Nothing in it is ever pinned.
impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Unpin for ResultStream<'_, 'i, T, I> {}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Stream for ResultStream<'_, 'i, T, I> {
    type Item = Result<T::Output, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { attachment, results } = self.get_mut();
        results.forget_last_check();
        // Most polls find a result: the clock is asked only when there is none.
        let mut began = None;
        loop {
            let began = match results.next_now() {
                Poll::Ready(Some(result)) => return Poll::Ready(Some(result)),
                Poll::Ready(None) => {
                    let stopped = attachment
                        .as_ref()
                        .map_or(Poll::Ready(Ok(())), |attachment| attachment.poll_stopped(cx));
                    let error = results.take_error(ready!(stopped));
                    *attachment = None;
                    return Poll::Ready(error.map(Err));
                }
                Poll::Pending => *began.get_or_insert_with(Instant::now),
            };
            results.turn(false);
            let (Some(call), Some(attachment)) = (results.pending_call(), &*attachment) else { continue };
            if call.needs_input() {
                if began.elapsed() > LONG_POLL {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            } else if attachment.register_waker(Awaits::Job(attachment.job), cx) {
                return Poll::Pending;
            }
        }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> FusedStream for ResultStream<'_, 'i, T, I> {
    fn is_terminated(&self) -> bool {
        self.results.is_exhausted()
    }
}

/// A stream's attachment to its pool: while it lives, the background driver drives the call between polls.
struct Attachment<'p> {
    keeps_workers: bool,
    engine: &'p Engine,
    job: JobId,
}

impl<'p> Attachment<'p> {
    fn new(pool: &'p PoolHandle, job: JobId) -> Result<Self, Error> {
        let attachment = Self { keeps_workers: pool.config().policy.keep_alive, engine: pool.engine(), job };
        pool.background().attach_stream(pool.engine(), job)?;
        Ok(attachment)
    }

    /// Has the task woken when what is awaited may have happened. Returns false if it may have happened already.
    fn register_waker(&self, awaits: Awaits, cx: &Context<'_>) -> bool {
        // In a fork nothing would wake it. The next turn returns the error that says so.
        if !self.engine.is_here() {
            return false;
        }
        let mut waker = Some(cx.waker().clone());
        self.engine.register_waker(self.job, awaits, &mut waker)
    }

    /// Ready when the workers that were to end with the call have ended.
    fn poll_stopped(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.engine.check()?;
        if self.keeps_workers {
            return Poll::Ready(Ok(()));
        }
        loop {
            match self.engine.poll_stopped() {
                Ok(stopped) => return Poll::Ready(stopped),
                Err(awaits) if self.register_waker(awaits, cx) => return Poll::Pending,
                Err(_) => {}
            }
        }
    }
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        if !self.engine.is_here() {
            return;
        }
        self.engine.close_stream(self.job);
    }
}

/// Calls that return streams, with the feature `stream`.
impl<'p, T, S, I, E, O> Job<'p, T, S, I, E, O>
where
    T: Task + BorrowsFrom<S>,
    I: InitOf<T::State> + BorrowsFrom<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Runs the task over the items; returns the results as a [`Stream`], in input order, while the call goes on. An
    /// error that ends the whole call is the last item.
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
    #[track_caller]
    pub fn stream<'i, C>(mut self, items: C) -> ResultStream<'p, 'i, T, C::IntoIter>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        C: IntoIterator<Item = T::Item<'i>>,
    {
        let pool = self.pool;
        ResultStream::new(self.open(Source::asked(items), Mode::Outcomes { bounded: true }), true, pool)
    }

    /// Like [`stream`](Self::stream), but the results come in the order in which tasks finish.
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
    #[track_caller]
    pub fn stream_unordered<'i, C>(mut self, items: C) -> ResultStream<'p, 'i, T, C::IntoIter>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        C: IntoIterator<Item = T::Item<'i>>,
    {
        let pool = self.pool;
        ResultStream::new(self.open(Source::asked(items), Mode::Outcomes { bounded: true }), false, pool)
    }
}
