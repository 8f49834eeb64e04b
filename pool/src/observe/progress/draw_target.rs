//! Draws bars on the terminal without ever waiting for it.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressDrawTarget, TermLike};

use crate::sys::write::write_within;

/// The most drawings per second.
const DRAWS_PER_SECOND: u8 = 20;

/// What the terminal has not taken yet: it may be stopped, or at the far end of a slow line.
#[derive(Debug)]
struct Pending {
    bytes: Vec<u8>,
    /// Since when the terminal has taken nothing, while there are bytes.
    since: Option<Instant>,
}

static PENDING: Mutex<Pending> = Mutex::new(Pending { bytes: Vec::new(), since: None });
/// A drawing builds on the one before it, so all are kept up to this size, and those after it are left out. For one
/// bar it is enough for minutes.
const MAX_PENDING_BYTES: usize = 512 << 10;
/// A terminal that has taken nothing for this long counts as stopped, and nobody waits for it any more.
const STOPPED_AFTER: Duration = Duration::from_secs(1);

/// Writes to the terminal, and waits at most for `patience` until it takes the text.
pub(super) fn write(text: &str, patience: Duration) {
    let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
    let Pending { bytes, since } = &mut *pending;
    if bytes.len() + text.len() <= MAX_PENDING_BYTES {
        bytes.extend_from_slice(text.as_bytes());
    }
    let is_stopped = since.is_some_and(|since| since.elapsed() >= STOPPED_AFTER);
    let written = write_within(if is_stopped { Duration::ZERO } else { patience }, io::stderr(), bytes);
    bytes.drain(..written);
    *since = match bytes.len() {
        0 => None,
        _ if written > 0 => Some(Instant::now()),
        _ => since.or_else(|| Some(Instant::now())),
    };
}

/// Takes what `indicatif` draws. It never fails and never waits: if the terminal has hung up or is stopped, drawing
/// goes on unseen.
pub(super) struct DrawTarget {
    text: Arc<Mutex<String>>,
    /// Each complete drawing goes to stderr.
    to_stderr: bool,
}

impl DrawTarget {
    pub(super) fn stderr() -> Self {
        Self { text: Arc::default(), to_stderr: true }
    }

    /// A target in memory, and its text.
    pub(super) fn text() -> (Self, Arc<Mutex<String>>) {
        let text = Arc::default();
        (Self { text: Arc::clone(&text), to_stderr: false }, text)
    }

    pub(super) fn boxed(self) -> ProgressDrawTarget {
        ProgressDrawTarget::term_like_with_hz(Box::new(self), DRAWS_PER_SECOND)
    }

    fn push(&self, drawn: fmt::Arguments<'_>) -> io::Result<()> {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&drawn.to_string());
        Ok(())
    }

    /// `direction` is the letter that ends the terminal's code for a move.
    fn move_cursor(&self, distance: usize, direction: char) -> io::Result<()> {
        match distance {
            0 => Ok(()),
            _ => self.push(format_args!("\x1b[{distance}{direction}")),
        }
    }
}

impl fmt::Debug for DrawTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrawTarget").field("to_stderr", &self.to_stderr).finish_non_exhaustive()
    }
}

impl TermLike for DrawTarget {
    fn width(&self) -> u16 {
        Term::stderr().size().1
    }

    fn height(&self) -> u16 {
        Term::stderr().size().0
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.move_cursor(lines, 'A')
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.move_cursor(lines, 'B')
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.move_cursor(columns, 'C')
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.move_cursor(columns, 'D')
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.push(format_args!("{line}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.push(format_args!("{text}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push(format_args!("\r\x1b[2K"))
    }

    fn flush(&self) -> io::Result<()> {
        if self.to_stderr {
            let text = std::mem::take(&mut *self.text.lock().unwrap_or_else(PoisonError::into_inner));
            write(&text, Duration::ZERO);
        }
        Ok(())
    }
}
