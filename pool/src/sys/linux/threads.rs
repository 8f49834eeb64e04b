//! How many threads this process has. A fork copies only the calling thread, but also the locks that the others hold.

use std::fs;
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::resource::{Resource, getrlimit};

use super::{named, read_text};

/// A bit of the kernel's task flags, the ninth field of proc_pid_stat(5): the thread runs no more code of the program.
/// A thread that was just joined is still listed for a moment.
const PF_EXITING: u32 = 0x4;

/// The number of threads, including this one. An error means that the number is not known.
pub(crate) fn count() -> Result<usize, String> {
    read_count().map_err(|why| {
        format!(
            "how many threads this process has could not be found out, and a fork of one that has others is not sound: \
             {why}"
        )
    })
}

fn read_count() -> Result<usize, String> {
    match fs::read_dir("/proc/self/task") {
        Ok(threads) => Ok(threads.filter_map(Result::ok).filter(|thread| runs(&thread.path())).count()),
        Err(_) => {
            const FILE: &str = "/proc/self/status";
            let status = read_text(FILE).map_err(|error| named(FILE)(error).to_string())?;
            let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
            threads
                .and_then(|count| count.trim().parse().ok())
                .ok_or_else(|| "no thread count in /proc".into())
        }
    }
}

/// Whether this process has ever had threads of this crate's own, which end by themselves when they are idle.
static HAS_HAD_OWN: AtomicBool = AtomicBool::new(false);
/// How long to wait for such threads to end.
const END_OF_OWN: Duration = Duration::from_millis(500);

/// Notes that a thread of this crate's own is about to start.
pub(crate) fn expect_own() {
    HAS_HAD_OWN.store(true, Ordering::Relaxed);
}

/// The number of threads, after threads of this crate's own that are about to end have ended.
pub(crate) fn count_settled() -> Result<usize, String> {
    let deadline = Instant::now() + END_OF_OWN;
    loop {
        let threads = count()?;
        if threads == 1 || !HAS_HAD_OWN.load(Ordering::Relaxed) || Instant::now() >= deadline {
            return Ok(threads);
        }
        thread::sleep(Duration::from_micros(100));
    }
}

/// Runs a function on a thread of its own, with as much stack as a process's first thread, and waits for its end.
/// Returns the function if no thread can be started.
pub(crate) fn on_own_thread<F: FnOnce() -> T + Send, T: Send>(run: F) -> Result<T, F> {
    /// The stack size if there is no limit. Only the part that is used takes memory.
    const LARGE: u64 = 256 << 20;
    let limit = getrlimit(Resource::RLIMIT_STACK).map_or(LARGE, |(soft, _)| soft).clamp(1 << 20, LARGE);
    let run = Mutex::new(Some(run));
    let take = || run.lock().unwrap_or_else(PoisonError::into_inner).take();
    let outcome = thread::scope(|scope| {
        let thread =
            Builder::new().stack_size(limit as usize).spawn_scoped(scope, || take().map(|run| run()));
        thread.ok().and_then(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    outcome.ok_or_else(|| take().expect("a thread that never was has taken nothing"))
}

fn runs(thread: &Path) -> bool {
    match read_text(thread.join("stat")) {
        Ok(stat) => !is_exiting(&stat),
        // It ended after it was listed.
        Err(error) => error.kind() != ErrorKind::NotFound && error.raw_os_error() != Some(libc::ESRCH),
    }
}

fn is_exiting(stat: &str) -> bool {
    // The name, in parentheses, may contain anything; the ninth field is the seventh after it.
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let flags = fields.split_ascii_whitespace().nth(6);
    flags.and_then(|flags| flags.parse::<u32>().ok()).is_some_and(|flags| flags & PF_EXITING != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_thread_does_not_count() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            released.recv()
        });
        let listed = Path::new("/proc/self/task").join(told.recv().unwrap().to_string());
        assert!(runs(&listed) && count().unwrap() >= 2);
        drop(release);
        thread.join().unwrap().unwrap_err();
        assert!(!runs(&listed));
    }

    #[test]
    fn the_flags_are_the_seventh_field_after_the_name() {
        assert!(!is_exiting("77 (a) name) S 1 77 77 0 -1 4194560 12 0"));
        assert!(is_exiting("77 (name) R 1 77 77 0 -1 4194564 12 0"));
        assert!(!is_exiting("77"));
    }
}
