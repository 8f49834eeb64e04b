//! The two ways to copy this process, and the life of a copy.
#![allow(unsafe_code, reason = "forks")]

use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, Pid};

use super::fd::{self, Fd};
use super::named;
use super::process::pidfd_of;
use crate::unwind;

/// Which of the two a process is after a fork.
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
/// copy neither uses nor drops any other `Fd` that this process has.
pub(crate) unsafe fn fork(keep: &[&Fd]) -> io::Result<Fork> {
    let mut before = SigSet::empty();
    // No handler of the user's shall run in a copy that is half born.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    // SAFETY: the caller's word.
    let forked = fd::fork_for_crate(|| unsafe { nix::unistd::fork() });
    if let Ok(ForkResult::Child) = forked {
        // SAFETY: this process was just forked; the rest is the caller's word.
        unsafe { fd::close_inherited(keep) };
        return Ok(Fork::Child);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    match forked.map_err(named("fork"))? {
        ForkResult::Parent { child } => Ok(Fork::Parent(child, pidfd_of(child)?)),
        ForkResult::Child => Ok(Fork::Child),
    }
}

/// Forks this process into a sibling: the copy is a child of this process's parent, who sees its true status, and
/// to whom this process's own death is no matter. glibc's fork can't do that, so what it would put right in the
/// child is put right here: the thread's id, and its list of robust locks.
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
    // SAFETY: get_robust_list writes the two variables only. clone without CLONE_VM or a stack is a fork: it writes
    // `pidfd` here and, in the copy's own memory, the thread id at the address where the C library keeps it. The
    // list that set_robust_list names lies at the same address in the copy.
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

/// # Safety
/// The flags are those of a fork, and the pointers are valid for what they ask for.
unsafe fn raw_clone(flags: libc::c_int, pidfd: *mut libc::c_int, child_id: *mut libc::pid_t) -> libc::pid_t {
    let (no_stack, no_tls) = (std::ptr::null_mut::<libc::c_void>(), std::ptr::null_mut::<libc::c_void>());
    let flags = libc::c_long::from(flags);
    // SAFETY: the caller's word. The order of the last two differs by architecture; see clone(2).
    let pid = unsafe {
        #[cfg(target_arch = "x86_64")]
        let pid = libc::syscall(libc::SYS_clone, flags, no_stack, pidfd, child_id, no_tls);
        #[cfg(not(target_arch = "x86_64"))]
        let pid = libc::syscall(libc::SYS_clone, flags, no_stack, pidfd, no_tls, child_id);
        pid
    };
    pid as libc::pid_t
}

/// Where the C library keeps this thread's id, which a fork must set anew; null if that can't be known. glibc lets
/// the kernel clear the id there when the thread ends, so the kernel knows the place; what another C library has
/// the kernel clear is not the id.
fn libc_thread_id() -> *mut libc::pid_t {
    let mut place = std::ptr::null_mut::<libc::pid_t>();
    // SAFETY: the call writes the address into `place`; a place that the kernel will write to at the thread's end is
    // valid memory until then.
    unsafe {
        let known = libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut place) == 0 && !place.is_null();
        if known && *place == libc::gettid() { place } else { std::ptr::null_mut() }
    }
}

/// Lives a process's life and exits: with code 0, or 1 and the error's text on stderr. Whatever stands below this
/// frame on the stack never runs again in this process.
pub(crate) fn live(life: impl FnOnce() -> Result<(), String>) -> ! {
    struct Exit(libc::c_int);
    impl Drop for Exit {
        fn drop(&mut self) {
            // SAFETY: _exit ends the process at once.
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

/// Writes out what was printed but still lies in the buffers of this process, Rust's and C's.
pub(crate) fn flush() {
    let _ = io::stdout().flush();
    // SAFETY: null means all of C's output streams, which lock themselves.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}
