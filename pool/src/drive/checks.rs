//! What nobody tells the parent: it looks, each thing in its own time.

use super::poller::News;
use super::worker::WorkerHandle;
use super::workers::Workers;
use crate::ids::WorkerId;
use crate::observe::Observer;

/// How often the parent looks how much memory workers hold in the midst of a task.
pub(super) const MEMORY_CHECK_NS: u64 = 10_000_000;
/// How often it looks whether workers sleep that should not.
const SLEEP_CHECK_NS: u64 = 1_000_000_000;
/// How often somebody is shown how far a call is.
pub(super) const SHOW_NS: u64 = 50_000_000;
/// A parent that never sleeps looks this often for deaths, and for what workers have printed.
const NEWS_CHECK_NS: u64 = 1_000_000;
/// A call that ends looks for the latter if the last look was this long ago: beside such a time a look costs nothing.
const LAST_NEWS_CHECK_NS: u64 = 20_000;

/// The schedule of checks, and what they have found that is to be looked into.
#[derive(Default)]
pub(super) struct Checks {
    news_at: u64,
    sleep_at: u64,
    memory_at: u64,
    progress_at: u64,
    /// Workers whose ends were signalled.
    exited: Vec<WorkerId>,
    /// Workers that have printed or logged what was not taken yet.
    readable: Vec<WorkerId>,
    /// The program has closed the pool's descriptors.
    is_blind: bool,
}

/// Whether so much time has passed since the last check; then this is the last.
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

    /// The same as a call ends.
    pub(super) fn is_last_news_due(&mut self, now: u64) -> bool {
        is_due(&mut self.news_at, LAST_NEWS_CHECK_NS, now)
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

    /// Notes of which workers there is news. Says whether this is how it comes out that nobody will tell of them any
    /// more: the program has closed the pool's descriptors, and the lifelines with them.
    pub(super) fn note_news(&mut self, News { ended, printed, lost, .. }: News, workers: usize) -> bool {
        // A set of the program's own that has got the number of the pool's may tell of anything.
        self.exited.extend(ended.into_iter().filter(|worker| worker.0 < workers));
        self.readable.extend(printed.into_iter().filter(|worker| worker.0 < workers));
        if lost {
            self.exited = (0..workers).map(WorkerId).collect();
        }
        lost && !std::mem::replace(&mut self.is_blind, true)
    }

    /// Whether the program has closed the pool's descriptors.
    pub(super) fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// The workers whose ends were signalled.
    pub(super) fn take_exited(&mut self) -> Vec<WorkerId> {
        std::mem::take(&mut self.exited)
    }

    /// Passes on what workers have printed and logged.
    pub(super) fn listen(&mut self, workers: &mut Workers, observer: &mut Observer) {
        observer.pass_on();
        self.readable.retain(|worker| {
            let listened = |handle: &mut WorkerHandle| observer.listen(*worker, handle.probes_mut());
            !workers.get_mut(*worker).is_none_or(listened)
        });
    }

    /// Whether something that was printed or logged is not taken yet.
    pub(super) fn has_readable(&self) -> bool {
        !self.readable.is_empty()
    }
}
