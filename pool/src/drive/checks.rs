//! Periodic checks for facts that no event reports to the parent, each with its own interval.

use super::poller::News;
use super::worker::WorkerHandle;
use super::workers::Workers;
use crate::ids::WorkerId;
use crate::observe::Observer;

/// The interval of memory checks on busy workers. A task that allocates as fast as it can gets about 100 MB further in
/// this time; a check is one read of a small file per worker.
pub(super) const MEMORY_CHECK_NS: u64 = 10_000_000;
/// The interval of checks for workers that sleep although they have orders, or are stopped in a trap. Only a worker
/// that damaged its lane, or asked to be traced, does that, so a second until it is found is soon enough.
const SLEEP_CHECK_NS: u64 = 1_000_000_000;
/// The interval of progress updates: 20 a second look smooth.
pub(super) const SHOW_NS: u64 = 50_000_000;
/// A parent that never sleeps polls for deaths and output this often: one system call a millisecond costs next to
/// nothing.
const NEWS_CHECK_NS: u64 = 1_000_000;
/// At its end, a call polls for output once more if the last poll was at least this long ago: beside that time, a poll
/// costs little.
const CALL_END_CHECK_NS: u64 = 20_000;

/// The times of the last checks, and the workers that the poll set has reported since.
#[derive(Default)]
pub(super) struct Checks {
    news_at: u64,
    sleep_at: u64,
    memory_at: u64,
    progress_at: u64,
    /// Workers whose ends the poll set has reported.
    exited: Vec<WorkerId>,
    /// Workers with output in their pipes that was not read yet.
    readable: Vec<WorkerId>,
    /// A start can go on, as the poll set has reported.
    starts_go_on: bool,
    /// The program has closed the pool's descriptors, so the poll set reports nothing any more.
    lost_descriptors: bool,
}

/// Whether the interval has passed since the last check. If so, this becomes the last check.
fn is_due(last: &mut u64, every_ns: u64, now: u64) -> bool {
    let due = now.saturating_sub(*last) >= every_ns;
    if due {
        *last = now;
    }
    due
}

impl Checks {
    pub(super) fn is_news_due(&mut self, now: u64) -> bool {
        is_due(&mut self.news_at, NEWS_CHECK_NS, now)
    }

    /// Like [`is_news_due`](Self::is_news_due), at the end of a call.
    pub(super) fn is_call_end_news_due(&mut self, now: u64) -> bool {
        is_due(&mut self.news_at, CALL_END_CHECK_NS, now)
    }

    pub(super) fn is_sleep_due(&mut self, now: u64) -> bool {
        is_due(&mut self.sleep_at, SLEEP_CHECK_NS, now)
    }

    pub(super) fn is_memory_due(&mut self, now: u64) -> bool {
        is_due(&mut self.memory_at, MEMORY_CHECK_NS, now)
    }

    pub(super) fn is_progress_due(&mut self, now: u64) -> bool {
        is_due(&mut self.progress_at, SHOW_NS, now)
    }

    /// Records the workers that the poll set reports. Returns whether this is the first sign that the program has
    /// closed the pool's descriptors. It has then closed the lifelines too, so all workers are about to end.
    pub(super) fn record(&mut self, News { ended, printed, starts, lost }: News, workers: usize) -> bool {
        // If the program has closed the poll set and its number was reused, these ids may be any numbers.
        self.exited.extend(ended.into_iter().filter(|worker| worker.0 < workers));
        self.readable.extend(printed.into_iter().filter(|worker| worker.0 < workers));
        // After a loss, starts find out by themselves that their descriptors are closed.
        self.starts_go_on |= starts || lost;
        if lost {
            self.exited = (0..workers).map(WorkerId).collect();
        }
        lost && !std::mem::replace(&mut self.lost_descriptors, true)
    }

    /// Whether the program has closed the pool's descriptors.
    pub(super) fn lost_descriptors(&self) -> bool {
        self.lost_descriptors
    }

    /// Whether a start can go on, as the poll set has reported since the last call.
    pub(super) fn take_starts_go_on(&mut self) -> bool {
        std::mem::take(&mut self.starts_go_on)
    }

    /// Removes and returns the workers whose ends were reported.
    pub(super) fn take_exited(&mut self) -> Vec<WorkerId> {
        std::mem::take(&mut self.exited)
    }

    /// Reads the output and the log records of workers, and passes them on.
    pub(super) fn read_output(&mut self, workers: &mut Workers, observer: &mut Observer) {
        observer.pass_on();
        self.readable.retain(|worker| {
            let read_all = |handle: &mut WorkerHandle| observer.read_output(*worker, handle.probes_mut());
            !workers.get_mut(*worker).is_none_or(read_all)
        });
    }

    /// Whether there is output that was not read yet.
    pub(super) fn has_readable(&self) -> bool {
        !self.readable.is_empty()
    }
}
