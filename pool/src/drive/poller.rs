//! What a leader sleeps on: the bell that workers ring, the workers' ends, and what they print.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{read, write};

use crate::sys::fd::{Fd, Identity, Known, above_standard};
use crate::sys::named;

/// The bell's number in the poll set. Workers have theirs, and what they print has it with a mark.
const BELL: u64 = u64::MAX;
const PRINTS: u64 = 1 << 32;
/// Where there is nothing to sleep on, it is looked this often.
const LOST: Duration = Duration::from_millis(1);
/// A sleeper looks around this often, whatever it was told.
const LONGEST: Duration = Duration::from_secs(3600);

/// The poll set.
pub(crate) struct Poller {
    _known: Known,
    /// There while this lives.
    set: Option<Epoll>,
    identity: Identity,
    bell: Fd,
}

/// Of which workers there is what.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) ended: Vec<usize>,
    pub(super) printed: Vec<usize>,
    rung: bool,
    /// The program has closed what the sleeper sleeps on.
    pub(super) lost: bool,
}

impl Drop for Poller {
    fn drop(&mut self) {
        if let Some(set) = self.set.take().filter(|set| !self.identity.is_of(&set.0)) {
            // What has its number now is not closed.
            std::mem::forget(set);
        }
    }
}

/// How long to sleep at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sleep {
    pub(super) limit: Option<Duration>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let set = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(named("epoll_create"))?;
        let set = Epoll(above_standard(set.0)?);
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let bell = bell.map_err(named("eventfd"))?;
        let bell = Fd::new(bell.into())?;
        set.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        let identity = Identity::give(&set.0)?;
        Ok(Self { _known: Known::new(&set.0, identity), set: Some(set), identity, bell })
    }

    /// The bell, for a new worker.
    pub(super) fn bell(&self) -> io::Result<OwnedFd> {
        self.bell.intact()?.as_fd().try_clone_to_owned().map_err(named("a copy of the eventfd"))
    }

    fn set(&self) -> io::Result<&Epoll> {
        let set = self.set.as_ref().filter(|set| self.identity.is_of(&set.0));
        set.ok_or_else(|| io::Error::other("this process has closed a descriptor of the pool's"))
    }

    /// From here on the end of this worker ends a sleep, until its pidfd is closed.
    pub(super) fn watch(&self, pidfd: BorrowedFd<'_>, worker: usize) -> io::Result<()> {
        Ok(self.set()?.add(pidfd, EpollEvent::new(EpollFlags::EPOLLIN, worker as u64))?)
    }

    /// From here on what this worker prints ends a sleep, and is told once.
    pub(super) fn watch_prints(&self, pipe: BorrowedFd<'_>, worker: usize) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        Ok(self.set()?.add(pipe, EpollEvent::new(flags, worker as u64 | PRINTS))?)
    }

    /// Wakes the sleeper.
    pub(super) fn wake(&self) {
        if self.bell.is_intact() {
            // A full counter means that it has been woken already.
            let _ = write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    /// Sleeps until the bell rings, there is news, or the time is over.
    pub(super) fn sleep(&self, sleep: Sleep) -> News {
        let limit = sleep.limit.unwrap_or(LONGEST).min(LONGEST);
        // Rounded up: a sleep that ends before the deadline would be followed by many short ones.
        let mut news = self.poll(limit.as_micros().div_ceil(1000) as i32);
        // It rings for as long as workers have it, also where the program has closed it here.
        news.lost |= news.rung && !self.bell.is_intact();
        if news.lost {
            std::thread::sleep(limit.min(LOST));
        }
        if news.rung && !news.lost {
            // Nothing to read means that it does not ring any more.
            let _ = read(&self.bell, &mut [0; 8]);
        }
        news
    }

    /// What news there is by now. The bell is left for the sleeper that it rings for. Who is about to sleep has looked a
    /// moment ago, so that it is enough to be careful here.
    pub(super) fn look(&self) -> News {
        // The program may have closed the set, and the number may be that of a set of its own.
        match &self.set {
            Some(set) if self.identity.has_mark_of(&set.0) => self.poll(0),
            _ => News { lost: true, ..News::default() },
        }
    }

    fn poll(&self, limit_ms: i32) -> News {
        let Some(set) = &self.set else { return News { lost: true, ..News::default() } };
        let mut events = [EpollEvent::empty(); 16];
        let timeout = EpollTimeout::try_from(limit_ms).unwrap_or(EpollTimeout::ZERO);
        let found = match set.wait(&mut events, timeout) {
            Ok(found) => found,
            Err(Errno::EINTR) => 0,
            Err(_) => return News { lost: true, ..News::default() },
        };
        let mut news = News::default();
        for number in events[..found].iter().map(EpollEvent::data) {
            match number {
                BELL => news.rung = true,
                PRINTS.. => news.printed.push((number ^ PRINTS) as usize),
                worker => news.ended.push(worker as usize),
            }
        }
        news
    }
}
