//! Progress bars. What came of tasks is counted where it comes in, so a bar moves within a chunk.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::boot::{self, Role};
use crate::job::End;
use crate::lane::now_ns;

/// The bars that calls have of their own: a line for each, where several are under way.
static OWN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
/// How many of them may move yet.
static MOVING: AtomicUsize = AtomicUsize::new(0);

/// Does what would disturb bars, and draws them again.
pub(crate) fn aside<R>(what: impl FnOnce() -> R) -> R {
    if MOVING.load(Ordering::Relaxed) > 0 { OWN.suspend(what) } else { what() }
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
    bar: ProgressBar,
    /// It has a line of its own. Others are the caller's, who may share them, or are not shown.
    own: bool,
    seen: Arc<Seen>,
}

/// What was seen of a call.
#[derive(Debug, Default)]
struct Seen {
    failed: AtomicU64,
    /// When the bar was drawn last because time had passed.
    ticked_at: AtomicU64,
}

/// Where nothing comes, a bar is drawn no more often than this. Who waits looks a little less often.
const TICK_NS: u64 = 40_000_000;

const KNOWN: &str = "{percent:>3}% {bar:30} {human_pos}/{human_len} [{elapsed}<{eta}, {rate}]{msg}";
const UNKNOWN: &str = "{spinner} {human_pos} [{elapsed}, {rate}]{msg}";

/// How many tasks a second, without digits that nobody reads.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    let rate = state.per_sec();
    // Nobody is left to tell of a terminal that can't be written to.
    let _ =
        if rate < 100.0 { write!(out, "{rate:.1}/s") } else { write!(out, "{}/s", HumanCount(rate as u64)) };
}

impl Progress {
    pub(crate) fn new(wanted: Wanted, tasks: Option<u64>) -> Self {
        let (bar, own) = match wanted {
            Wanted::Given(bar) => (bar, false),
            // A worker has the terminal of its parent, which has a bar there.
            Wanted::Own if boot::role() != Role::Main => (ProgressBar::hidden(), false),
            Wanted::Own => {
                MOVING.fetch_add(1, Ordering::Relaxed);
                (OWN.add(ProgressBar::no_length()), true)
            }
        };
        let progress = Self { bar, own, seen: Arc::default() };
        progress.style(UNKNOWN);
        if let Some(tasks) = tasks {
            progress.know(tasks);
        }
        progress
    }

    fn style(&self, template: &str) {
        if self.own {
            let style = ProgressStyle::with_template(template).expect("the template is well-formed");
            self.bar.set_style(style.with_key("rate", rate));
        }
    }

    /// There are so many tasks.
    pub(crate) fn know(&self, tasks: u64) {
        if self.bar.length().is_none() {
            self.style(KNOWN);
            self.bar.set_length(tasks);
        }
    }

    /// So many tasks more are over; with none, time has passed.
    pub(crate) fn count(&self, done: u64, failed: u64) {
        if failed > 0 {
            let failed = self.seen.failed.fetch_add(failed, Ordering::Relaxed) + failed;
            self.bar.set_message(format!(" {} failed", HumanCount(failed)));
        }
        match done + failed {
            0 => self.tick(),
            // It is drawn now and then.
            over => self.bar.inc(over),
        }
    }

    /// A bar among others is drawn whenever it is told to.
    fn tick(&self) {
        let now = now_ns();
        if now.saturating_sub(self.seen.ticked_at.load(Ordering::Relaxed)) >= TICK_NS {
            self.seen.ticked_at.store(now, Ordering::Relaxed);
            self.bar.tick();
        }
    }

    /// The call has ended.
    pub(crate) fn end(&self, how: End) {
        if !self.own {
            // Others may count on it.
            if self.bar.length().is_some_and(|tasks| self.bar.position() >= tasks) {
                self.bar.finish_using_style();
            }
            return;
        }
        let failed = self.seen.failed.load(Ordering::Relaxed);
        let (left, told) = match how {
            End::Done if failed == 0 => (false, " done".into()),
            End::Done => (false, format!(" done, {} failed", HumanCount(failed))),
            End::Failed => (true, " failed".into()),
            End::Interrupted => (true, " interrupted".into()),
        };
        if left {
            self.bar.abandon_with_message(told);
        } else {
            self.bar.finish_with_message(told);
        }
        MOVING.fetch_sub(1, Ordering::Relaxed);
    }
}
