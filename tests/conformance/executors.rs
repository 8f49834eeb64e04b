//! Executors that use only this thread, so that it can still fork, and wakers that report each call.

use std::fs;
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures::stream::Stream;

/// Runs the future on each executor.
pub(crate) fn in_each<F: Future<Output = Result<(), pool::Error>>>(
    future: impl Fn() -> F,
) -> Result<(), pool::Error> {
    futures::executor::block_on(future())?;
    tokio().block_on(future())
}

/// A runtime with timers and without other threads.
pub(crate) fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("there is memory for it")
}

struct Told(Sender<()>);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        // The receiver may be gone.
        let _ = self.0.send(());
    }
}

/// A waker, and the receiver of its calls.
pub(crate) fn waker() -> (Waker, Receiver<()>) {
    let (tell, calls) = channel();
    (Waker::from(Arc::new(Told(tell))), calls)
}

/// Waits until the pool's thread sleeps, and has slept for a while: long enough to notice a thread that polls.
pub(crate) fn wait_until_the_background_sleeps() {
    let mut asleep = 0;
    while asleep < 1000 {
        asleep = if background_state() == Some('S') { asleep + 1 } else { 0 };
        thread::yield_now();
    }
}

/// Waits until the pool's thread sleeps for longer than it would if it expected anything from a worker.
pub(crate) fn wait_until_the_background_sleeps_deeply() {
    const LONGEST_CHECK: Duration = Duration::from_millis(250);
    let (mut last, mut since) = (None, Instant::now());
    while last.is_none() || since.elapsed() < 2 * LONGEST_CHECK {
        let now = background().filter(|_| background_state() == Some('S')).and_then(|task| sleeps_of(&task));
        if now != last {
            (last, since) = (now, Instant::now());
        }
        thread::yield_now();
    }
}

/// How often a thread has fallen asleep: proc_pid_status(5).
fn sleeps_of(task: &Path) -> Option<u64> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

/// The pool's background thread.
fn background() -> Option<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten().map(|task| task.path());
    let name = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap_or_default();
    tasks.into_iter().find(|task| name(task).trim_end() == "pool background")
}

/// Its state, as proc_pid_stat(5) has it.
fn background_state() -> Option<char> {
    let stat = fs::read_to_string(background()?.join("stat")).ok()?;
    stat.split_once("(pool background) ")?.1.chars().next()
}

/// Waits until the pool has no such thread any more.
pub(crate) fn wait_until_the_background_is_gone() {
    while background_state().is_some() {
        thread::yield_now();
    }
}

/// Lets the other futures of this thread run.
pub(crate) async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The next result, if it has come.
pub(crate) fn poll<R>(stream: &mut (impl Stream<Item = R> + Unpin), waker: &Waker) -> Poll<Option<R>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(waker))
}
