//! What bars are drawn with on a terminal, so that nobody waits for it.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressDrawTarget, TermLike};

use crate::sys::write::write_within;

/// How often bars are drawn at most, in a second.
const DRAWS: u8 = 20;

/// What the terminal has not taken yet: it may have been stopped, or be at the other end of a slow line. A drawing builds on the
/// one before, so all is kept, up to so many bytes: at one bar, drawings of minutes. What comes then is left out.
#[derive(Debug)]
struct Unwritten {
    bytes: Vec<u8>,
    /// Since when the terminal has taken nothing.
    since: Option<Instant>,
}

static UNWRITTEN: Mutex<Unwritten> = Mutex::new(Unwritten { bytes: Vec::new(), since: None });
const KEPT: usize = 512 << 10;
/// A terminal that has taken nothing for so long is stopped: nobody waits for it any more.
const STOPPED: Duration = Duration::from_secs(1);

/// Puts it on the terminal, and waits at most so long until that takes it.
pub(super) fn write(what: &str, patience: Duration) {
    let mut unwritten = UNWRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    let Unwritten { bytes, since } = &mut *unwritten;
    if bytes.len() + what.len() <= KEPT {
        bytes.extend_from_slice(what.as_bytes());
    }
    let is_stopped = since.is_some_and(|since| since.elapsed() >= STOPPED);
    let written = write_within(if is_stopped { Duration::ZERO } else { patience }, io::stderr(), bytes);
    bytes.drain(..written);
    *since = match bytes.len() {
        0 => None,
        _ if written > 0 => Some(Instant::now()),
        _ => since.or_else(|| Some(Instant::now())),
    };
}

/// What bars are drawn with. It never fails, and never waits: where the terminal has hung up or is stopped, drawing goes on, and is
/// seen by no one.
pub(super) struct DrawTarget {
    text: Arc<Mutex<String>>,
    /// It goes to stderr whenever a drawing is complete.
    flows: bool,
}

impl DrawTarget {
    pub(super) fn stderr() -> Self {
        Self { text: Arc::default(), flows: true }
    }

    /// One that leaves what it has written.
    pub(super) fn text() -> (Self, Arc<Mutex<String>>) {
        let text = Arc::default();
        (Self { text: Arc::clone(&text), flows: false }, text)
    }

    pub(super) fn target(self) -> ProgressDrawTarget {
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

impl fmt::Debug for DrawTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrawTarget").field("flows", &self.flows).finish_non_exhaustive()
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
