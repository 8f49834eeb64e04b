//! Faults in workers: std's handler reports the thread that overflowed its stack, and lets all other faults kill the
//! process.
//!
//! Workers keep that handler, but put one of this crate's in front. std's handler returns and relies on the fault to
//! occur again; so a SIGSEGV that another process sends would have no effect the first time, and a worker must die of
//! it.
#![allow(unsafe_code, reason = "a signal handler, and the one that it calls")]

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::libc;

type Handler = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

const FAULTS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];
/// The handlers of [`FAULTS`] that are std's; 0 for none.
static STD: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Notes std's fault handlers: those that are installed when `main` begins.
pub(crate) fn note_std_handlers() {
    for (signal, noted) in FAULTS.into_iter().zip(&STD) {
        noted.store(std_handler(signal).unwrap_or(0), Ordering::Relaxed);
    }
}

fn action_of(signal: libc::c_int) -> Option<libc::sigaction> {
    // SAFETY: a sigaction is made of numbers and a mask, so all zeroes is a valid one.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the call sets no action, and writes the old one into a live variable.
    (unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) } == 0).then_some(action)
}

fn std_handler(signal: libc::c_int) -> Option<usize> {
    let action = action_of(signal)?;
    let is_handler = ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction);
    (is_handler && action.sa_flags & libc::SA_SIGINFO != 0).then_some(action.sa_sigaction)
}

/// Leaves the signal to std in a worker, if the noted handler is std's; false if it is not.
pub(super) fn leave_to_std(signal: libc::c_int) -> bool {
    let Some(at) = FAULTS.iter().position(|fault| *fault == signal) else { return false };
    let (noted, ours) = (STD[at].load(Ordering::Relaxed), on_fault as Handler as usize);
    let Some(mut action) = action_of(signal).filter(|_| noted != 0) else { return false };
    if ![noted, ours].contains(&action.sa_sigaction) {
        return false;
    }
    action.sa_sigaction = ours;
    // SAFETY: `on_fault` has the signature that the flags of std's action ask for, SA_SIGINFO among them, and makes
    // only calls that a signal handler may make.
    (unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }) == 0
}

/// Runs on a fault, or when a process sends the same signal.
unsafe extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a handler with SA_SIGINFO a valid siginfo.
    let is_sent = unsafe { (*info).si_code } <= 0;
    let noted = FAULTS.iter().zip(&STD).find(|(fault, _)| **fault == signal);
    let noted = noted.map_or(0, |(_, noted)| noted.load(Ordering::Relaxed));
    if is_sent || noted == 0 {
        // SAFETY: both calls are async-signal-safe. The signal is blocked until this handler returns, and then kills.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return;
    }
    // SAFETY: the number is the address of a handler that was installed with SA_SIGINFO, so it is a function with this
    // signature. It was noted at the start of `main`, in this process or in the one from which it was forked, so it is
    // valid here.
    unsafe {
        let handler = std::mem::transmute::<usize, Handler>(noted);
        handler(signal, info, context);
    }
}
