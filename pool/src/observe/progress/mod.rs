//! Progress bars. A call counts each task when its result arrives, so a bar moves within a chunk too.
//!
//! In a worker process nobody sees a bar: its calls write how far they are into memory that the parent reads
//! ([`nested`]), and the parent shows a bar for them, or passes the counts on to its own parent.

mod draw_target;
mod nested;
mod screen;
mod terminal;
mod worker_path;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{HumanCount, ProgressBar};

use crate::error::ShownLabel;
use crate::ids::WorkerId;
use crate::observe::End;
use crate::role;
use crate::role::WorkerKind;
use crate::sys::clock::now_ns;

pub(crate) use nested::NestedProgress;
use nested::ProgressSlot;
use screen::Bar;
pub(crate) use screen::{clear_bars_while, suspend_bars};
use worker_path::WorkerPath;

thread_local! {
    /// The way from this process to the worker that this thread is: a worker thread is one step away.
    static THIS_WORKER: Cell<WorkerPath> = const { Cell::new(WorkerPath::HERE) };
}

/// Makes this process, or this thread, a worker. A process's calls show their progress through `nested`, the handle of
/// a [`NestedProgress`].
pub(crate) fn enter_worker(worker: WorkerId, kind: WorkerKind, nested: Option<&[u8]>) {
    match kind {
        WorkerKind::Thread => THIS_WORKER.set(WorkerPath::HERE.of_worker(worker)),
        WorkerKind::Process => {
            THIS_WORKER.set(WorkerPath::HERE);
            screen::reset_after_fork();
            nested::enter_worker(nested);
        }
    }
}

/// Which bar a call asks for.
#[derive(Debug, Clone)]
pub(crate) enum BarRequest {
    /// One of its own.
    Own,
    /// The caller's, who may share it with other calls.
    Given(ProgressBar),
}

/// The progress of a call.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    output: Output,
    counts: Arc<Counts>,
}

/// Where progress is shown.
#[derive(Debug, Clone)]
enum Output {
    /// On the caller's bar.
    Given(ProgressBar),
    /// On the terminal of this process.
    Screen(Bar),
    /// Wherever the parent of this worker shows it.
    Parent(ProgressSlot),
}

/// How far a call is.
#[derive(Debug)]
struct Counts {
    /// How many tasks are over, failed ones included.
    over: AtomicU64,
    failed: AtomicU64,
    /// The total that this call has set. [`UNSET`] before that, and always for a given bar that came with a length.
    total: AtomicU64,
    /// When the bar was last drawn only because time had passed.
    ticked_at_ns: AtomicU64,
}

const UNSET: u64 = u64::MAX;

/// How many characters of a label a bar shows: they take the place of the bar's own in a narrow terminal.
const LONGEST_LABEL: usize = 24;

impl Default for Counts {
    fn default() -> Self {
        let [over, failed, ticked_at_ns] = [0; 3].map(AtomicU64::new);
        Self { over, failed, total: AtomicU64::new(UNSET), ticked_at_ns }
    }
}

/// The least time between two drawings while no task ends. A waiting caller wakes up a little less often than this.
const TICK_NS: u64 = 40_000_000;

impl Progress {
    /// None where nobody would see it.
    pub(crate) fn new(request: BarRequest, total: Option<u64>, label: Option<&str>) -> Option<Self> {
        let output = match request {
            BarRequest::Given(bar) => Output::Given(bar),
            BarRequest::Own => {
                let label = label.map(|label| ShownLabel(label).cut_to(LONGEST_LABEL));
                Output::new(THIS_WORKER.get(), label.as_deref())?
            }
        };
        let progress = Self { output, counts: Arc::default() };
        if let Some(total) = total {
            progress.set_total(total);
        }
        Some(progress)
    }

    /// Sets the number of tasks, which may change: what the caller or an iterator promised may not be what comes.
    pub(crate) fn set_total(&self, total: u64) {
        let total = total.max(self.counts.over.load(Ordering::Relaxed));
        let last = self.counts.total.load(Ordering::Relaxed);
        match &self.output {
            _ if last == total => return,
            Output::Given(bar) => match bar.length() {
                // Other calls may have added to its length since.
                Some(length) if last != UNSET => {
                    bar.set_length(length.saturating_sub(last).saturating_add(total));
                }
                Some(_) => return,
                None => bar.set_length(total),
            },
            Output::Screen(bar) => bar.set_total(total),
            Output::Parent(slot) => slot.set_total(total),
        }
        self.counts.total.store(total, Ordering::Relaxed);
    }

    /// Counts tasks that are over. With none, redraws the bar, whose clock goes on.
    pub(crate) fn count(&self, done: u64, failed: u64) {
        let over = done + failed;
        let all_over = add(&self.counts.over, over);
        let all_failed = add(&self.counts.failed, failed);
        match &self.output {
            Output::Given(bar) | Output::Screen(Bar { bar, .. }) => {
                if failed > 0 {
                    bar.set_message(format!(" {} failed", HumanCount(all_failed)));
                }
                match over {
                    0 => self.tick(bar),
                    // The bar itself limits how often it is drawn.
                    over => bar.inc(over),
                }
            }
            Output::Parent(slot) => slot.set_counts(all_over, all_failed),
        }
        let total = self.counts.total.load(Ordering::Relaxed);
        if total != UNSET && all_over > total {
            self.set_total(all_over);
        }
    }

    /// Counts what brings both counts up to these.
    fn count_up_to(&self, over: u64, failed: u64) {
        let missing = |to: u64, count: &AtomicU64| to.saturating_sub(count.load(Ordering::Relaxed));
        let (over, failed) = (missing(over, &self.counts.over), missing(failed, &self.counts.failed));
        self.count(over.saturating_sub(failed), failed);
    }

    /// Draws the bar, unless it was drawn a moment ago: one among others does not limit this itself.
    fn tick(&self, bar: &ProgressBar) {
        let now = now_ns();
        if now.saturating_sub(self.counts.ticked_at_ns.load(Ordering::Relaxed)) >= TICK_NS {
            self.counts.ticked_at_ns.store(now, Ordering::Relaxed);
            bar.tick();
        }
    }

    /// Shows that the call has ended.
    pub(crate) fn end(&self, how: End) {
        match &self.output {
            // It ends when it is full: other calls may share it.
            Output::Given(bar) => {
                if bar.length().is_some_and(|length| bar.position() >= length) {
                    bar.finish_using_style();
                }
            }
            Output::Screen(bar) => bar.end(how, self.counts.failed.load(Ordering::Relaxed)),
            Output::Parent(slot) => slot.end(how),
        }
    }
}

impl Output {
    /// For a call of this worker's, or of the main process, with its label as it is shown. None where nobody would
    /// see it.
    fn new(worker: WorkerPath, label: Option<&str>) -> Option<Self> {
        if role::is_worker_process() {
            ProgressSlot::take(worker, label).map(Self::Parent)
        } else {
            Some(Self::Screen(Bar::new(worker, label)))
        }
    }
}

/// Adds to a count, and returns it.
fn add(sum: &AtomicU64, more: u64) -> u64 {
    sum.fetch_add(more, Ordering::Relaxed).wrapping_add(more)
}
