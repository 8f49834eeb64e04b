//! The threads of this process, as far as a fork cares. A fork copies only the calling thread, but also the locks that
//! the others hold. Threads of this crate's own that *rest* hold none.

use std::cell::Cell;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::unistd::{Pid, gettid};

use super::limits::named_start;
use super::{named, read_text};

/// A bit of the kernel's task flags, the ninth field of proc_pid_stat(5): the thread runs no more code of the program.
/// A thread that was just joined is still listed for a moment.
const PF_EXITING: u32 = 0x4;

/// The number of threads, including this one. An error means that the number is not known.
pub(crate) fn count() -> Result<usize, String> {
    count_but(&[])
}

/// The number of threads that are not among these.
fn count_but(resting: &[Pid]) -> Result<usize, String> {
    read_count(resting).map_err(|why| {
        format!(
            "how many threads this process has could not be found out, and a fork of one that has others is not sound: \
             {why}"
        )
    })
}

fn read_count(resting: &[Pid]) -> Result<usize, String> {
    let rests = |thread: &DirEntry| {
        let id = thread.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw);
        id.is_some_and(|id| resting.contains(&id))
    };
    match fs::read_dir("/proc/self/task") {
        Ok(threads) => {
            let threads = threads.filter_map(Result::ok).filter(|thread| !rests(thread));
            Ok(threads.filter(|thread| runs(&thread.path())).count())
        }
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

/// Whether this process has ever had threads of this crate's own, which rest or end by themselves.
static HAS_HAD_OWN: AtomicBool = AtomicBool::new(false);
/// How long to wait for such threads to rest or end.
const END_OF_OWN: Duration = Duration::from_millis(500);
/// The threads that rest. Whoever forks holds this lock, so that none of them stops resting meanwhile.
static RESTING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

thread_local! {
    /// Whether this is a thread of this crate's own that rests when it waits.
    static RESTS: Cell<bool> = const { Cell::new(false) };
}

/// Notes that a thread of this crate's own is about to start.
pub(crate) fn expect_own() {
    HAS_HAD_OWN.store(true, Ordering::Relaxed);
}

/// Makes this thread, one of this crate's own, rest when it waits.
pub(crate) fn become_resting() {
    RESTS.set(true);
}

/// Whether this thread rests when it waits.
pub(crate) fn rests() -> bool {
    RESTS.get()
}

/// Waits. A thread that [rests](become_resting) does so meanwhile, and goes on only while nobody forks. So `wait` must
/// hold nothing that a forked process needs: it makes system calls and uses locks of this crate's, no more.
pub(crate) fn rest<R>(wait: impl FnOnce() -> R) -> R {
    if !rests() {
        return wait();
    }
    let id = gettid();
    resting().push(id);
    let result = wait();
    resting().retain(|resting| *resting != id);
    result
}

fn resting() -> MutexGuard<'static, Vec<Pid>> {
    RESTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the threads that rest where they are.
pub(crate) struct Still {
    /// The number of the other threads, including this one.
    pub(crate) threads: usize,
    resting: MutexGuard<'static, Vec<Pid>>,
}

impl Still {
    /// Keeps them still now.
    pub(crate) fn now() -> Result<Self, String> {
        let resting = resting();
        Ok(Self { threads: count_but(&resting)?, resting })
    }

    /// Keeps them still once those that are about to rest or to end have done so.
    pub(crate) fn settled() -> Result<Self, String> {
        let deadline = Instant::now() + END_OF_OWN;
        loop {
            let still = Self::now()?;
            if still.threads == 1 || !HAS_HAD_OWN.load(Ordering::Relaxed) || Instant::now() >= deadline {
                return Ok(still);
            }
            drop(still);
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// Forgets them, in a fork, which has none of them.
    pub(crate) fn forget(mut self) {
        self.resting.clear();
    }
}

/// Does nothing: the C library knows the stack of each thread.
pub(crate) fn note_main() {}

/// How often this thread has waited, if the system tells. A thread that merely got no CPU has not.
pub(crate) fn waits() -> Option<i64> {
    getrusage(UsageWho::RUSAGE_THREAD).ok().map(|usage| usage.voluntary_context_switches())
}

/// Starts a thread with this name and stack, by default with as much as std gives.
pub(crate) fn spawn<T: Send + 'static>(
    name: String,
    stack: Option<usize>,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let builder = Builder::new().name(name);
    let spawned = match stack {
        Some(stack) => builder.stack_size(stack).spawn(run),
        None => builder.spawn(run),
    };
    spawned.map_err(named_start("clone"))
}

/// The size of a process's first stack. Only the part that is used takes memory.
pub(crate) fn main_stack() -> usize {
    /// The size if there is no limit.
    const LARGE: u64 = 256 << 20;
    getrlimit(Resource::RLIMIT_STACK).map_or(LARGE, |(soft, _)| soft).clamp(1 << 20, LARGE) as usize
}

/// Runs a function on a thread of its own, with as much stack as a process's first thread, and waits for its end.
/// Returns the function if no thread can be started.
pub(crate) fn on_own_thread<F: FnOnce() -> T + Send, T: Send>(run: F) -> Result<T, F> {
    let run = Mutex::new(Some(run));
    let take = || run.lock().unwrap_or_else(PoisonError::into_inner).take();
    let outcome = thread::scope(|scope| {
        let thread = Builder::new().stack_size(main_stack()).spawn_scoped(scope, || take().map(|run| run()));
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
    fn a_thread_that_rests_does_not_count_and_stays_where_it_is() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            become_resting();
            rest(|| {
                tell.send(gettid()).unwrap();
                let _ = released.recv();
            });
            tell.send(gettid()).unwrap();
        });
        let id = told.recv().unwrap();
        let others = |still: &Still| count_but(&still.resting).unwrap();
        let still = Still::now().unwrap();
        assert!(still.resting.contains(&id) && others(&still) == still.threads);
        drop(release);
        assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "it goes on while a fork is made");
        drop(still);
        assert_eq!(told.recv(), Ok(id));
        thread.join().unwrap();
        assert!(!Still::now().unwrap().resting.contains(&id));
    }

    #[test]
    fn the_flags_are_the_seventh_field_after_the_name() {
        assert!(!is_exiting("77 (a) name) S 1 77 77 0 -1 4194560 12 0"));
        assert!(is_exiting("77 (name) R 1 77 77 0 -1 4194564 12 0"));
        assert!(!is_exiting("77"));
    }
}
