//! The terminal of the main process: what its workers print, and ended bars, are text; below it are the bars that still move.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use console::Term;
use indicatif::{
    HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike,
};

use super::board::Origin;
use crate::job::End;
use crate::sys::pipe::write_within;

/// Those that move.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
/// How many they are.
static MOVING: AtomicUsize = AtomicUsize::new(0);
/// Held where that changes.
static CHANGES: Mutex<()> = Mutex::new(());

/// How often they are drawn at most, in a second.
const DRAWS: u8 = 20;
/// How long a terminal has to take how a call has ended.
const LAST_PATIENCE: Duration = Duration::from_millis(100);

const KNOWN: &str = "{prefix}{percent:>3}% {bar:30} {human_pos}/{human_len} [{elapsed}<{eta}, {rate}]{msg}";
const UNKNOWN: &str = "{prefix}{spinner} {human_pos} [{elapsed}, {rate}]{msg}";

/// Does what would disturb the bars, and draws them again.
pub(crate) fn aside<R>(what: impl FnOnce() -> R) -> R {
    if MOVING.load(Ordering::Relaxed) > 0 { BARS.suspend(what) } else { what() }
}

/// The same for the user's code, which may make bars of its own: nothing is held, so another thread may draw in between.
#[cfg(feature = "tracing")]
pub(crate) fn make_room<R>(what: impl FnOnce() -> R) -> R {
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
    pub(super) fn new(origin: Origin) -> Self {
        let _changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        if MOVING.fetch_add(1, Ordering::Relaxed) == 0 {
            BARS.set_draw_target(if is_seen() {
                Ink::stderr().target()
            } else {
                ProgressDrawTarget::hidden()
            });
        }
        let bar = BARS.add(ProgressBar::no_length().with_prefix(origin.to_string()));
        let bar = Self { bar, nested: origin != Origin::HERE };
        bar.style(UNKNOWN);
        bar
    }

    fn style(&self, template: &str) {
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        self.bar.set_style(style.with_key("rate", rate));
    }

    pub(super) fn know(&self, tasks: u64) {
        if self.bar.length().is_none() {
            self.style(KNOWN);
            self.bar.set_length(tasks);
        }
    }

    /// It becomes text, which says how it has ended.
    pub(super) fn end(&self, how: End, failed: u64) {
        if thread::panicking() {
            // There bars are not drawn.
            let bar = self.clone();
            let drawn = thread::Builder::new().spawn(move || bar.leave(how, failed));
            if drawn.is_ok_and(|drawn| drawn.join().is_ok()) {
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
        let (ink, text) = Ink::text();
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

/// What the terminal has not taken yet: it may have been stopped, or be at the other end of a slow line. A drawing builds on the
/// one before, so all is kept, up to so many bytes: at one bar, drawings of minutes. What comes then is left out.
static UNWRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
const KEPT: usize = 512 << 10;

/// Puts it on the terminal, and waits at most so long until that takes it.
fn write(what: &str, patience: Duration) {
    let mut unwritten = UNWRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    if unwritten.len() + what.len() <= KEPT {
        unwritten.extend_from_slice(what.as_bytes());
    }
    let written = write_within(patience, io::stderr(), &unwritten);
    unwritten.drain(..written);
}

/// What bars are drawn with. It never fails, and never waits: where the terminal has hung up or is stopped, drawing goes on, and is
/// seen by no one.
struct Ink {
    text: Arc<Mutex<String>>,
    /// It goes to stderr whenever a drawing is complete.
    flows: bool,
}

impl Ink {
    fn stderr() -> Self {
        Self { text: Arc::default(), flows: true }
    }

    /// One that leaves what it has written.
    fn text() -> (Self, Arc<Mutex<String>>) {
        let text = Arc::default();
        (Self { text: Arc::clone(&text), flows: false }, text)
    }

    fn target(self) -> ProgressDrawTarget {
        ProgressDrawTarget::term_like_with_hz(Box::new(self), DRAWS)
    }

    fn write(&self, what: fmt::Arguments<'_>) -> io::Result<()> {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&what.to_string());
        Ok(())
    }

    /// `direction`: the end of the terminal's code for a move.
    fn go(&self, lines_or_columns: usize, direction: char) -> io::Result<()> {
        match lines_or_columns {
            0 => Ok(()),
            far => self.write(format_args!("\x1b[{far}{direction}")),
        }
    }
}

impl fmt::Debug for Ink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ink").field("flows", &self.flows).finish_non_exhaustive()
    }
}

impl TermLike for Ink {
    fn width(&self) -> u16 {
        Term::stderr().size().1
    }

    fn height(&self) -> u16 {
        Term::stderr().size().0
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.go(lines, 'A')
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.go(lines, 'B')
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.go(columns, 'C')
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.go(columns, 'D')
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write(format_args!("{line}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.write(format_args!("{text}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write(format_args!("\r\x1b[2K"))
    }

    fn flush(&self) -> io::Result<()> {
        if self.flows {
            let text = std::mem::take(&mut *self.text.lock().unwrap_or_else(PoisonError::into_inner));
            write(&text, Duration::ZERO);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positions and lengths can come from the memory of a worker that has gone mad.
    #[test]
    fn any_numbers_can_be_drawn() {
        const MOST: u64 = u64::MAX;
        for (tasks, over, failed) in [(0, 0, 0), (0, MOST, MOST), (MOST, MOST, 0), (MOST, 1, MOST), (1, 2, 3)]
        {
            let bar = Bar::new(Origin::HERE.of_worker(3));
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
