//! The terminal of the main process: what its workers print, and ended bars, are text; below it are the bars that still move.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::draw_target::{DrawTarget, write};
use super::nested::WorkerPath;
use super::terminal::Terminal;
use crate::observe::End;
use crate::sys::threads;
use crate::unwind;

/// Those that move.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
/// How many they are.
static MOVING: AtomicUsize = AtomicUsize::new(0);
/// Held where that changes.
static CHANGES: Mutex<()> = Mutex::new(());

/// How long a terminal has to take how a call has ended.
const LAST_PATIENCE: Duration = Duration::from_millis(100);

const KNOWN: &str = "{prefix}{percent:>3}% {bar:30} {human_pos}/{human_len} [{elapsed}<{eta}, {rate}]{msg}";
const UNKNOWN: &str = "{prefix}{spinner} {human_pos} [{elapsed}, {rate}]{msg}";

/// What bars and spinners consist of where there is nothing but ASCII; the last of them says that it is over.
const ASCII_BAR: &str = "#-";
const ASCII_SPINNER: &str = "|/-\\ ";

/// Does what would disturb the bars, and draws them again.
pub(crate) fn suspend_bars<R>(what: impl FnOnce() -> R) -> R {
    if MOVING.load(Ordering::Relaxed) > 0 { BARS.suspend(what) } else { what() }
}

/// The same for the user's code, which may make bars of its own: nothing is held, so another thread may draw in between.
pub(crate) fn clear_bars_while<R>(what: impl FnOnce() -> R) -> R {
    let moving = || MOVING.load(Ordering::Relaxed) > 0;
    if moving() {
        let _ = BARS.clear();
    }
    let result = what();
    if moving() {
        BARS.suspend(|| ());
    }
    result
}

/// None of them is this process's.
pub(super) fn forget() {
    MOVING.store(0, Ordering::Relaxed);
}

/// Whether anyone sees them.
pub(super) fn is_seen() -> bool {
    io::stderr().is_terminal()
}

/// A bar that moves.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) bar: ProgressBar,
    /// It is one of many: when it is done, it goes.
    nested: bool,
}

impl Bar {
    pub(super) fn new(origin: WorkerPath) -> Self {
        let _changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        if MOVING.fetch_add(1, Ordering::Relaxed) == 0 {
            // Elsewhere a bar is seen once, when it has ended.
            BARS.set_draw_target(if is_seen() && Terminal::of_environment().can_redraw {
                DrawTarget::stderr().target()
            } else {
                ProgressDrawTarget::hidden()
            });
        }
        let bar = BARS.add(ProgressBar::no_length().with_prefix(origin.to_string()));
        let bar = Self { bar, nested: origin != WorkerPath::HERE };
        bar.style(UNKNOWN);
        bar
    }

    fn style(&self, template: &str) {
        let mut style = ProgressStyle::with_template(template).expect("the template is well-formed");
        if !Terminal::of_environment().is_utf8 {
            style = style.progress_chars(ASCII_BAR).tick_chars(ASCII_SPINNER);
        }
        self.bar.set_style(style.with_key("rate", rate));
    }

    pub(super) fn know(&self, tasks: u64) {
        if self.bar.length().is_none() {
            self.style(KNOWN);
        }
        self.bar.set_length(tasks);
    }

    /// It becomes text, which says how it has ended.
    pub(super) fn end(&self, how: End, failed: u64) {
        if thread::panicking() {
            // There bars are not drawn.
            let bar = self.clone();
            threads::expect_own();
            let drawn = thread::Builder::new().spawn(move || bar.leave(how, failed));
            if drawn.is_ok_and(|drawn| unwind::join(drawn).is_ok()) {
                return;
            }
        }
        self.leave(how, failed);
    }

    fn leave(&self, how: End, failed: u64) {
        let _changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        BARS.remove(&self.bar);
        let goes = self.nested && how == End::Done && failed == 0;
        let text = if is_seen() && !goes { self.text(how, failed) } else { String::new() };
        // Somebody else may be waiting for whoever sees how nested calls have ended.
        let patience = if self.nested { Duration::ZERO } else { LAST_PATIENCE };
        BARS.suspend(|| write(&text, patience));
        MOVING.fetch_sub(1, Ordering::Relaxed);
    }

    fn text(&self, how: End, failed: u64) -> String {
        let (ink, text) = DrawTarget::text();
        self.bar.set_draw_target(ink.target());
        match how {
            End::Done if failed == 0 => self.bar.finish_with_message(" done"),
            End::Done => self.bar.finish_with_message(format!(" done, {} failed", HumanCount(failed))),
            End::Failed => self.bar.abandon_with_message(" failed"),
            End::Interrupted => self.bar.abandon_with_message(" interrupted"),
        }
        let text = text.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{}\n", text.trim_end())
    }
}

/// How many tasks a second, without digits that nobody reads.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    let rate = state.per_sec();
    // What it is written to has room.
    let _ =
        if rate < 100.0 { write!(out, "{rate:.1}/s") } else { write!(out, "{}/s", HumanCount(rate as u64)) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;

    /// Positions and lengths can come from the memory of a worker that has gone mad.
    #[test]
    fn any_numbers_can_be_drawn() {
        const MOST: u64 = u64::MAX;
        for (tasks, over, failed) in [(0, 0, 0), (0, MOST, MOST), (MOST, MOST, 0), (MOST, 1, MOST), (1, 2, 3)]
        {
            let bar = Bar::new(WorkerPath::HERE.of_worker(WorkerId(3)));
            bar.know(tasks);
            bar.bar.inc(over);
            bar.bar.inc(over);
            for how in [End::Done, End::Failed, End::Interrupted] {
                let text = bar.text(how, failed);
                assert!(text.starts_with("worker 3: ") && text.contains('%'), "{text}");
            }
            bar.end(End::Done, failed);
        }
    }
}
