//! The poll set on which the leader sleeps. It reports the ends of worker processes, output of workers, and what starts
//! wait for; and workers wake the leader through it.

use std::io;
use std::time::Duration;

use crate::ids::WorkerId;
use crate::start::Watch;
use crate::sys::poll::{PollSet, PollState, Source};
use crate::sys::waker::SentWaker;

/// The tag of a worker's end is the worker's number; that of its output is the number with this bit set.
const OUTPUT_BIT: u64 = 1 << 32;
/// The tag of what starts wait for.
const START: u64 = u64::MAX - 1;

/// The poll set.
pub(crate) struct Poller {
    set: PollSet,
}

/// The events that the poll set reports.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) ended: Vec<WorkerId>,
    /// Workers with output or log records to read.
    pub(super) printed: Vec<WorkerId>,
    /// A start can go on.
    pub(super) starts: bool,
    /// The program has closed the poll set or the eventfd.
    pub(super) lost: bool,
}

impl News {
    fn note(&mut self, tag: u64) {
        match tag {
            START => self.starts = true,
            OUTPUT_BIT.. => self.printed.push(WorkerId((tag ^ OUTPUT_BIT) as usize)),
            worker => self.ended.push(WorkerId(worker as usize)),
        }
    }
}

impl Watch for Poller {
    /// Each event ends one sleep: a start takes all that is there before the next.
    fn watch_start(&self, source: Source<'_>) -> io::Result<()> {
        self.set.intact()?.add_once(source, START)
    }
}

/// A sleep to come, and its limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sleep {
    pub(super) limit: Option<Duration>,
}

impl Sleep {
    /// The same sleep, no longer than this.
    pub(super) fn within(self, limit: Option<Duration>) -> Self {
        Self { limit: self.limit.into_iter().chain(limit).min() }
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { set: PollSet::new()? })
    }

    /// The means for a new worker to wake the leader.
    pub(super) fn waker(&self) -> io::Result<SentWaker> {
        self.set.waker()
    }

    /// Adds a worker to the set: its end ends every sleep for as long as it can be seen, new output ends one sleep.
    pub(super) fn watch<'s>(
        &self,
        worker: WorkerId,
        end: Option<Source<'s>>,
        output: impl Iterator<Item = Source<'s>>,
    ) -> io::Result<()> {
        let set = self.set.intact()?;
        let number = worker.0 as u64;
        if let Some(end) = end {
            // Its start was watched.
            set.add(end, number)?;
        }
        for pipe in output {
            set.add_once(pipe, number | OUTPUT_BIT)?;
        }
        Ok(())
    }

    /// Wakes the leader.
    pub(super) fn wake(&self) {
        self.set.wake();
    }

    /// Sleeps until it is woken, an event comes, or the limit passes.
    pub(super) fn sleep(&self, sleep: Sleep) -> News {
        let mut news = News::default();
        news.lost = self.set.sleep(sleep.limit, |tag| news.note(tag)) == PollState::Lost;
        news
    }

    /// Returns the pending events without sleeping.
    pub(super) fn poll_now(&self) -> News {
        let mut news = News::default();
        news.lost = self.set.poll_now(|tag| news.note(tag)) == PollState::Lost;
        news
    }
}
