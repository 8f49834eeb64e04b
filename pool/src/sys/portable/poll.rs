//! Something to sleep on until a worker wakes the sleeper, or has written something.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::local::Local;
use super::pipe::Pipe;
use super::waker::SentWaker;

/// What a set can report: a pipe that has something to read.
pub(crate) type Source<'s> = &'s Pipe;

/// The longest sleep.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// The set, which has only the bell: what it reports rings it.
pub(crate) struct PollSet {
    bell: Arc<Bell>,
}

/// Wakes a sleeper, and says why.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    news: Mutex<News>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct News {
    woken: bool,
    /// Each once.
    tags: Vec<u64>,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the sleep, or the next one if nobody sleeps.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.rung.notify_one();
    }

    /// Ends it like [`wake`](Self::wake), and reports this tag.
    pub(super) fn report(&self, tag: u64) {
        let mut news = self.lock();
        if !news.tags.contains(&tag) {
            news.tags.push(tag);
        }
        drop(news);
        self.rung.notify_one();
    }
}

/// Whether a set still reports anything.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PollState {
    Intact,
    /// Where a set has descriptors, the program can close them.
    Lost,
}

/// A set that can report more.
pub(crate) struct IntactSet<'s>(&'s Arc<Bell>);

impl PollSet {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { bell: Arc::default() })
    }

    /// The means for a new worker to wake the sleeper.
    pub(crate) fn waker(&self) -> io::Result<SentWaker> {
        Ok(SentWaker(Local(Arc::clone(&self.bell))))
    }

    pub(crate) fn intact(&self) -> io::Result<IntactSet<'_>> {
        Ok(IntactSet(&self.bell))
    }

    /// Ends the sleep, or the next one if nobody sleeps.
    pub(crate) fn wake(&self) {
        self.bell.wake();
    }

    /// Sleeps until it is woken, anything is to be reported, or the limit passes. Passes the tags to `report`.
    pub(crate) fn sleep(&self, limit: Option<Duration>, report: impl FnMut(u64)) -> PollState {
        let limit = limit.unwrap_or(MAX_SLEEP).min(MAX_SLEEP);
        let is_quiet = |news: &mut News| !news.woken && news.tags.is_empty();
        let slept = self.bell.rung.wait_timeout_while(self.bell.lock(), limit, is_quiet);
        let (mut news, _) = slept.unwrap_or_else(PoisonError::into_inner);
        news.woken = false;
        let tags = std::mem::take(&mut news.tags);
        drop(news);
        tags.into_iter().for_each(report);
        PollState::Intact
    }

    /// Reports what is there without sleeping. Whoever sleeps next is still woken.
    pub(crate) fn poll_now(&self, report: impl FnMut(u64)) -> PollState {
        let tags = std::mem::take(&mut self.bell.lock().tags);
        tags.into_iter().for_each(report);
        PollState::Intact
    }
}

impl IntactSet<'_> {
    /// Like [`add_once`](Self::add_once): nothing here stays readable.
    pub(crate) fn add(&self, source: Source<'_>, tag: u64) -> io::Result<()> {
        self.add_once(source, tag)
    }

    /// Reports the source under this tag once whenever there is more to read.
    pub(crate) fn add_once(&self, source: Source<'_>, tag: u64) -> io::Result<()> {
        source.report_to(self.0, tag);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_ends_one_sleep_also_if_it_comes_first() {
        let set = PollSet::new().unwrap();
        let waker = set.waker().unwrap().open().unwrap();
        let quiet = |tag: u64| panic!("{tag}");
        assert!(waker.wake() && waker.wake());
        assert_eq!(set.poll_now(quiet), PollState::Intact);
        assert_eq!(set.sleep(None, quiet), PollState::Intact);
        assert_eq!(set.sleep(Some(Duration::from_millis(1)), quiet), PollState::Intact);
        std::thread::scope(|scope| {
            scope.spawn(|| set.wake());
            assert_eq!(set.sleep(None, quiet), PollState::Intact);
        });
    }
}
