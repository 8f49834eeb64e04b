//! A set of descriptors to sleep on, and the eventfd in it that ends a sleep from within.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::write;

use super::fd::{Fd, Identity, Known, above_standard};
use super::waker::SentWaker;
use super::{eventfd, named, threads};

/// What a set can report: a descriptor that becomes readable.
pub(crate) type Source<'s> = BorrowedFd<'s>;

/// The event data of the eventfd. Tags are lower.
const WAKER: u64 = u64::MAX;
/// The length of a sleep after the program has closed the set: short, because nothing can end it early.
const LOST_SLEEP: Duration = Duration::from_millis(1);
/// The longest sleep. It only has to fit into epoll's `i32` of milliseconds.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// The set.
pub(crate) struct PollSet {
    _known: Known,
    /// `None` only while this is dropped.
    set: Option<Epoll>,
    identity: Identity,
    waker: Fd,
}

/// Whether a set still reports anything.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PollState {
    Intact,
    /// The program has closed the set or the eventfd.
    Lost,
}

/// A set that the program had not closed a moment ago.
pub(crate) struct IntactSet<'s>(&'s Epoll);

impl Drop for PollSet {
    fn drop(&mut self) {
        if let Some(set) = self.set.take().filter(|set| !self.identity.is_of(&set.0)) {
            // The program has closed it, and the number may be that of a descriptor of its own by now.
            std::mem::forget(set);
        }
    }
}

impl PollSet {
    pub(crate) fn new() -> io::Result<Self> {
        let set = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(named("epoll_create"))?;
        let set = Epoll(above_standard(set.0)?);
        let waker = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let waker = waker.map_err(named("eventfd"))?;
        let waker = Fd::new(waker.into())?;
        set.add(&waker, EpollEvent::new(EpollFlags::EPOLLIN, WAKER))?;
        let identity = Identity::give(&set.0)?;
        Ok(Self { _known: Known::new(&set.0, identity), set: Some(set), identity, waker })
    }

    /// A duplicate of the eventfd, for a new worker.
    pub(crate) fn waker(&self) -> io::Result<SentWaker> {
        let copy =
            self.waker.intact()?.as_fd().try_clone_to_owned().map_err(named("a copy of the eventfd"))?;
        SentWaker::new(copy)
    }

    /// The set, or an error if the program has closed it.
    pub(crate) fn intact(&self) -> io::Result<IntactSet<'_>> {
        let set = self.set.as_ref().filter(|set| self.identity.has_mark_of(&set.0));
        let set =
            set.ok_or_else(|| io::Error::other("this process has closed a descriptor of the pool's"))?;
        Ok(IntactSet(set))
    }

    /// Ends the sleep, or the next one if nobody sleeps.
    pub(crate) fn wake(&self) {
        if self.waker.is_intact() {
            // The write fails only if the counter is full; then the eventfd is readable already.
            let _ = write(&self.waker, &1u64.to_ne_bytes());
        }
    }

    /// Sleeps until it is woken, anything is to be reported, or the limit passes. Passes the tags to `report`.
    pub(crate) fn sleep(&self, limit: Option<Duration>, report: impl FnMut(u64)) -> PollState {
        let limit = limit.unwrap_or(MAX_SLEEP).min(MAX_SLEEP);
        // Rounded up: a sleep that ended before the deadline would be followed by many short ones.
        let (state, woken) = self.poll(limit.as_micros().div_ceil(1000) as i32, report);
        // The set still reports the eventfd after the program has closed it here, as long as workers have duplicates.
        if state == PollState::Lost || woken && !self.waker.is_intact() {
            std::thread::sleep(limit.min(LOST_SLEEP));
            return PollState::Lost;
        }
        if woken {
            eventfd::reset(&self.waker);
        }
        PollState::Intact
    }

    /// Reports what is there without sleeping. Leaves the eventfd as it is: only a sleeper resets it.
    pub(crate) fn poll_now(&self, report: impl FnMut(u64)) -> PollState {
        // The program may have closed the set, and may use its number for a set of its own.
        match self.intact() {
            Ok(_) => self.poll(0, report).0,
            Err(_) => PollState::Lost,
        }
    }

    /// Returns also whether the eventfd was among the events.
    fn poll(&self, limit_ms: i32, mut report: impl FnMut(u64)) -> (PollState, bool) {
        let Some(set) = &self.set else { return (PollState::Lost, false) };
        let mut events = [EpollEvent::empty(); 16];
        let timeout = EpollTimeout::try_from(limit_ms).unwrap_or(EpollTimeout::ZERO);
        let found = match threads::rest(|| set.wait(&mut events, timeout)) {
            Ok(found) => found,
            Err(Errno::EINTR) => 0,
            Err(_) => return (PollState::Lost, false),
        };
        let mut woken = false;
        for tag in events[..found].iter().map(EpollEvent::data) {
            if tag == WAKER { woken = true } else { report(tag) }
        }
        (PollState::Intact, woken)
    }
}

impl IntactSet<'_> {
    /// Reports the source under this tag in each sleep for as long as it is readable, also if it was
    /// [added](Self::add_once) under another.
    pub(crate) fn add(&self, source: Source<'_>, tag: u64) -> io::Result<()> {
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN, tag);
        match self.0.add(source, event) {
            Err(Errno::EEXIST) => self.0.modify(source, &mut event)?,
            added => added?,
        }
        Ok(())
    }

    /// Reports the source under this tag once whenever there is more to read.
    pub(crate) fn add_once(&self, source: Source<'_>, tag: u64) -> io::Result<()> {
        Ok(self.0.add(source, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, tag))?)
    }
}
