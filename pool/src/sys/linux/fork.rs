//! The two ways to fork this process, and the life of a child.
#![allow(unsafe_code, reason = "forks")]

use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, Pid};

use super::fd::{self, Fd};
use super::limits::named_start;
use super::pidfd::pidfd_of;
use crate::unwind;

/// Which of the two processes this one is after a fork.
#[derive(Debug)]
pub(crate) enum Fork {
    /// The one that called.
    Parent(Pid, Fd),
    /// The one that was forked.
    Child,
}

/// Forks this process. The child has all signals blocked, and keeps only the given ones of the crate's descriptors. It
/// must [`live`] at once.
///
/// # Safety
/// Either this process has one thread, or the child needs nothing that another thread may hold at this moment. The
/// child neither uses nor drops any `Fd` or `Passed` of this process, except those to keep.
pub(crate) unsafe fn fork(keep: &[&Fd]) -> io::Result<Fork> {
    let mut before = SigSet::empty();
    // No signal handler of the user's may run in a child that is not set up yet.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    // SAFETY: a fork is unsound only if the child needs something that another thread holds at this moment, such as a
    // lock of the allocator. The caller promises that it does not.
    let forked = fd::fork_for_crate(|| unsafe { nix::unistd::fork() });
    if let Ok(ForkResult::Child) = forked {
        // SAFETY: this is the child, and nothing else has run in it. The caller promises that it neither uses nor drops
        // any `Fd` or `Passed` of the parent's, except those to keep.
        unsafe { fd::close_inherited(keep) };
        return Ok(Fork::Child);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    match forked.map_err(named_start("fork"))? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child, pidfd_of(child)?)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

/// Forks a sibling of this process: a child of this process's parent, which then sees its true exit status whether or
/// not this process still exists. glibc's fork can't do that. So this also does the two things that glibc does for a
/// child: it sets the thread ID, and registers the list of robust locks.
///
/// # Safety
/// Either this process has one thread, or the child needs nothing that another thread may hold at this moment.
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
    // - raw_clone: the flags lack CLONE_VM, and have CLONE_CHILD_* only if `thread_id` is not null; `pidfd` is a live
    //   variable; and `thread_id` is the place where the C library keeps this thread's ID, so in the child it is valid
    //   until its only thread ends.
    // - set_robust_list gets the list that this thread has. The child's only thread is a copy of this one, so its list
    //   is at the same address.
    // - When a clone with CLONE_PIDFD succeeds, `pidfd` is a new descriptor that nothing else owns.
    unsafe {
        libc::syscall(libc::SYS_get_robust_list, 0, &raw mut robust_list, &raw mut robust_len);
        let pid = raw_clone(flags, &raw mut pidfd, thread_id);
        match pid {
            -1 => Err(named_start("clone")(io::Error::last_os_error())),
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
/// The flags lack CLONE_VM. With CLONE_PIDFD, `pidfd` is valid for writes. With CLONE_CHILD_SETTID or
/// CLONE_CHILD_CLEARTID, `child_id` is valid for writes in the child until its thread ends.
unsafe fn raw_clone(flags: libc::c_int, pidfd: *mut libc::c_int, child_id: *mut libc::pid_t) -> libc::pid_t {
    let (no_stack, no_tls) = (std::ptr::null_mut::<libc::c_void>(), std::ptr::null_mut::<libc::c_void>());
    let flags = libc::c_long::from(flags);
    // SAFETY: without CLONE_VM the child has its own memory, and goes on with a copy of this stack, as after a fork.
    // The kernel writes through the pointers only as the flags say, for which the caller promises that they are valid.
    // The order of the last two arguments differs between architectures; see clone(2).
    let pid = unsafe {
        #[cfg(target_arch = "x86_64")]
        let pid = libc::syscall(libc::SYS_clone, flags, no_stack, pidfd, child_id, no_tls);
        #[cfg(not(target_arch = "x86_64"))]
        let pid = libc::syscall(libc::SYS_clone, flags, no_stack, pidfd, no_tls, child_id);
        pid
    };
    pid as libc::pid_t
}

/// The place where the C library keeps this thread's ID, which a fork must set; null if it is unknown. glibc has the
/// kernel clear the ID when the thread ends, so the kernel knows the place. Other C libraries have it clear something
/// else.
fn libc_thread_id() -> *mut libc::pid_t {
    let mut place = std::ptr::null_mut::<libc::pid_t>();
    // SAFETY: the call writes one pointer into `place`, a live variable of that type. The C library has told the kernel
    // to store an aligned int at that address when this thread ends, so it is valid until then. The read is atomic,
    // because other C libraries may keep something there to which other threads store.
    unsafe {
        let known = libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut place) == 0 && !place.is_null();
        let is_id = known && AtomicI32::from_ptr(place).load(Ordering::Relaxed) == libc::gettid();
        if is_id { place } else { std::ptr::null_mut() }
    }
}

/// Runs `life` and exits: with code 0, or with 1 and the error's text on stderr. Never returns to the caller's frames.
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

/// Flushes the output that this process still buffers, in Rust and in C.
pub(crate) fn flush() {
    let _ = io::stdout().flush();
    // SAFETY: null means all open output streams of C, which are valid, and which fflush locks.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}
