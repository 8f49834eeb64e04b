//! The terminal of the main process. Bars of running calls stand at the bottom. Above them is text that stays: the
//! bars of calls that have ended, and what workers print.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::draw_target::{DrawTarget, write};
use super::terminal::Terminal;
use super::worker_path::WorkerPath;
use crate::observe::End;
use crate::sys::threads;
use crate::unwind;

/// The bars of running calls.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
/// How many of them there are.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// Held while one is added or removed.
static CHANGE: Mutex<()> = Mutex::new(());

/// How long to wait for a slow terminal to take the last text of a bar.
const LAST_PATIENCE: Duration = Duration::from_millis(100);

/// The look of a bar whose total is known, and of one whose total is not.
const KNOWN_TOTAL: &str =
    "{prefix}{percent:>3}% {bar:30} {human_pos}/{human_len} [{elapsed}<{eta}, {rate}]{msg}";
const UNKNOWN_TOTAL: &str = "{prefix}{spinner} {human_pos} [{elapsed}, {rate}]{msg}";

/// The characters of bars and spinners on a terminal of ASCII only. A spinner ends with the last of its own.
const ASCII_BAR: &str = "#-";
const ASCII_SPINNER: &str = "|/-\\ ";

/// Clears the bars, writes to the terminal, and draws them again.
pub(crate) fn suspend_bars<R>(disturb: impl FnOnce() -> R) -> R {
    if RUNNING.load(Ordering::Relaxed) > 0 { BARS.suspend(disturb) } else { disturb() }
}

/// The same for user code, which may draw bars of its own: no lock is held, so another thread may draw meanwhile.
pub(crate) fn clear_bars_while<R>(disturb: impl FnOnce() -> R) -> R {
    let any = || RUNNING.load(Ordering::Relaxed) > 0;
    if any() {
        let _ = BARS.clear();
    }
    let result = disturb();
    if any() {
        BARS.suspend(|| ());
    }
    result
}

/// Forgets the bars that a fork has copied: they are its parent's.
pub(super) fn reset_after_fork() {
    RUNNING.store(0, Ordering::Relaxed);
}

/// Whether anyone sees bars.
pub(super) fn is_seen() -> bool {
    io::stderr().is_terminal()
}

/// The bar of a running call.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) bar: ProgressBar,
    /// The call is a worker's: its bar leaves no text when all went well.
    nested: bool,
}

impl Bar {
    pub(super) fn new(worker: WorkerPath, label: Option<&str>) -> Self {
        let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
        if RUNNING.fetch_add(1, Ordering::Relaxed) == 0 {
            // A terminal that cannot redraw only gets the last text.
            BARS.set_draw_target(if is_seen() && Terminal::of_environment().can_redraw {
                DrawTarget::stderr().boxed()
            } else {
                ProgressDrawTarget::hidden()
            });
        }
        let label = label.map_or(String::new(), |label| format!("{label}: "));
        let bar = BARS.add(ProgressBar::no_length().with_prefix(format!("{worker}{label}")));
        let bar = Self { bar, nested: worker != WorkerPath::HERE };
        bar.set_template(UNKNOWN_TOTAL);
        bar
    }

    fn set_template(&self, template: &str) {
        let mut style = ProgressStyle::with_template(template).expect("the template is well-formed");
        if !Terminal::of_environment().is_utf8 {
            style = style.progress_chars(ASCII_BAR).tick_chars(ASCII_SPINNER);
        }
        self.bar.set_style(style.with_key("rate", rate));
    }

    pub(super) fn set_total(&self, total: u64) {
        if self.bar.length().is_none() {
            self.set_template(KNOWN_TOTAL);
        }
        self.bar.set_length(total);
    }

    /// Replaces the bar by text, which says how the call ended.
    pub(super) fn end(&self, how: End, failed: u64) {
        if thread::panicking() {
            // `indicatif` draws nothing on a thread that panics.
            let bar = self.clone();
            threads::expect_own();
            let drawn = thread::Builder::new().spawn(move || bar.become_text(how, failed));
            if drawn.is_ok_and(|drawn| unwind::join(drawn).is_ok()) {
                return;
            }
        }
        self.become_text(how, failed);
    }

    fn become_text(&self, how: End, failed: u64) {
        let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
        BARS.remove(&self.bar);
        let is_quiet = self.nested && how == End::Done && failed == 0;
        let text = if is_seen() && !is_quiet { self.text(how, failed) } else { String::new() };
        // The end of a nested call is shown by a caller who drives, whose own call must not wait for it.
        let patience = if self.nested { Duration::ZERO } else { LAST_PATIENCE };
        BARS.suspend(|| write(&text, patience));
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }

    fn text(&self, how: End, failed: u64) -> String {
        let (target, text) = DrawTarget::text();
        self.bar.set_draw_target(target.boxed());
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

/// Tasks per second, without digits that nobody reads.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    let rate = state.per_sec();
    // Writing to a string cannot fail.
    let _ =
        if rate < 100.0 { write!(out, "{rate:.1}/s") } else { write!(out, "{}/s", HumanCount(rate as u64)) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;

    /// Positions and lengths come from memory that a worker may have overwritten.
    #[test]
    fn any_numbers_can_be_drawn() {
        const MOST: u64 = u64::MAX;
        for (total, over, failed) in [(0, 0, 0), (0, MOST, MOST), (MOST, MOST, 0), (MOST, 1, MOST), (1, 2, 3)]
        {
            let bar = Bar::new(WorkerPath::HERE.of_worker(WorkerId(3)), Some("photos"));
            bar.set_total(total);
            bar.bar.inc(over);
            bar.bar.inc(over);
            for how in [End::Done, End::Failed, End::Interrupted] {
                let text = bar.text(how, failed);
                assert!(text.starts_with("worker 3: photos: ") && text.contains('%'), "{text}");
            }
            bar.end(End::Done, failed);
        }
    }
}
