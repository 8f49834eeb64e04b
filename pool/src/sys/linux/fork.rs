//! The two ways to copy this process, and the life of a copy.
#![allow(unsafe_code, reason = "forks")]

use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, Pid};

use super::fd::{self, Fd};
use super::named;
use super::pidfd::pidfd_of;
use crate::unwind;

/// Which of the two processes this one is after a fork.
#[derive(Debug)]
pub(crate) enum Fork {
    /// The one that called.
    Parent(Pid, Fd),
    /// The copy.
    Child,
}

/// Forks this process. The copy has all signals blocked, and of the crate's descriptors only those to keep. It is to
/// [`live`] at once.
///
/// # Safety
/// Either this process has one thread, or the copy needs nothing that another thread may hold at this moment. The
/// copy neither uses nor drops any other `Fd` or `Passed` that this process has.
pub(crate) unsafe fn fork(keep: &[&Fd]) -> io::Result<Fork> {
    let mut before = SigSet::empty();
    // No signal handler of the user's may run in a copy that is not set up yet.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    // SAFETY: the caller promises that the copy needs nothing that another thread of this process may hold now, which
    // is all that makes a fork unsafe.
    let forked = fd::fork_for_crate(|| unsafe { nix::unistd::fork() });
    if let Ok(ForkResult::Child) = forked {
        // SAFETY: this is the child, before anything else ran in it. The caller promises that it neither uses nor drops
        // any `Fd` or `Passed` of the parent's except those to keep.
        unsafe { fd::close_inherited(keep) };
        return Ok(Fork::Child);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    match forked.map_err(named("fork"))? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child, pidfd_of(child)?)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

/// Forks this process into a sibling: the copy is a child of this process's parent, which sees its true status whether
/// or not this process is still there. glibc's fork can't do that. So this does the two things that glibc would do for
/// the child: it sets the thread's id, and registers its list of robust locks.
///
/// # Safety
/// This process has one thread, or what the copy does needs nothing that another thread may hold at this moment.
pub(crate) unsafe fn fork_sibling() -> io::Result<Fork> {
    let thread_id = libc_thread_id();
    let mut flags = libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::SIGCHLD;
    if !thread_id.is_null() {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    let mut robust_list = std::ptr::null_mut::<libc::c_void>();
    let mut robust_len = 0usize;
    let mut pidfd: libc::c_int = -1;
    // SAFETY:
    // - get_robust_list writes one pointer and one length, into live variables of these types.
    // - raw_clone: the flags have no CLONE_VM, and CLONE_CHILD_* only with a thread id; `pidfd` is a live variable; and
    //   `thread_id` is where the C library keeps this thread's id, valid in the copy as long as its only thread runs.
    // - set_robust_list names the list that this thread had. The copy's only thread is a copy of it, with that list at
    // the same address.
    // - When a clone with CLONE_PIDFD succeeds, `pidfd` is a new descriptor that nothing else owns.
    unsafe {
        libc::syscall(libc::SYS_get_robust_list, 0, &raw mut robust_list, &raw mut robust_len);
        let pid = raw_clone(flags, &raw mut pidfd, thread_id);
        match pid {
            -1 => Err(named("clone")(io::Error::last_os_error())),
            0 => {
                if !robust_list.is_null() {
                    libc::syscall(libc::SYS_set_robust_list, robust_list, robust_len);
                }
                Ok(Fork::Child)
            }
            _ => Ok(Fork::Parent(Pid::from_raw(pid), Fd::new(OwnedFd::from_raw_fd(pidfd))?)),
        }
    }
}

/// clone(2) without a stack.
///
/// # Safety
/// The flags have no CLONE_VM. `pidfd` is valid for writes with CLONE_PIDFD. With CLONE_CHILD_SETTID or
/// CLONE_CHILD_CLEARTID, `child_id` is valid for writes in the copy until its thread ends.
unsafe fn raw_clone(flags: libc::c_int, pidfd: *mut libc::c_int, child_id: *mut libc::pid_t) -> libc::pid_t {
    let (no_stack, no_tls) = (std::ptr::null_mut::<libc::c_void>(), std::ptr::null_mut::<libc::c_void>());
    let flags = libc::c_long::from(flags);
    // SAFETY: without CLONE_VM the copy has its own memory and goes on with a copy of this stack, as after a fork. The
    // kernel writes through the pointers only as the flags say, and the caller promises that it may. The sequence of
    // the last two arguments differs by architecture; see clone(2).
    let pid = unsafe {
        #[cfg(target_arch = "x86_64")]
        let pid = libc::syscall(libc::SYS_clone, flags, no_stack, pidfd, child_id, no_tls);
        #[cfg(not(target_arch = "x86_64"))]
        let pid = libc::syscall(libc::SYS_clone, flags, no_stack, pidfd, no_tls, child_id);
        pid
    };
    pid as libc::pid_t
}

/// Where the C library keeps this thread's id, which a fork must set; null if that can't be known. glibc has the kernel
/// clear the id when the thread ends, so the kernel knows the place. Other C libraries have it clear something else.
fn libc_thread_id() -> *mut libc::pid_t {
    let mut place = std::ptr::null_mut::<libc::pid_t>();
    // SAFETY: the call writes one pointer into `place`, a live variable of that type. The C library has told the kernel
    // to store an aligned int at that address when this thread ends, so it is valid until then. It is read atomically,
    // for what other C libraries keep there their other threads may store to.
    unsafe {
        let known = libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut place) == 0 && !place.is_null();
        let is_id = known && AtomicI32::from_ptr(place).load(Ordering::Relaxed) == libc::gettid();
        if is_id { place } else { std::ptr::null_mut() }
    }
}

/// Runs `life` and exits: with code 0, or with 1 and the error's text on stderr. This process never returns to the
/// frames below this one.
pub(crate) fn live(life: impl FnOnce() -> Result<(), String>) -> ! {
    struct Exit(libc::c_int);
    impl Drop for Exit {
        fn drop(&mut self) {
            // SAFETY: _exit takes an integer, ends the process, and runs none of its code.
            unsafe { libc::_exit(self.0) }
        }
    }
    // Exits even if the lines below panic.
    let mut exit = Exit(101);
    let outcome = unwind::catch(life);
    if let Ok(Err(why)) = &outcome {
        let _ = writeln!(io::stderr(), "pool: process {} ends: {why}", std::process::id());
    }
    flush();
    exit.0 = outcome.map_or(101, |ended| i32::from(ended.is_err()));
    drop(exit);
    unreachable!("the process has exited")
}

/// Writes out what this process has printed and still buffers, Rust's and C's.
pub(crate) fn flush() {
    let _ = io::stdout().flush();
    // SAFETY: null means all open output streams of C, which are valid and have locks of their own.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}
