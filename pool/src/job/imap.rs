//! Results one by one, while the job goes on; as lazy iterators.

use std::collections::VecDeque;
use std::iter::FusedIterator;
use std::task::Poll;

use super::MOST_HELD_BYTES;
use super::call::Call;
use crate::error::Error;
use crate::task::Task;

/// What has come of a job's results, and the job that brings the others.
pub(super) struct Results<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    /// When it is over: the error that ended it, until that is told.
    running: Result<Call<'p, 'i, T, I>, Option<Error>>,
    /// Results that came: in input order with gaps, or as they came.
    ready: VecDeque<Option<Held<T::Output>>>,
    /// The index of the first of them.
    next: u64,
    ordered: bool,
    over: Option<Result<(), Error>>,
}

/// When so many bytes of results were taken, the pool hears of it before there is nothing left to take.
const MANY_BYTES: u64 = MOST_HELD_BYTES / 4;

/// A result that waits to be taken, and how many bytes it counts as.
struct Held<R> {
    result: Result<R, Error>,
    bytes: u64,
}

impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> Results<'p, 'i, T, I> {
    pub(super) fn new(running: Result<Call<'p, 'i, T, I>, Error>, ordered: bool, workers: usize) -> Self {
        let running = running.map_err(Some);
        let mut results = Self { running, ready: VecDeque::new(), next: 0, ordered, over: None };
        // Work starts with the call, not with the first question: once for each worker, so that a slow input is not
        // waited for longer than that.
        for _ in 0..workers {
            results.pump(false);
            if results.over.is_some() {
                break;
            }
        }
        results
    }

    /// The job moves on once; if it `wait`s, at what comes next.
    pub(super) fn pump(&mut self, wait: bool) {
        let Self { running, ready, next, ordered, over } = self;
        let Ok(running) = running else { return };
        *over = running.pump(wait, |index, bytes, values| {
            let mut place = if *ordered { (index - *next) as usize } else { ready.len() };
            match values {
                Ok(values) => {
                    for value in values.drain(..) {
                        lay(ready, place, Held { result: Ok(value), bytes });
                        place += 1;
                    }
                }
                Err(error) => lay(ready, place, Held { result: Err(Error::Task(error)), bytes }),
            }
            Ok(())
        });
    }

    /// The next result, if it is there. `None` when there are no more: then the job is closed.
    pub(super) fn next_now(&mut self) -> Poll<Option<Result<T::Output, Error>>> {
        if self.over.is_none() && self.running.as_ref().is_ok_and(|running| running.taken_bytes >= MANY_BYTES)
        {
            // Workers may wait for the room.
            self.pump(false);
        }
        if let Some(Some(_)) = self.ready.front() {
            self.next += 1;
            let held = self.ready.pop_front().flatten();
            if let (Ok(running), Some(held)) = (&mut self.running, &held) {
                running.taken += 1;
                running.taken_bytes += held.bytes;
            }
            return Poll::Ready(held.map(|held| held.result));
        }
        if let Some(end) = self.over.take() {
            self.running = Err(end.err());
        }
        if self.running.is_ok() { Poll::Pending } else { Poll::Ready(None) }
    }

    /// What the caller has done since the last result is not known.
    pub(super) fn resume(&mut self) {
        if let Ok(running) = &mut self.running {
            running.watched = None;
        }
    }

    /// The error that a job that is over has ended with, else what its workers' end has come to; told once.
    pub(super) fn take_error(&mut self, rested: Result<(), Error>) -> Option<Error> {
        let ended = self.running.as_mut().err().and_then(Option::take);
        ended.or(rested.err())
    }
}

#[cfg(feature = "stream")]
impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> Results<'p, 'i, T, I> {
    /// The job, when nothing but its moving on can bring the next result.
    pub(super) fn awaited(&self) -> Option<&Call<'p, 'i, T, I>> {
        let is_there = matches!(self.ready.front(), Some(Some(_))) || self.over.is_some();
        self.running.as_ref().ok().filter(|_| !is_there)
    }

    /// Whether all that has come of the job was told.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.running, Err(None)) && self.ready.is_empty()
    }
}

/// Lays a result at its place, maybe behind a gap.
fn lay<R>(ready: &mut VecDeque<Option<R>>, place: usize, result: R) {
    if place >= ready.len() {
        ready.resize_with(place, || None);
        ready.push_back(Some(result));
    } else {
        ready[place] = Some(result);
    }
}

/// The results of a job, one by one, while it goes on; from `par_imap` and `par_imap_unordered`.
///
/// The job moves on while the iterator is asked for results. Results that were not asked for yet are bounded by
/// `max_tasks_active`; without it by 64 MiB, as they are encoded, and by their number. Dropping the iterator ends the
/// job; the pool can be used at once.
#[must_use = "its results come as they are asked for, and dropping it ends the call"]
pub struct Imap<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    results: Results<'p, 'i, T, I>,
    /// What follows the end of the job.
    finish: Option<Box<dyn FnOnce() -> Result<(), Error> + Send + 'p>>,
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> std::fmt::Debug for Imap<'_, 'i, T, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imap").field("ordered", &self.results.ordered).finish_non_exhaustive()
    }
}

impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> Imap<'p, 'i, T, I> {
    pub(super) fn new(
        running: Result<Call<'p, 'i, T, I>, Error>,
        ordered: bool,
        workers: usize,
        finish: impl FnOnce() -> Result<(), Error> + Send + 'p,
    ) -> Self {
        // What was never opened has no end that something could follow.
        let finish = running.is_ok().then(|| Box::new(finish) as _);
        Self { results: Results::new(running, ordered, workers), finish }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Iterator for Imap<'_, 'i, T, I> {
    type Item = Result<T::Output, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.results.resume();
        loop {
            match self.results.next_now() {
                Poll::Ready(Some(result)) => return Some(result),
                Poll::Ready(None) => {
                    let rested = self.finish.take().map_or(Ok(()), |finish| finish());
                    return self.results.take_error(rested).map(Err);
                }
                Poll::Pending => self.results.pump(true),
            }
        }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> FusedIterator for Imap<'_, 'i, T, I> {}
