//! Workers that ask to be traced, although no debugger traces them.
//!
//! A task, or a library that it calls, may call `ptrace(PTRACE_TRACEME)`, which makes the thread of the parent that
//! started the worker the tracer. From then on a signal to the calling thread, even a fatal or an ignored one, only
//! stops it in a *trap*, until the tracer says what to do. No descriptor reports that.
//!
//! So the parent checks for traps from time to time, and lets the signal act as if the thread were not traced. The
//! kernel allows that only to the tracer's thread, but any thread that waits may drive the pool. If it is another
//! thread, the worker is killed, and the signal counts as the cause of its death. A thread of it that was traced is
//! then reaped like a child, which any thread may do; before that the worker would not end.
#![allow(unsafe_code, reason = "waitid for traps, and ptrace, which takes signals that nix has no name for")]

use nix::errno::Errno;
use nix::libc;

/// A thread that is stopped in a trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trap {
    thread: libc::pid_t,
    /// The signal that it got.
    pub(super) signal: libc::c_int,
}

impl Trap {
    /// A trap that stops a child with this process ID, or in the group with this ID, and that its tracer has not seen
    /// yet.
    pub(super) fn of(kind: libc::idtype_t, number: libc::id_t) -> Option<Self> {
        // SAFETY: a siginfo is made of numbers and pointers, so all zeroes is a valid one.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the call writes one siginfo into a live variable of that type.
        if unsafe { libc::waitid(kind, number, &raw mut info, flags) } != 0 {
            return None;
        }
        // SAFETY: waitid has filled these fields of the siginfo, or left their zeroes if no child is stopped.
        let (thread, signal) = unsafe { (info.si_pid(), info.si_status()) };
        // A stop by SIGSTOP is another code.
        (thread != 0 && info.si_code == libc::CLD_TRAPPED).then_some(Self { thread, signal })
    }

    /// Ends the tracing and lets the signal act. Fails if this thread is not the tracer.
    pub(super) fn release(self) -> nix::Result<()> {
        let (no_address, signal) = (std::ptr::null_mut::<libc::c_void>(), libc::c_long::from(self.signal));
        // SAFETY: this request takes integers and touches no memory of this process. The kernel refuses it for any
        // thread that is not stopped and traced by the calling thread.
        let released = unsafe { libc::ptrace(libc::PTRACE_DETACH, self.thread, no_address, signal) };
        Errno::result(released).map(drop)
    }

    /// Reaps the thread, if it has ended and is not the first of its process, which has this ID.
    pub(super) fn reap(self, process: libc::pid_t) {
        if self.thread != process {
            let flags = libc::WEXITED | libc::WNOHANG | libc::__WALL;
            // SAFETY: the call may be given no place for what it finds. It reaps no child of the user's: the thread is
            // one of a worker that has not been reaped.
            unsafe {
                libc::waitid(libc::P_PID, self.thread.cast_unsigned(), std::ptr::null_mut(), flags);
            }
        }
    }
}
