//! A running call as its caller drives it: sends items, receives outcomes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::{Awaits, Engine};
use crate::error::{CallSite, Error, TaskError};
use crate::ids::{JobId, TaskIndex};
use crate::observe::End;
use crate::observe::progress::Progress;
use crate::task::Task;
use crate::work::{Asked, Inbox};

use super::PoolHandle;
use super::decode::{News, Pace};
use super::input::InputBuffer;
use super::retry::{GivingUp, Judge};

pub(super) struct Call<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    pool: &'p PoolHandle,
    engine: &'p Engine,
    pub(super) job: JobId,
    /// Where it was made.
    pub(super) site: CallSite,
    pub(super) input: InputBuffer<'i, T, I>,
    /// How many buffered items make a whole chunk.
    chunk: u64,
    inbox: Inbox,
    /// The results of one arrival; kept between turns for its allocation.
    values: Vec<T::Output>,
    /// At most this many items may be pulled whose outcomes the caller has not taken.
    bound: Option<u64>,
    /// How many outcomes the last turn brought, and how many came in all.
    received: u64,
    received_so_far: u64,
    /// How many results the caller took before the last turn.
    taken: u64,
    /// How many results the caller took since the last turn, and their bytes, where those are bounded.
    pub(super) consumed: u64,
    pub(super) consumed_bytes: u64,
    /// When the engine last checked the workers, in nanoseconds; `None` if the user's code has run since.
    pub(super) last_check: Option<u64>,
    /// How fast the results are decoded.
    pace: Pace,
    /// The engine may have tasks of it.
    is_under_way: bool,
    /// The engine has closed it, because it has ended.
    is_closed: bool,
    /// Whether to wait, at the end, until no worker is at work on the call.
    quiesces: bool,
    progress: Option<Progress>,
    /// What few calls have.
    rare: Option<Box<Rare>>,
}

/// What a call has that may end early, or whose caller decides about failed tasks.
pub(super) struct Rare {
    judge: Option<Judge>,
    giving_up: Option<GivingUp>,
    /// Failed tasks to decide about.
    asked: VecDeque<Asked>,
    /// The last turn has brought some.
    has_judged: bool,
}

impl Rare {
    /// Of a call whose failed tasks this judge decides about, or that ends after this many of them. Nothing for others.
    #[inline]
    pub(super) fn of(judge: Option<Judge>, most_failed: Option<u64>) -> Option<Box<Self>> {
        let giving_up = most_failed.map(GivingUp::after);
        (judge.is_some() || giving_up.is_some())
            .then(|| Box::new(Self { judge, giving_up, asked: VecDeque::new(), has_judged: false }))
    }
}

impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> Call<'p, 'i, T, I> {
    pub(super) fn new(
        pool: &'p PoolHandle,
        job: JobId,
        site: CallSite,
        input: InputBuffer<'i, T, I>,
        (chunk, bound): (u64, Option<u64>),
        quiesces: bool,
        (progress, rare): (Option<Progress>, Option<Box<Rare>>),
    ) -> Self {
        Self {
            pool,
            engine: pool.engine(),
            job,
            site,
            input,
            chunk,
            inbox: Inbox::default(),
            values: Vec::new(),
            bound,
            received: 0,
            received_so_far: 0,
            taken: 0,
            consumed: 0,
            consumed_bytes: 0,
            last_check: None,
            pace: Pace::default(),
            is_under_way: false,
            is_closed: false,
            quiesces,
            progress,
            rare,
        }
    }
}

impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> Call<'p, 'i, T, I> {
    /// An error in a fork of the caller.
    #[inline]
    pub(super) fn check(&self) -> Result<(), Error> {
        self.engine.check()
    }

    /// What the caller waits for.
    fn awaits(&self) -> Awaits {
        if self.input.is_over() { Awaits::Results(self.job) } else { Awaits::Job(self.job) }
    }

    /// Lets the background thread, or another caller, drive while this caller runs code of the user's that may take
    /// long.
    pub(super) fn leave(&self) {
        self.pool.leave();
    }

    /// How many items may be pulled from the input.
    fn room(&self) -> u64 {
        self.bound.map_or(u64::MAX, |bound| {
            bound.saturating_add(self.taken + self.consumed).saturating_sub(self.input.pulled())
        })
    }

    /// Whether only the input can bring the call further.
    pub(super) fn needs_input(&self) -> bool {
        self.input.lacks(1) && self.room() > 0
    }

    /// Whether the last turn brought outcomes, or failed tasks that were decided about: then another turn is due.
    pub(super) fn has_received(&self) -> bool {
        self.received > 0 || self.rare.as_ref().is_some_and(|rare| rare.has_judged)
    }

    /// Whether so many tasks have failed that the call has ended.
    pub(super) fn has_given_up(&self) -> bool {
        let giving_up = self.rare.as_ref().and_then(|rare| rare.giving_up.as_ref());
        giving_up.is_some_and(|giving_up| giving_up.check().is_err())
    }

    /// Whether the call, which has ended like this, has ended early, and what is done is to be kept.
    pub(super) fn is_cut_short(&self, over: &Result<(), Error>) -> bool {
        over.is_err() && (matches!(over, Err(Error::DeadlineExceeded)) || self.has_given_up())
    }

    /// Whether there are failed tasks to decide about.
    fn is_asked(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.asked.is_empty())
    }

    /// Decides about failed tasks, outside any lock: this is code of the user's. What is left after a panic comes next
    /// time.
    #[cold]
    fn judge(&mut self) {
        self.last_check = None;
        self.leave();
        let Some(Rare { judge: Some(judge), asked, has_judged, .. }) = self.rare.as_deref_mut() else {
            return;
        };
        while let Some(next) = asked.pop_front() {
            *has_judged = true;
            judge.judge(self.engine, self.job, next.index, next);
        }
    }

    /// Whether outcomes are to come for items that were pulled.
    pub(super) fn is_any_under_way(&self) -> bool {
        self.input.pulled() > self.received_so_far
    }

    /// After how many results that the caller has taken the engine is to know, because workers may wait for the room.
    pub(super) fn is_report_due(&self) -> bool {
        self.bound.is_some_and(|bound| self.consumed > bound / 4)
    }

    /// Takes one turn: sends items, and gives what has come to `take`. With `wait`, sleeps if there was nothing to
    /// receive. Returns `Some` when the call is over.
    pub(super) fn turn(
        &mut self,
        wait: bool,
        take: impl FnOnce(&mut News<'_, T>) -> Result<(), Error>,
    ) -> Option<Result<(), Error>> {
        if self.is_under_way && !self.input.is_over() {
            self.leave();
        }
        // The input may take long: that must not count as time in which the engine failed to check the workers.
        let pull_time = self.input.pull(self.chunk, self.room(), self.bound.is_some()).as_nanos() as u64;
        if let Err(refused) = self.input.check() {
            return Some(Err(refused));
        }
        let over = self.receive(pull_time, take);
        if over.is_none() && wait && !self.has_received() {
            self.sleep();
        }
        over
    }

    /// Sleeps until results come, or an item of a channel may be there. Not at all if an iterator must be asked first.
    fn sleep(&mut self) {
        if self.input.is_channel() && self.input.lacks(self.chunk) && self.room() > 0 {
            let lull = self.input.next_lull();
            if self.is_any_under_way() {
                self.wait_for_results(lull);
            } else {
                self.input.wait_for_item(lull);
            }
        } else if !self.needs_input() {
            self.wait(self.awaits(), None);
        }
    }

    /// Whether tasks of the call are on a worker that is still being started.
    pub(super) fn awaits_start(&self) -> bool {
        self.engine.awaits_start(self.job)
    }

    /// Waits for results, at most this long, and not for the input. May return early.
    pub(super) fn wait_for_results(&mut self, limit: Duration) {
        self.wait(Awaits::Results(self.job), Some(limit));
    }

    fn wait(&mut self, awaits: Awaits, limit: Option<Duration>) {
        self.last_check = Some(self.engine.wait(awaits, limit));
    }

    /// Takes one turn without a look at the input, which has just taken `pull_time`.
    pub(super) fn receive(
        &mut self,
        pull_time: u64,
        take: impl FnOnce(&mut News<'_, T>) -> Result<(), Error>,
    ) -> Option<Result<(), Error>> {
        self.received = 0;
        if let Some(rare) = &mut self.rare {
            rare.has_judged = false;
        }
        if let Err(forked) = self.check() {
            return Some(Err(forked));
        }
        let last_check = self.last_check.take().map(|at| at.saturating_add(pull_time));
        let consumed = (std::mem::take(&mut self.consumed), std::mem::take(&mut self.consumed_bytes));
        self.taken += consumed.0;
        let turn = self.input.submit(|submission| {
            self.engine.turn(self.job, consumed, last_check, submission, &mut self.inbox)
        });
        self.input.unsent = turn.unsent.unwrap_or_default();
        self.is_closed = turn.unsent.is_none();
        self.is_under_way = true;
        if let (Some(progress), Some(tasks)) = (&self.progress, self.input.total()) {
            progress.set_total(tasks);
        }
        if self.inbox.is_empty() {
            if let Some(progress) = &self.progress {
                progress.count(0, 0);
            }
            self.last_check = Some(turn.watched_until);
            if self.is_asked() {
                self.judge();
            }
            return None;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let giving_up = self.rare.as_mut().and_then(|rare| rare.giving_up.as_mut());
        let mut news =
            News::new(self.pool, &self.site, &mut inbox, &mut self.values, &mut self.pace, giving_up);
        let taken = take(&mut news).and_then(|()| news.check());
        let (done, failed) = news.outcomes();
        let over = taken.err().map(Err).or(inbox.end.take());
        if let Some(rare) = &mut self.rare {
            rare.asked.extend(inbox.asked.drain(..));
        }
        inbox.clear();
        self.inbox = inbox;
        self.received = done + failed;
        self.received_so_far += self.received;
        if let Some(progress) = &self.progress {
            progress.count(done, failed);
        }
        match &over {
            Some(over) => self.end_progress(End::of(over)),
            None if self.is_asked() => self.judge(),
            None => {}
        }
        over
    }

    fn end_progress(&mut self, how: End) {
        if let Some(progress) = self.progress.take() {
            progress.end(how);
        }
    }

    /// Takes turns until the call is over.
    pub(super) fn run(
        &mut self,
        mut on_outcome: impl FnMut(TaskIndex, Result<&mut Vec<T::Output>, TaskError>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.lend();
        loop {
            let over = self.turn(true, |news| news.decode(|index, _, outcome| on_outcome(index, outcome)));
            self.consumed += std::mem::take(&mut self.received);
            if let Some(over) = over {
                return over;
            }
        }
    }

    /// Lets large items be lent: this caller does nothing else until the call is over. One that waits with others for a
    /// whole chunk is encoded meanwhile.
    fn lend(&mut self) {
        if self.chunk <= 1 {
            self.input.lend();
        }
    }

    /// Takes turns until the call is over. The result of each task goes into its slot.
    pub(super) fn run_into(&mut self, slots: &mut [T::Output]) -> Result<(), Error> {
        self.lend();
        loop {
            let over = self.turn(true, |news| news.decode_into(slots));
            self.consumed += std::mem::take(&mut self.received);
            if let Some(over) = over {
                return over;
            }
        }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Drop for Call<'_, 'i, T, I> {
    fn drop(&mut self) {
        if !self.engine.is_here() {
            // In a fork the bar belongs to the parent too, and a thread that was drawing may have held its lock: never
            // drop it.
            let _never_dropped = std::mem::ManuallyDrop::new(self.progress.take());
            return;
        }
        self.end_progress(End::Interrupted);
        if !self.is_closed {
            self.engine.close(self.job);
        }
        if self.quiesces {
            self.engine.quiesce(self.job);
        }
        self.pool.see_to_idle();
    }
}
