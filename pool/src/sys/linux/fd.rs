//! The descriptors that this crate makes: never 0, 1 or 2, closed by exec, and listed by number, so that a forked child
//! can close its parent's without touching the user's.
//!
//! The user's code may close them nevertheless: a function that turns a process into a daemon closes every number, and
//! the next file that is opened gets one that is free. So each descriptor has an [`Identity`], which tells, after the
//! user's code ran, whether the number still stands for it.
#![allow(
    unsafe_code,
    reason = "closes by number what a fork copied; two commands of fcntl that nix does not wrap"
)]

use std::cell::Cell;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use nix::libc;
use nix::sys::stat::{SFlag, fstat};

use super::named;

static OPEN: Mutex<Vec<Number>> = Mutex::new(Vec::new());

/// A number, and the open file that it stood for when the crate got it.
#[derive(Debug)]
struct Number {
    /// Tells entries apart: two have the same number if the user has closed the first one's.
    entry: u64,
    number: RawFd,
    /// None where an `OwnedFd` of the crate's has the number, which nobody else may close.
    identity: Option<Identity>,
}

impl Number {
    /// Whether it certainly stands for that file. Where a sandbox has denied the mark, it may be a file of the user's.
    ///
    /// Makes system calls only, so that a forked copy of a process with other threads may call it.
    fn is_ours(&self) -> bool {
        // SAFETY: the borrow ends with this function, which passes it to fstat and fcntl only. They take any number,
        // and return an error for one that is closed.
        let fd = unsafe { BorrowedFd::borrow_raw(self.number) };
        self.identity.is_none_or(|identity| identity.mark != UNMARKED && identity.is_of(&fd))
    }
}

/// A descriptor of this crate's own, known by its number.
#[derive(Debug)]
pub(crate) struct Fd {
    // Dropped first: once the number is closed, it may be another's.
    known: Known,
    fd: Guarded,
}

impl Fd {
    /// Takes a descriptor over.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let fd = Guarded::new(fd)?;
        Ok(Self { known: Known::new(&fd, fd.identity), fd })
    }

    /// Gives the descriptor away and removes it from the list. Dropping the result closes the number, whatever it
    /// stands for: only for descriptors that end before any of the user's code runs.
    pub(crate) fn into_owned(self) -> OwnedFd {
        self.fd.into_owned()
    }

    /// Whether the number still stands for this descriptor.
    pub(crate) fn is_intact(&self) -> bool {
        self.fd.is_intact()
    }

    /// This descriptor, or an error if it is not intact.
    pub(crate) fn intact(&self) -> io::Result<&Self> {
        self.fd.intact()?;
        Ok(self)
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A descriptor that the user's code may close. Dropping it closes the number if that still stands for it.
#[derive(Debug)]
pub(crate) struct Guarded {
    fd: ManuallyDrop<OwnedFd>,
    identity: Identity,
}

impl Guarded {
    /// Takes a descriptor over.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let fd = above_standard(fd)?;
        Ok(Self { identity: Identity::give(&fd)?, fd: ManuallyDrop::new(fd) })
    }

    fn into_owned(self) -> OwnedFd {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this.fd` is taken once: `this` is neither used again nor dropped.
        unsafe { ManuallyDrop::take(&mut this.fd) }
    }

    /// Whether the number still stands for this descriptor: false once someone has closed it, whatever has the number
    /// now.
    pub(crate) fn is_intact(&self) -> bool {
        self.identity.is_of(&*self.fd)
    }

    /// The descriptor, or an error if it is not intact.
    pub(crate) fn intact(&self) -> io::Result<&Self> {
        match self.is_intact() {
            true => Ok(self),
            false => Err(io::Error::other("this process has closed a descriptor of the pool's")),
        }
    }

    /// As [`is_intact`](Self::is_intact), with one system call, for files of the kinds that are marked.
    #[inline]
    pub(crate) fn has_its_mark(&self) -> bool {
        self.identity.has_mark_of(&*self.fd)
    }
}

impl AsFd for Guarded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if self.is_intact() {
            // SAFETY: this runs once, and nothing uses the field afterwards.
            unsafe { ManuallyDrop::drop(&mut self.fd) }
        }
    }
}

/// Tells an open file from all others by its inode. Some kinds of files, such as eventfds, share one inode. Those get a
/// mark: the number of a signal, which such files never send, and which no file of the user's has set. The mark goes
/// with the open file to other processes, and stays as the first one has set it. Two such files of this crate's have
/// the same mark: if the user has closed one of them, and the other has got the number, the [`Turn`] tells them apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    device: libc::dev_t,
    inode: libc::ino_t,
    mark: libc::c_int,
    turn: Turn,
}

impl Identity {
    /// Gives an open file its identity, or finds the one that it has.
    pub(crate) fn give(fd: &impl AsFd) -> io::Result<Self> {
        let (device, inode, mut mark) = find(fd)?;
        if mark == UNMARKED {
            // Most likely different from a worker's, whose own pools have such files too.
            let own = std::process::id().cast_signed() % MOST_SIGNAL + 1;
            // Where a sandbox denies this, eventfds can't be told apart.
            // SAFETY: the command takes an integer and touches no memory of this process.
            unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), F_SETSIG, own) };
            mark = mark_of(fd).max(UNMARKED);
        }
        Ok(Self { device, inode, mark, turn: Turn::take(fd) })
    }

    /// Whether this descriptor has this identity.
    pub(crate) fn is_of(&self, fd: &impl AsFd) -> bool {
        self.turn.lasts(fd) && find(fd).is_ok_and(|found| found == (self.device, self.inode, self.mark))
    }

    /// As [`is_of`](Self::is_of), with one system call, for files of the kinds that are marked.
    #[inline]
    pub(crate) fn has_mark_of(&self, fd: &impl AsFd) -> bool {
        // Where a sandbox has denied the mark, the inode must do.
        if self.mark > UNMARKED { self.turn.lasts(fd) && mark_of(fd) == self.mark } else { self.is_of(fd) }
    }
}

/// The device, inode and mark of an open file.
fn find(fd: &impl AsFd) -> io::Result<(libc::dev_t, libc::ino_t, libc::c_int)> {
    let stat = fstat(fd)?;
    let mark = if is_anonymous(stat.st_mode) { mark_of(fd).max(UNMARKED) } else { NEEDS_NONE };
    Ok((stat.st_dev, stat.st_ino, mark))
}

/// A descriptor's turn at its number. It is over when another descriptor of this crate's has the number: the kernel
/// gives it out again only once it is closed.
#[derive(Debug, Clone, Copy)]
struct Turn(u64);

/// The last turn at each number. Where numbers are higher, nothing but the file tells descriptors apart.
static LAST_TURNS: [AtomicU64; 4096] = [const { AtomicU64::new(0) }; 4096];

impl Turn {
    fn take(fd: &impl AsFd) -> Self {
        static TURNS: AtomicU64 = AtomicU64::new(1);
        let turn = TURNS.fetch_add(1, Ordering::Relaxed);
        if let Some(last) = Self::last_at(fd) {
            last.store(turn, Ordering::Relaxed);
        }
        Self(turn)
    }

    #[inline]
    fn lasts(self, fd: &impl AsFd) -> bool {
        Self::last_at(fd).is_none_or(|last| last.load(Ordering::Relaxed) == self.0)
    }

    fn last_at(fd: &impl AsFd) -> Option<&'static AtomicU64> {
        LAST_TURNS.get(fd.as_fd().as_raw_fd() as usize)
    }
}

/// fcntl(2); the same numbers on all architectures that the crate runs on, and not in the libc crate.
pub(super) const F_SETSIG: libc::c_int = 10;
const F_GETSIG: libc::c_int = 11;
/// The kernel takes every number up to this one for a signal, on all architectures.
const MOST_SIGNAL: libc::c_int = 64;
/// What `F_GETSIG` returns for a file without a mark.
const UNMARKED: libc::c_int = 0;
/// The mark of a file with an inode of its own.
const NEEDS_NONE: libc::c_int = libc::c_int::MIN;

/// Whether the file's inode has no type; then many files may share it.
fn is_anonymous(mode: libc::mode_t) -> bool {
    mode & SFlag::S_IFMT.bits() == 0
}

/// The number that an open file is marked with.
fn mark_of(fd: &impl AsFd) -> libc::c_int {
    // SAFETY: the command takes no argument and touches no memory of this process.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), F_GETSIG) }
}

/// Moves a descriptor if it is one of the standard three, as happens in a program that was started with one of them
/// closed: otherwise printing would write into it.
pub(crate) fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    // std duplicates to the lowest free number from 3 on, closed by exec.
    if fd.as_raw_fd() > 2 {
        Ok(fd)
    } else {
        fd.try_clone().map_err(named("a descriptor above the standard three"))
    }
}

/// Keeps a number on the list of the crate's own descriptors while it lives. For a descriptor that another type owns;
/// to be dropped before that.
#[derive(Debug)]
pub(crate) struct Known(u64);

impl Known {
    /// For one that the user's code may close.
    pub(crate) fn new(fd: &impl AsFd, identity: Identity) -> Self {
        Self::enter(fd, Some(identity))
    }

    /// For one that is closed before any of the user's code runs.
    pub(super) fn owned(fd: &OwnedFd) -> Self {
        Turn::take(fd);
        Self::enter(fd, None)
    }

    fn enter(fd: &impl AsFd, identity: Option<Identity>) -> Self {
        static ENTRIES: AtomicU64 = AtomicU64::new(0);
        let entry = ENTRIES.fetch_add(1, Ordering::Relaxed);
        open().push(Number { entry, number: fd.as_fd().as_raw_fd(), identity });
        Self(entry)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut open = open();
        if let Some(at) = open.iter().position(|known| known.entry == self.0) {
            open.swap_remove(at);
        }
    }
}

/// Closes the descriptors of this crate that a fork copied, except those to keep. Numbers that have become the user's
/// stay as they are.
///
/// # Safety
/// The process was just forked, and no `Fd` or `Passed` of the parent's is used or dropped in it, except those to keep.
pub(super) unsafe fn close_inherited(keep: &[&Fd]) {
    // If another thread of the parent held the list during the fork, nobody here will ever release it. Then nothing is
    // closed, for the list may be half changed.
    let mut open = match OPEN.try_lock() {
        Ok(open) => open,
        Err(TryLockError::Poisoned(open)) => open.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    open.retain(|fd| {
        let kept = keep.iter().any(|keep| keep.known.0 == fd.entry);
        if !kept && fd.is_ours() {
            // SAFETY: the number stands for the crate's own file: `is_ours` found that, or an `OwnedFd` has it, which
            // nobody else may close. The caller promises that its owner is neither used nor dropped in this process, so
            // nobody relies on it.
            unsafe { libc::close(fd.number) };
        }
        kept
    });
}

thread_local! {
    /// Whether this thread forks for the crate, which closes descriptors in the copy itself.
    static FORKS_FOR_CRATE: Cell<bool> = const { Cell::new(false) };
    /// The lock of the list, held during a fork, so that the copy finds the list whole.
    static HELD: Cell<Option<ManuallyDrop<MutexGuard<'static, Vec<Number>>>>> = const { Cell::new(None) };
}

/// Forks without the effect of [`close_in_forks`]: the caller closes descriptors itself.
pub(super) fn fork_for_crate<R>(fork: impl FnOnce() -> R) -> R {
    FORKS_FOR_CRATE.set(true);
    let forked = fork();
    FORKS_FOR_CRATE.set(false);
    forked
}

/// Makes children that the program forks from here on lose this crate's descriptors. As long as such a child has a copy
/// of a lifeline's end, the workers do not notice the death of this process. Each number then stands for an unused
/// eventfd, unless the user's code had closed it: then it stays as it is. Programs that are started by exec never have
/// the descriptors, and children that are forked without the C library keep them.
pub(super) fn close_in_forks() -> io::Result<()> {
    static REGISTERED: OnceLock<libc::c_int> = OnceLock::new();
    // SAFETY: the three functions have the signature of such handlers and are there for good. They use this module's
    // list only, and the one for the child only makes system calls and frees a lock that its own thread holds: it may
    // run in a copy of a process that had other threads.
    let register = || unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_fork)) };
    match *REGISTERED.get_or_init(register) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// How often to try for the list. Waiting without end could deadlock: a signal handler that forks may have interrupted
/// the thread that holds it.
const TRIES: u32 = 1000;

extern "C" fn before_fork() {
    if FORKS_FOR_CRATE.get() {
        return;
    }
    for _ in 0..TRIES {
        let open = match OPEN.try_lock() {
            Ok(open) => open,
            Err(TryLockError::Poisoned(open)) => open.into_inner(),
            Err(TryLockError::WouldBlock) => {
                std::thread::yield_now();
                continue;
            }
        };
        return HELD.set(Some(ManuallyDrop::new(open)));
    }
}

extern "C" fn after_fork() {
    if let Some(open) = HELD.take() {
        drop(ManuallyDrop::into_inner(open));
    }
}

extern "C" fn in_fork() {
    let Some(open) = HELD.take() else { return };
    let open = ManuallyDrop::into_inner(open);
    if open.is_empty() {
        return;
    }
    // SAFETY: the calls take integers. Each number stands for a file of this crate's own, which this copy has no use
    // for: `is_ours` found that, or an `OwnedFd` has it. It becomes an eventfd, or is closed where there is none; then
    // `Guarded` closes nothing, as it checks first, and an `OwnedFd` is never dropped here: the thread that has it runs
    // none of the user's code, so it is another one than has forked, and did not come along. `nothing` may get a listed
    // number that the user has closed: it has no mark, so it is not ours.
    unsafe {
        let nothing = libc::eventfd(0, libc::EFD_CLOEXEC);
        for fd in open.iter().filter(|fd| fd.is_ours()) {
            if nothing < 0 || libc::dup3(nothing, fd.number, libc::O_CLOEXEC) < 0 {
                libc::close(fd.number);
            }
        }
        if nothing >= 0 {
            libc::close(nothing);
        }
    }
}

fn open() -> MutexGuard<'static, Vec<Number>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::fd::FromRawFd;

    use super::*;
    use crate::sys::passed::Passed;

    #[test]
    fn a_descriptor_is_known_while_it_is_owned() {
        let (end, _other) = io::pipe().unwrap();
        let fd = Fd::new(end.into()).unwrap();
        let number = fd.as_fd().as_raw_fd();
        let is_known = || open().iter().any(|known| known.number == number);
        assert!(is_known());
        let owned = fd.into_owned();
        assert_eq!(owned.as_raw_fd(), number);
        assert!(!is_known());
    }

    /// Every kind of file that the crate makes, twice.
    fn files() -> Vec<[OwnedFd; 2]> {
        use nix::sys::{epoll, eventfd, memfd, socket};

        let twice = |make: &dyn Fn() -> OwnedFd| [make(), make()];
        let own = std::process::id();
        let pidfd = || {
            // SAFETY: pidfd_open takes integers, and nothing else knows the descriptor that it makes.
            unsafe { OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, own, 0) as libc::c_int) }
        };
        let socket = || {
            let kind = socket::SockType::SeqPacket;
            socket::socketpair(socket::AddressFamily::Unix, kind, None, socket::SockFlag::empty()).unwrap().0
        };
        vec![
            twice(&|| io::pipe().unwrap().0.into()),
            twice(&|| eventfd::EventFd::new().unwrap().into()),
            twice(&|| epoll::Epoll::new(epoll::EpollCreateFlags::empty()).unwrap().0),
            twice(&|| memfd::memfd_create("pool test", memfd::MFdFlags::empty()).unwrap()),
            twice(&pidfd),
            twice(&socket),
        ]
    }

    #[test]
    fn another_file_with_the_number_is_not_taken_for_it() {
        for [ours, theirs] in files() {
            let ours = Guarded::new(ours).unwrap();
            assert!(ours.is_intact(), "{ours:?}");
            let copy = Guarded::new(ours.as_fd().try_clone_to_owned().unwrap()).unwrap();
            assert_eq!(find(&copy).unwrap(), find(&ours).unwrap());
            let number = ours.as_fd().as_raw_fd();
            // SAFETY: the number is that of a descriptor of this test's own.
            unsafe { libc::dup2(theirs.as_raw_fd(), number) };
            assert!(!ours.is_intact() && copy.is_intact(), "{ours:?}");
            assert!(!ours.has_its_mark() && copy.has_its_mark());
            drop(ours);
            // SAFETY: as above; the other file at this number was left open, and is closed here.
            assert_eq!(unsafe { libc::close(number) }, 0);
        }
    }

    /// The user's code has closed the number, and another descriptor of the crate's has got it.
    #[test]
    fn another_of_its_own_with_the_number_is_not_taken_for_it() {
        for [first, second] in files() {
            let first = Guarded::new(first).unwrap();
            let number = first.as_fd().as_raw_fd();
            // SAFETY: the number is that of a descriptor of this test's own, which `first` must not use any more. The
            // other descriptor at it is owned by `again` only.
            let again = unsafe {
                libc::dup2(second.as_raw_fd(), number);
                OwnedFd::from_raw_fd(number)
            };
            let again = Fd::new(again).unwrap();
            assert!(!first.is_intact() && !first.has_its_mark() && again.is_intact(), "{first:?}");
            drop(first);
            assert!(again.is_intact(), "{again:?} was closed");

            // SAFETY: as above.
            let passed = unsafe {
                libc::dup2(second.as_raw_fd(), number);
                OwnedFd::from_raw_fd(number)
            };
            let passed = Passed::new(passed).unwrap();
            drop(again);
            assert!(find(&passed).is_ok(), "{passed:?} was closed");
        }
    }
}
