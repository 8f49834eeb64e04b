//! The poll set on which the leader sleeps. It holds an eventfd that wakes the leader, and the pidfd and the output
//! pipes of each worker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::write;

use crate::ids::WorkerId;
use crate::start::Watch;
use crate::sys::eventfd;
use crate::sys::fd::{Fd, Identity, Known, above_standard};
use crate::sys::named;
use crate::sys::threads;

/// The event data of the eventfd. The event data of a pidfd is the worker's number; that of an output pipe is the
/// number with `OUTPUT_BIT` set.
const WAKER: u64 = u64::MAX;
const OUTPUT_BIT: u64 = 1 << 32;
/// The event data of what starts wait for.
const START: u64 = u64::MAX - 1;
/// The length of a sleep after the program has closed the poll set: short, because nothing can end it early.
const LOST_SLEEP: Duration = Duration::from_millis(1);
/// The longest sleep. It only has to fit into epoll's `i32` of milliseconds.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// The poll set.
pub(crate) struct Poller {
    _known: Known,
    /// `None` only while this is dropped.
    set: Option<Epoll>,
    identity: Identity,
    waker: Fd,
}

/// The events that the poll set reports.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) ended: Vec<WorkerId>,
    /// Workers with output or log records to read.
    pub(super) printed: Vec<WorkerId>,
    /// A start can go on.
    pub(super) starts: bool,
    woken: bool,
    /// The program has closed the poll set or the eventfd.
    pub(super) lost: bool,
}

impl Drop for Poller {
    fn drop(&mut self) {
        if let Some(set) = self.set.take().filter(|set| !self.identity.is_of(&set.0)) {
            // The program has closed it, and the number may be that of a descriptor of its own by now.
            std::mem::forget(set);
        }
    }
}

impl Watch for Poller {
    /// Each event ends one sleep: a start takes all that is there before the next.
    fn watch_start(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let once = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, START);
        Ok(self.intact_set()?.add(fd, once)?)
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
    pub(super) fn waker(&self) -> io::Result<OwnedFd> {
        self.waker.intact()?.as_fd().try_clone_to_owned().map_err(named("a copy of the eventfd"))
    }

    /// Adds a worker to the set: its end ends every sleep until the pidfd is closed, new output ends one sleep.
    pub(super) fn watch<'f>(
        &self,
        worker: WorkerId,
        pidfd: Option<BorrowedFd<'f>>,
        pipes: impl Iterator<Item = BorrowedFd<'f>>,
    ) -> io::Result<()> {
        let set = self.intact_set()?;
        let number = worker.0 as u64;
        if let Some(pidfd) = pidfd {
            let mut end = EpollEvent::new(EpollFlags::EPOLLIN, number);
            match set.add(pidfd, end) {
                // Its start was watched.
                Err(Errno::EEXIST) => set.modify(pidfd, &mut end)?,
                added => added?,
            }
        }
        let once = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, number | OUTPUT_BIT);
        for pipe in pipes {
            set.add(pipe, once)?;
        }
        Ok(())
    }

    fn intact_set(&self) -> io::Result<&Epoll> {
        let set = self.set.as_ref().filter(|set| self.identity.has_mark_of(&set.0));
        set.ok_or_else(|| io::Error::other("this process has closed a descriptor of the pool's"))
    }

    /// Wakes the leader.
    pub(super) fn wake(&self) {
        if self.waker.is_intact() {
            // The write fails only if the counter is full; then the eventfd is readable already.
            let _ = write(&self.waker, &1u64.to_ne_bytes());
        }
    }

    /// Sleeps until it is woken, an event comes, or the limit passes.
    pub(super) fn sleep(&self, sleep: Sleep) -> News {
        let limit = sleep.limit.unwrap_or(MAX_SLEEP).min(MAX_SLEEP);
        // Rounded up: a sleep that ended before the deadline would be followed by many short ones.
        let mut news = self.poll(limit.as_micros().div_ceil(1000) as i32);
        // The set still reports the eventfd after the program has closed it here, as long as workers have duplicates.
        news.lost |= news.woken && !self.waker.is_intact();
        if news.lost {
            std::thread::sleep(limit.min(LOST_SLEEP));
        }
        if news.woken && !news.lost {
            eventfd::reset(&self.waker);
        }
        news
    }

    /// Returns the pending events without sleeping. Leaves the eventfd as it is: only a leader resets it.
    pub(super) fn poll_now(&self) -> News {
        // The program may have closed the set, and may use its number for a set of its own.
        match &self.set {
            Some(set) if self.identity.has_mark_of(&set.0) => self.poll(0),
            _ => News { lost: true, ..News::default() },
        }
    }

    fn poll(&self, limit_ms: i32) -> News {
        let Some(set) = &self.set else { return News { lost: true, ..News::default() } };
        let mut events = [EpollEvent::empty(); 16];
        let timeout = EpollTimeout::try_from(limit_ms).unwrap_or(EpollTimeout::ZERO);
        let found = match threads::rest(|| set.wait(&mut events, timeout)) {
            Ok(found) => found,
            Err(Errno::EINTR) => 0,
            Err(_) => return News { lost: true, ..News::default() },
        };
        let mut news = News::default();
        for number in events[..found].iter().map(EpollEvent::data) {
            match number {
                WAKER => news.woken = true,
                START => news.starts = true,
                OUTPUT_BIT.. => news.printed.push(WorkerId((number ^ OUTPUT_BIT) as usize)),
                worker => news.ended.push(WorkerId(worker as usize)),
            }
        }
        news
    }
}
