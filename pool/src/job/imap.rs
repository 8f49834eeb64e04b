//! Lazy iterators over results.

use std::collections::VecDeque;
use std::iter::FusedIterator;

use super::running::Running;
use crate::error::Error;
use crate::task::Task;

/// The results of a job, one by one, while it goes on; from `par_imap` and `par_imap_unordered`.
///
/// The job moves on while the iterator is asked for results. Results that were not asked for yet are bounded by
/// `max_tasks_active`. Dropping the iterator ends the job; the pool can be used at once.
pub struct Imap<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    running: Result<Running<'p, 'i, T, I>, Option<Error>>,
    /// Results that came: in input order with gaps, or as they came.
    ready: VecDeque<Option<Result<T::Output, Error>>>,
    /// The index of the first of them.
    next: u64,
    ordered: bool,
    over: Option<Result<(), Error>>,
    /// What follows the end of the job.
    finish: Option<Box<dyn FnOnce() -> Result<(), Error> + 'p>>,
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> std::fmt::Debug for Imap<'_, 'i, T, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imap").field("ordered", &self.ordered).finish_non_exhaustive()
    }
}

impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> Imap<'p, 'i, T, I> {
    pub(super) fn new(
        running: Result<Running<'p, 'i, T, I>, Error>,
        ordered: bool,
        workers: usize,
        finish: impl FnOnce() -> Result<(), Error> + 'p,
    ) -> Self {
        let running = running.map_err(Some);
        let mut imap = Self {
            running,
            ready: VecDeque::new(),
            next: 0,
            ordered,
            over: None,
            finish: Some(Box::new(finish)),
        };
        // Work starts with the call, not with the first question: once for each worker, so that a slow input is not
        // waited for longer than that.
        for _ in 0..workers {
            imap.pump(false);
            if imap.over.is_some() {
                break;
            }
        }
        imap
    }

    fn pump(&mut self, wait: bool) {
        let Self { running, ready, next, ordered, over, .. } = self;
        let Ok(running) = running else { return };
        *over = running.pump(wait, |index, values| {
            let mut place = if *ordered { (index - *next) as usize } else { ready.len() };
            match values {
                Ok(values) => {
                    for value in values.drain(..) {
                        lay(ready, place, Ok(value));
                        place += 1;
                    }
                }
                Err(error) => lay(ready, place, Err(Error::Task(error))),
            }
            Ok(())
        });
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

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Iterator for Imap<'_, 'i, T, I> {
    type Item = Result<T::Output, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Ok(running) = &mut self.running {
            // What the caller has done since the last result is not known.
            running.watched = None;
        }
        loop {
            if let Some(Some(_)) = self.ready.front() {
                self.next += 1;
                if let Ok(running) = &mut self.running {
                    running.taken += 1;
                }
                return self.ready.pop_front()?;
            }
            if let Err(error) = &mut self.running {
                return error.take().map(Err);
            }
            match self.over.take() {
                Some(end) => {
                    // The job is closed before what follows its end.
                    self.running = Err(end.err());
                    let finished = self.finish.take().map_or(Ok(()), |finish| finish());
                    if let (Err(error), Err(end)) = (finished, &mut self.running) {
                        end.get_or_insert(error);
                    }
                }
                None => self.pump(true),
            }
        }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> FusedIterator for Imap<'_, 'i, T, I> {}
