//! Resets what a new process must not inherit from its parent.
#![allow(unsafe_code, reason = "resets signal dispositions")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use super::{faults, read_text, standard};

/// The signals that a worker ignores. SIGPIPE, so that writing to a pipe without a reader is an error, as in every Rust
/// program. The other two stop a background process that uses the terminal. A worker is always a background process,
/// and nothing would continue it; with the signals ignored, its writes go through and its reads fail.
const IGNORED: [libc::c_int; 3] = [libc::SIGPIPE, libc::SIGTTIN, libc::SIGTTOU];

/// How much is added to a worker's score when the kernel chooses a process to kill for lack of memory, in thousandths
/// of all memory. At 1000, a worker comes first even if the main process holds nearly all memory.
const OOM_SCORE_OF_WORKER: i32 = 1000;
/// The same for a process that only starts workers. It is lower, because ending it frees little.
const OOM_SCORE_OF_SERVER: i32 = 900;
const MOST_OOM_SCORE: i32 = 1000;

/// Makes a new process independent of its parent's signal settings. All signals stay blocked: a process that only forks
/// workers is ended by its parent, and a worker unblocks them when it is ready. The parent sets the process group;
/// umask and working directory are inherited.
pub(crate) fn clean(name: &str) -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
    reset_dispositions();
    open_standard_streams()?;
    set_name(name);
    raise_oom_score(OOM_SCORE_OF_SERVER);
    Ok(())
}

/// Makes the kernel kill this worker before the process that starts workers.
pub(crate) fn raise_worker_oom_score() {
    raise_oom_score(OOM_SCORE_OF_WORKER - OOM_SCORE_OF_SERVER);
}

/// Unblocks signals, with the dispositions that [`clean`] has set.
pub(crate) fn unblock_signals() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Sets the name that ps and top show, of which the kernel keeps at most 15 bytes.
pub(crate) fn set_name(name: &str) {
    if let Ok(name) = CString::new(name) {
        // Nothing depends on the name.
        let _ = nix::sys::prctl::set_name(&name);
    }
}

fn reset_dispositions() {
    // The C library refuses the two numbers that it keeps for itself, and the kernel refuses SIGKILL and SIGSTOP.
    for signal in (1..=libc::SIGRTMAX()).filter(|signal| !faults::leave_to_std(*signal)) {
        let disposition = if IGNORED.contains(&signal) { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: neither disposition runs code of this process.
        unsafe { libc::signal(signal, disposition) };
    }
}

/// Makes standard input empty, and opens the other two streams if they are closed. Otherwise the next file that a task
/// opens would get the number that printing writes to.
fn open_standard_streams() -> io::Result<()> {
    loop {
        let null = standard::nothing(OFlag::empty())?;
        if null.as_raw_fd() > 2 {
            return Ok(nix::unistd::dup2_stdin(null)?);
        }
        // The lowest free number stays taken.
        let _ = null.into_raw_fd();
    }
}

/// Raises the score as far as possible: if /proc is missing or can't be written, the kernel chooses by size alone.
/// Raising the score takes no privilege. Nested workers stop at the highest score.
fn raise_oom_score(by: i32) {
    const FILE: &str = "/proc/self/oom_score_adj";
    /// The score is not read yet. A score that was set by this process, or by the server from which it was forked, need
    /// not be read again.
    const UNKNOWN: i32 = i32::MIN;
    static SCORE: AtomicI32 = AtomicI32::new(UNKNOWN);
    let ask = || read_text(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let known = Some(SCORE.load(Ordering::Relaxed)).filter(|score| *score != UNKNOWN);
    let Some(score) = known.or_else(ask) else { return };
    let raised = score.saturating_add(by).min(MOST_OOM_SCORE);
    if fs::write(FILE, raised.to_string()).is_ok() {
        SCORE.store(raised, Ordering::Relaxed);
    }
}
