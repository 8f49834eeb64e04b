//! Lazy iterators: results one by one, while the call goes on.

use std::collections::VecDeque;
use std::iter::FusedIterator;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::MOST_HELD_BYTES;
use super::call::Call;
use super::decode::News;
use crate::error::{Error, TaskError};
use crate::ids::TaskIndex;
use crate::task::Task;

/// The results that have arrived, and the call that brings the others.
pub(super) struct Results<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    /// The call; once it is over, the error that ended it, until that is given to the caller.
    call: Result<Call<'p, 'i, T, I>, Option<Error>>,
    /// Results that arrived: in input order with gaps, or in order of arrival.
    ready: VecDeque<Option<Buffered<T::Output>>>,
    /// The index of the first slot of `ready`.
    next: TaskIndex,
    ordered: bool,
    over: Option<Result<(), Error>>,
}

/// Even a caller that will not wait for results waits this long before a slow input is asked.
const SHORT: Duration = Duration::from_millis(3);

/// After the caller has taken this many bytes of results, the engine gets a report at once, not only when none are
/// left: workers may be waiting for that space.
const REPORT_BYTES: u64 = MOST_HELD_BYTES / 4;

/// Keeps the outcomes of a task, or of several that follow each other.
type Keep<'k, T> =
    dyn FnMut(TaskIndex, u64, Result<&mut Vec<<T as Task>::Output>, TaskError>) -> Result<(), Error> + 'k;

/// A result that the caller has not taken yet, and how many bytes it counts as.
struct Buffered<R> {
    result: Result<R, Error>,
    bytes: u64,
}

impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> Results<'p, 'i, T, I> {
    /// `is_patient` if it may wait for results before it asks the input; a stream may not.
    pub(super) fn new(
        mut call: Result<Call<'p, 'i, T, I>, Error>,
        ordered: bool,
        workers: usize,
        is_patient: bool,
    ) -> Self {
        if let (true, Ok(call)) = (is_patient, &mut call) {
            call.input.be_patient();
        }
        let call = call.map_err(Some);
        let mut results =
            Self { call, ready: VecDeque::new(), next: TaskIndex::default(), ordered, over: None };
        // Work starts now, not when the first result is asked for. One turn for each worker gives each of them tasks,
        // and a slow input delays the caller for no longer than that.
        for _ in 0..workers {
            results.turn(false);
            if results.over.is_some() {
                break;
            }
        }
        results
    }

    /// Takes one turn of the call. With `wait`, sleeps if nothing has arrived. Results that are under way come first:
    /// the input is not asked while they may arrive soon, unless it is fast.
    pub(super) fn turn(&mut self, wait: bool) {
        let Ok(call) = &mut self.call else { return };
        if let Some(patience) = call.input.patience().filter(|_| call.is_any_under_way()) {
            let deadline = Instant::now() + patience;
            loop {
                let has_received = self.turn_with(|call, keep| call.receive(0, |news| news.decode(keep)));
                if has_received || (!wait && patience > SHORT) {
                    return;
                }
                let left = deadline.saturating_duration_since(Instant::now());
                let Ok(call) = &mut self.call else { return };
                if left.is_zero() && !call.awaits_start() {
                    call.input.has_waited_in_vain();
                    break;
                }
                call.wait_for_results(left.max(Duration::from_millis(1)));
            }
        }
        self.turn_with(|call, keep| call.turn(wait, |news| news.decode(keep)));
    }

    /// Keeps the results that a turn of the call brings. Returns whether it has brought any, or the end.
    fn turn_with(
        &mut self,
        turn: impl FnOnce(&mut Call<'p, 'i, T, I>, &mut Keep<'_, T>) -> Option<Result<(), Error>>,
    ) -> bool {
        let Self { call, ready, next, ordered, over } = self;
        let Ok(call) = call else { return true };
        *over = turn(call, &mut |index, bytes, values| {
            let mut position = if *ordered { (index - *next) as usize } else { ready.len() };
            match values {
                Ok(values) => {
                    for value in values.drain(..) {
                        insert_at(ready, position, Buffered { result: Ok(value), bytes });
                        position += 1;
                    }
                }
                Err(error) => insert_at(ready, position, Buffered { result: Err(Error::Task(error)), bytes }),
            }
            Ok(())
        });
        if over.as_ref().is_some_and(|over| call.is_cut_short(over)) {
            // What is done behind those that are missing is not lost.
            for (index, slot) in (0..).map(|place| *next + place).zip(ready) {
                let cancelled = || TaskError::cancelled(T::name(), index.as_usize()).called(&call.site);
                slot.get_or_insert_with(|| Buffered { result: Err(cancelled().into()), bytes: 0 });
            }
        }
        over.is_some() || call.has_received()
    }

    /// Tells the engine which results the caller has taken. Asks the input only if it is fast.
    fn report(&mut self) {
        let is_fast = self.call.as_ref().is_ok_and(|call| call.input.patience().is_none());
        self.turn_with(|call, keep| {
            let take = |news: &mut News<'_, T>| news.decode(keep);
            if is_fast { call.turn(false, take) } else { call.receive(0, take) }
        });
    }

    /// Returns the next result if it has arrived; `None` when there are no more, and the call is closed.
    pub(super) fn next_now(&mut self) -> Poll<Option<Result<T::Output, Error>>> {
        if let Ok(call) = &self.call
            && let Err(forked) = call.check()
        {
            // This is a copy of the caller. The results that had arrived are for the original, which has them too.
            self.ready.clear();
            self.call = Err(Some(forked));
            return Poll::Ready(None);
        }
        let is_due = |call: &Call<'p, 'i, T, I>| call.consumed_bytes >= REPORT_BYTES || call.is_report_due();
        if self.over.is_none() && self.call.as_ref().is_ok_and(is_due) {
            self.report();
        }
        if let Some(Some(_)) = self.ready.front() {
            self.next += 1;
            let buffered = self.ready.pop_front().flatten();
            if let (Ok(call), Some(buffered)) = (&mut self.call, &buffered) {
                call.consumed += 1;
                call.consumed_bytes += buffered.bytes;
            }
            return Poll::Ready(buffered.map(|buffered| buffered.result));
        }
        if let Some(end) = self.over.take() {
            self.call = Err(end.err());
        }
        if self.call.is_ok() { Poll::Pending } else { Poll::Ready(None) }
    }

    /// Forgets when the workers were last checked: the caller may have spent any time since the last result.
    pub(super) fn forget_last_check(&mut self) {
        if let Ok(call) = &mut self.call {
            call.last_check = None;
        }
    }

    /// Returns, once, the error that ended the call, or else the error of stopping the workers (`stopped`).
    pub(super) fn take_error(&mut self, stopped: Result<(), Error>) -> Option<Error> {
        let ended = self.call.as_mut().err().and_then(Option::take);
        ended.or(stopped.err())
    }
}

#[cfg(feature = "stream")]
impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> Results<'p, 'i, T, I> {
    /// Returns the call if only another turn of it can bring the next result.
    pub(super) fn pending_call(&self) -> Option<&Call<'p, 'i, T, I>> {
        let is_there = matches!(self.ready.front(), Some(Some(_))) || self.over.is_some();
        self.call.as_ref().ok().filter(|_| !is_there)
    }

    /// Returns whether the caller has got everything, the last error included.
    pub(super) fn is_exhausted(&self) -> bool {
        matches!(self.call, Err(None)) && self.ready.is_empty()
    }
}

/// Stores a result at this position, after a gap if results before it are missing.
fn insert_at<R>(ready: &mut VecDeque<Option<R>>, position: usize, result: R) {
    if position >= ready.len() {
        ready.resize_with(position, || None);
        ready.push_back(Some(result));
    } else {
        ready[position] = Some(result);
    }
}

/// The results of a call, one by one, while it goes on; from `par_imap` and `par_imap_unordered`.
///
/// The iterator takes items from the input when it is made and while it is asked for results. Workers go on with those
/// that it has taken, whatever its owner does meanwhile. Results that were not taken yet are limited by
/// `max_tasks_active`; without it, to 64 MiB as encoded, and by their number. Dropping the iterator cancels the rest of
/// the call; the pool can be used again at once.
///
/// A failed task is one item that is an error; an error that ends the whole call is the last item.
#[must_use = "its results come as they are asked for, and dropping it ends the call"]
pub struct Imap<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    results: Results<'p, 'i, T, I>,
    /// What to do after the end of the call.
    finish: Option<Box<dyn FnOnce() -> Result<(), Error> + Send + 'p>>,
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> std::fmt::Debug for Imap<'_, 'i, T, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imap").field("ordered", &self.results.ordered).finish_non_exhaustive()
    }
}

impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> Imap<'p, 'i, T, I> {
    pub(super) fn new(
        call: Result<Call<'p, 'i, T, I>, Error>,
        ordered: bool,
        workers: usize,
        finish: impl FnOnce() -> Result<(), Error> + Send + 'p,
    ) -> Self {
        // A call that never opened has no end to act on.
        let finish = call.is_ok().then(|| Box::new(finish) as _);
        let results = Results::new(call, ordered, workers, true);
        if let Ok(call) = &results.call {
            // The caller may do anything before it asks for a result.
            call.leave();
        }
        Self { results, finish }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Iterator for Imap<'_, 'i, T, I> {
    type Item = Result<T::Output, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.results.forget_last_check();
        loop {
            match self.results.next_now() {
                Poll::Ready(Some(result)) => return Some(result),
                Poll::Ready(None) => {
                    let stopped = self.finish.take().map_or(Ok(()), |finish| finish());
                    return self.results.take_error(stopped).map(Err);
                }
                Poll::Pending => self.results.turn(true),
            }
        }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> FusedIterator for Imap<'_, 'i, T, I> {}
