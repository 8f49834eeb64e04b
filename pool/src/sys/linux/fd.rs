//! The descriptors that this crate opens: never 0, 1 or 2, close-on-exec, and listed by number, so that a forked child
//! can close its parent's without touching the user's.
//!
//! User code may close them nevertheless: a function that daemonizes a process closes every number, and the next file
//! to be opened gets a free one. So each descriptor has an [`Identity`], which tells, after user code has run, whether
//! the number still stands for it.
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

/// A descriptor's number, and the open file that it stood for when the crate got it.
#[derive(Debug)]
struct Number {
    /// Tells entries apart: two have the same number if the user has closed the first.
    entry: u64,
    number: RawFd,
    identity: Identity,
}

impl Number {
    /// Whether the number certainly still stands for that file. Not if a sandbox denied the mark: then it may be a file
    /// of the user's.
    ///
    /// Only makes system calls, so the fork of a process with other threads may call it.
    fn is_ours(&self) -> bool {
        // SAFETY: the borrow ends with this function, which only passes it to fstat and fcntl. These accept any number,
        // and return an error for a closed one.
        let fd = unsafe { BorrowedFd::borrow_raw(self.number) };
        self.identity.mark != UNMARKED && self.identity.is_of(&fd)
    }
}

/// A descriptor of this crate's own, on the list.
#[derive(Debug)]
pub(crate) struct Fd {
    // Dropped first: once the number is closed, another file may get it.
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
    /// stands for by then, so this is only for descriptors that end before any user code runs.
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

/// A descriptor that user code may close. Dropping it closes the number only if that still stands for it.
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
        // SAFETY: `this` is a `ManuallyDrop` that is not used again, so nothing takes or drops `this.fd` a second time.
        unsafe { ManuallyDrop::take(&mut this.fd) }
    }

    /// Whether the number still stands for this descriptor: false once it was closed, whatever has the number now.
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

    /// Like [`is_intact`](Self::is_intact), but with a single system call for the kinds of files that are marked.
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
            // SAFETY: `drop` runs at most once, and nothing uses the field after it.
            unsafe { ManuallyDrop::drop(&mut self.fd) }
        }
    }
}

/// Tells an open file from all others by its inode. Some kinds of files, such as eventfds, share one inode. Those get a
/// mark: a signal number (`F_SETSIG`), which has no effect on such files and which users do not set on theirs. The mark
/// belongs to the open file: it travels with it to other processes, and stays as the first process set it. All such
/// files of this crate have the same mark. If the user closes one of them and another gets its number, the [`Turn`]
/// tells them apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    device: libc::dev_t,
    inode: libc::ino_t,
    mark: libc::c_int,
    turn: Turn,
}

impl Identity {
    /// Gives an open file its identity, or finds the one that it already has.
    pub(crate) fn give(fd: &impl AsFd) -> io::Result<Self> {
        let (device, inode, mut mark) = find(fd)?;
        if mark == UNMARKED {
            // Most likely not the mark that a worker uses for the files of its own pools.
            let own = std::process::id().cast_signed() % MOST_SIGNAL + 1;
            // If a sandbox denies this, eventfds can't be told apart.
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

    /// Like [`is_of`](Self::is_of), but with a single system call for the kinds of files that are marked.
    #[inline]
    pub(crate) fn has_mark_of(&self, fd: &impl AsFd) -> bool {
        // If a sandbox has denied the mark, the inode must do.
        if self.mark > UNMARKED { self.turn.lasts(fd) && mark_of(fd) == self.mark } else { self.is_of(fd) }
    }
}

/// The device, inode and mark of an open file.
fn find(fd: &impl AsFd) -> io::Result<(libc::dev_t, libc::ino_t, libc::c_int)> {
    let stat = fstat(fd)?;
    let mark = if is_anonymous(stat.st_mode) { mark_of(fd).max(UNMARKED) } else { NEEDS_NONE };
    Ok((stat.st_dev, stat.st_ino, mark))
}

/// A descriptor's turn at its number. It is over once another descriptor of this crate has the number, because the
/// kernel reuses a number only after it was closed.
#[derive(Debug, Clone, Copy)]
struct Turn(u64);

/// The last turn at each number. Descriptors with higher numbers are told apart by their files alone.
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

/// From fcntl(2): the same on all architectures that the crate supports, and missing in the libc crate.
pub(super) const F_SETSIG: libc::c_int = 10;
const F_GETSIG: libc::c_int = 11;
/// The highest signal number: 64 on all architectures that the crate supports.
const MOST_SIGNAL: libc::c_int = 64;
/// The result of `F_GETSIG` for a file without a mark.
const UNMARKED: libc::c_int = 0;
/// The mark of a file that has an inode of its own, and needs none.
const NEEDS_NONE: libc::c_int = libc::c_int::MIN;

/// Whether the file's inode has no type, as those that many files share.
fn is_anonymous(mode: libc::mode_t) -> bool {
    mode & SFlag::S_IFMT.bits() == 0
}

/// The mark of an open file.
fn mark_of(fd: &impl AsFd) -> libc::c_int {
    // SAFETY: the command takes no argument and touches no memory of this process.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), F_GETSIG) }
}

/// Moves a descriptor that has one of the three standard numbers, as happens in a program that was started with one of
/// them closed. Otherwise printing would write into it.
pub(crate) fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    // std duplicates to the lowest free number from 3 on, with close-on-exec.
    if fd.as_raw_fd() > 2 {
        Ok(fd)
    } else {
        fd.try_clone().map_err(named("a descriptor above the standard three"))
    }
}

/// Keeps a number on the list of the crate's own descriptors while it lives. Another type owns the descriptor; drop
/// this first.
#[derive(Debug)]
pub(crate) struct Known(u64);

impl Known {
    pub(crate) fn new(fd: &impl AsFd, identity: Identity) -> Self {
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

/// Closes this crate's descriptors in a fork, except those to keep. Numbers that now belong to the user stay open.
///
/// # Safety
/// The process was just forked, and neither uses nor drops any `Fd` or `Passed` of the parent's, except those to keep.
pub(super) unsafe fn close_inherited(keep: &[&Fd]) {
    // If another thread of the parent held the lock during the fork, nothing here will ever release it, and the list
    // may be half changed. Then nothing is closed.
    let mut open = match OPEN.try_lock() {
        Ok(open) => open,
        Err(TryLockError::Poisoned(open)) => open.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    open.retain(|fd| {
        let kept = keep.iter().any(|keep| keep.known.0 == fd.entry);
        if !kept && fd.is_ours() {
            // SAFETY: the number stands for the crate's own file: `is_ours` found so, or an `OwnedFd` owns it, which
            // nothing else may close. The caller promises that this process neither uses nor drops the owner, so
            // nothing here relies on the number.
            unsafe { libc::close(fd.number) };
        }
        kept
    });
}

thread_local! {
    /// Whether this thread forks for the crate, which then closes the child's descriptors itself.
    static FORKS_FOR_CRATE: Cell<bool> = const { Cell::new(false) };
    /// The lock of the list, held during a fork so that the child finds the list consistent.
    static HELD: Cell<Option<ManuallyDrop<MutexGuard<'static, Vec<Number>>>>> = const { Cell::new(None) };
}

/// Forks without the effect of [`close_in_forks`]: the caller closes the descriptors itself.
pub(super) fn fork_for_crate<R>(fork: impl FnOnce() -> R) -> R {
    FORKS_FOR_CRATE.set(true);
    let forked = fork();
    FORKS_FOR_CRATE.set(false);
    forked
}

/// From now on, children that the program forks lose this crate's descriptors. A child with a copy of a lifeline's
/// write end would keep the workers from noticing the death of this process. In the child each number stands for an
/// unused eventfd instead; a number that user code had closed stays as it is. Programs that are started by exec never
/// have the descriptors. Children that are forked without the C library keep them.
pub(super) fn close_in_forks() -> io::Result<()> {
    static REGISTERED: OnceLock<libc::c_int> = OnceLock::new();
    // SAFETY: the three functions have the signature of fork handlers, and code is never unloaded. They use only this
    // module's list. The child's handler only makes system calls and releases a lock that its own thread holds, so it
    // may run in the fork of a process that had other threads.
    let register = || unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_fork)) };
    match *REGISTERED.get_or_init(register) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// How often to try for the lock of the list. Waiting forever could deadlock: a signal handler that forks may have
/// interrupted the thread that holds it.
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
    // SAFETY: the calls take integers. Each number stands for a file of this crate's own, which the child has no use
    // for: `is_ours` found so, or an `OwnedFd` owns it. The number becomes an eventfd, or is closed if there is none.
    // Later drops in this process do no harm. A `Guarded` checks first, and then closes nothing. An `OwnedFd` is never
    // dropped here: the thread that has it runs no user code, so it is not the thread that forked, and does not exist
    // in the child. `nothing` may get a listed number that the user has closed: it has no mark, so it is not ours.
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

    /// User code has closed the number, and another descriptor of the crate has got it.
    #[test]
    fn another_of_its_own_with_the_number_is_not_taken_for_it() {
        for [first, second] in files() {
            let first = Guarded::new(first).unwrap();
            let number = first.as_fd().as_raw_fd();
            // SAFETY: the number is that of a descriptor of this test's own, which `first` must not use any more. Only
            // `again` owns the other descriptor at that number.
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
