//! The poll set on which a leader sleeps: an eventfd by which workers wake it, the workers' ends, and what they print.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{read, write};

use crate::ids::WorkerId;
use crate::sys::fd::{Fd, Identity, Known, above_standard};
use crate::sys::named;

/// The number of the waker, the eventfd, in the poll set. A worker's pidfd has the worker's number, and its pipe the
/// same with a mark.
const WAKER: u64 = u64::MAX;
const PRINTS: u64 = 1 << 32;
/// How often to look where there is nothing to sleep on.
const LOST: Duration = Duration::from_millis(1);
/// A sleeper looks around this often, whatever it was told.
const LONGEST: Duration = Duration::from_secs(3600);

/// The poll set.
pub(crate) struct Poller {
    _known: Known,
    /// There while this lives.
    set: Option<Epoll>,
    identity: Identity,
    waker: Fd,
}

/// Of which workers there is what.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) ended: Vec<WorkerId>,
    pub(super) printed: Vec<WorkerId>,
    woken: bool,
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
        let waker = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let waker = waker.map_err(named("eventfd"))?;
        let waker = Fd::new(waker.into())?;
        set.add(&waker, EpollEvent::new(EpollFlags::EPOLLIN, WAKER))?;
        let identity = Identity::give(&set.0)?;
        Ok(Self { _known: Known::new(&set.0, identity), set: Some(set), identity, waker })
    }

    /// A copy of the waker, for a new worker.
    pub(super) fn waker(&self) -> io::Result<OwnedFd> {
        self.waker.intact()?.as_fd().try_clone_to_owned().map_err(named("a copy of the eventfd"))
    }

    /// From here on two kinds of news of this worker end a sleep: its end, until its pidfd is closed, and what comes
    /// through its pipes, which is told once.
    pub(super) fn watch<'f>(
        &self,
        worker: WorkerId,
        pidfd: Option<BorrowedFd<'f>>,
        pipes: impl Iterator<Item = BorrowedFd<'f>>,
    ) -> io::Result<()> {
        let set = self.set.as_ref().filter(|set| self.identity.has_mark_of(&set.0));
        let set =
            set.ok_or_else(|| io::Error::other("this process has closed a descriptor of the pool's"))?;
        let number = worker.0 as u64;
        let end = pidfd.map(|pidfd| (pidfd, EpollEvent::new(EpollFlags::EPOLLIN, number)));
        let once = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, number | PRINTS);
        for (fd, event) in end.into_iter().chain(pipes.map(|pipe| (pipe, once))) {
            set.add(fd, event)?;
        }
        Ok(())
    }

    /// Wakes the sleeper.
    pub(super) fn wake(&self) {
        if self.waker.is_intact() {
            // A full counter means that it has been woken already.
            let _ = write(&self.waker, &1u64.to_ne_bytes());
        }
    }

    /// Sleeps until it is woken, there is news, or the time is over.
    pub(super) fn sleep(&self, sleep: Sleep) -> News {
        let limit = sleep.limit.unwrap_or(LONGEST).min(LONGEST);
        // Rounded up: a sleep that ends before the deadline would be followed by many short ones.
        let mut news = self.poll(limit.as_micros().div_ceil(1000) as i32);
        // The set reports the waker as long as workers have it, even if the program has closed it here.
        news.lost |= news.woken && !self.waker.is_intact();
        if news.lost {
            std::thread::sleep(limit.min(LOST));
        }
        if news.woken && !news.lost {
            // Nothing to read means that another sleeper has read it.
            let _ = read(&self.waker, &mut [0; 8]);
        }
        news
    }

    /// The news that there is by now. Does not read the waker, which is for a sleeper.
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
                WAKER => news.woken = true,
                PRINTS.. => news.printed.push(WorkerId((number ^ PRINTS) as usize)),
                worker => news.ended.push(WorkerId(worker as usize)),
            }
        }
        news
    }
}
