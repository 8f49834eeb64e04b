//! Progress bars. What came of tasks is counted where it comes in, so a bar moves within a chunk.

mod draw_target;
mod nested;
mod screen;
mod terminal;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{HumanCount, ProgressBar};

use crate::ids::WorkerId;
use crate::observe::End;
use crate::role;
use crate::role::WorkerKind;
use crate::sys::clock::now_ns;

pub(crate) use nested::NestedProgress;
use nested::{ProgressSlot, WorkerPath};
use screen::Bar;
pub(crate) use screen::{clear_bars_while, suspend_bars};

thread_local! {
    /// Whose calls are made on this thread, as this process sees it.
    static ORIGIN: Cell<WorkerPath> = const { Cell::new(WorkerPath::HERE) };
}

/// This process, or this thread, is a worker from here on; what its calls show goes to the board.
pub(crate) fn enter_worker(worker: WorkerId, kind: WorkerKind, board: Option<&[u8]>) {
    match kind {
        WorkerKind::Thread => ORIGIN.set(WorkerPath::HERE.of_worker(worker)),
        WorkerKind::Process => {
            ORIGIN.set(WorkerPath::HERE);
            // A fork has copies of what its parent shows.
            screen::forget();
            nested::enter(board);
        }
    }
}

/// The bar that a call asks for.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// One that is made for it.
    Own,
    /// The caller's.
    Given(ProgressBar),
}

/// A call's bar.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    line: Line,
    seen: Arc<Seen>,
}

/// Where it is.
#[derive(Debug, Clone)]
enum Line {
    /// With the caller, who may share it with others.
    Given(ProgressBar),
    /// On this process's terminal.
    Here(Bar),
    /// On that of a process above: this is a worker.
    Above(ProgressSlot),
}

/// What was seen of a call.
#[derive(Debug)]
struct Seen {
    over: AtomicU64,
    failed: AtomicU64,
    /// The length that this call has given the bar; [`UNTOLD`] before that, and where the bar has its maker's.
    told: AtomicU64,
    /// When the bar was drawn last because time had passed.
    ticked_at: AtomicU64,
}

const UNTOLD: u64 = u64::MAX;

impl Default for Seen {
    fn default() -> Self {
        let [over, failed, ticked_at] = [0; 3].map(AtomicU64::new);
        Self { over, failed, told: AtomicU64::new(UNTOLD), ticked_at }
    }
}

/// Where nothing comes, a bar is drawn no more often than this. Who waits looks a little less often.
const TICK_NS: u64 = 40_000_000;

impl Progress {
    /// None where it would be seen by no one.
    pub(crate) fn new(wanted: Wanted, tasks: Option<u64>) -> Option<Self> {
        let line = match wanted {
            Wanted::Given(bar) => Line::Given(bar),
            Wanted::Own => Line::new(ORIGIN.get())?,
        };
        let progress = Self { line, seen: Arc::default() };
        if let Some(tasks) = tasks {
            progress.know(tasks);
        }
        Some(progress)
    }

    /// There are so many tasks, as far as is known by now: the caller, or an iterator, may have promised another number
    /// than comes.
    pub(crate) fn know(&self, tasks: u64) {
        let tasks = tasks.max(self.seen.over.load(Ordering::Relaxed));
        let told = self.seen.told.load(Ordering::Relaxed);
        match &self.line {
            _ if told == tasks => return,
            Line::Given(bar) => match bar.length() {
                // Others may have made it longer since.
                Some(length) if told != UNTOLD => {
                    bar.set_length(length.saturating_sub(told).saturating_add(tasks));
                }
                Some(_) => return,
                None => bar.set_length(tasks),
            },
            Line::Here(bar) => bar.know(tasks),
            Line::Above(place) => place.know(tasks),
        }
        self.seen.told.store(tasks, Ordering::Relaxed);
    }

    /// So many tasks more are over; with none, time has passed.
    pub(crate) fn count(&self, done: u64, failed: u64) {
        let over = done + failed;
        let all_over = add(&self.seen.over, over);
        let all_failed = add(&self.seen.failed, failed);
        match &self.line {
            Line::Given(bar) | Line::Here(Bar { bar, .. }) => {
                if failed > 0 {
                    bar.set_message(format!(" {} failed", HumanCount(all_failed)));
                }
                match over {
                    0 => self.tick(bar),
                    // It is drawn now and then.
                    over => bar.inc(over),
                }
            }
            Line::Above(place) => place.show(all_over, all_failed),
        }
        let told = self.seen.told.load(Ordering::Relaxed);
        if told != UNTOLD && all_over > told {
            self.know(all_over);
        }
    }

    /// So many are over by now, as somebody else has counted.
    fn reach(&self, over: u64, failed: u64) {
        let more = |by_now: u64, seen: &AtomicU64| by_now.saturating_sub(seen.load(Ordering::Relaxed));
        let (over, failed) = (more(over, &self.seen.over), more(failed, &self.seen.failed));
        self.count(over.saturating_sub(failed), failed);
    }

    /// A bar among others is drawn whenever it is told to.
    fn tick(&self, bar: &ProgressBar) {
        let now = now_ns();
        if now.saturating_sub(self.seen.ticked_at.load(Ordering::Relaxed)) >= TICK_NS {
            self.seen.ticked_at.store(now, Ordering::Relaxed);
            bar.tick();
        }
    }

    /// The call has ended.
    pub(crate) fn end(&self, how: End) {
        match &self.line {
            // Others may count on it.
            Line::Given(bar) => {
                if bar.length().is_some_and(|tasks| bar.position() >= tasks) {
                    bar.finish_using_style();
                }
            }
            Line::Here(bar) => bar.end(how, self.seen.failed.load(Ordering::Relaxed)),
            Line::Above(place) => place.end(how),
        }
    }
}

impl Line {
    fn new(origin: WorkerPath) -> Option<Self> {
        if role::is_worker_process() {
            ProgressSlot::take(origin).map(Self::Above)
        } else {
            Some(Self::Here(Bar::new(origin)))
        }
    }
}

/// Adds to it; says what it is then.
fn add(sum: &AtomicU64, more: u64) -> u64 {
    sum.fetch_add(more, Ordering::Relaxed).wrapping_add(more)
}
