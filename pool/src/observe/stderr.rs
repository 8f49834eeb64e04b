//! What worker processes print to stderr, which is a pipe to the parent. Whoever drives passes it on to the program's
//! own stderr in whole lines, and keeps its end for the error of a task in which the worker dies.

use std::io;

use crate::error::plain::push_plain;
use crate::observe::progress;
use crate::sys::pipe::Reader;
use crate::sys::write::write_now;

/// How much of the end is kept.
const TAIL_BYTES: usize = 2 << 10;
/// A longer line is passed on before it ends.
const MAX_LINE_BYTES: usize = 4 << 10;
/// The most that is held while stderr takes nothing. The rest stays in the pipes, where workers wait for room.
const MAX_HELD_BYTES: usize = 64 << 10;
/// The most that is read after a worker's end. A pipe holds less, but processes that the worker started may still print
/// into it, without end.
const MAX_REST_BYTES: usize = 1 << 20;

/// The parent's end of a worker's stderr.
#[derive(Debug)]
pub(super) struct StderrPipe {
    pub(super) pipe: Reader,
    /// Passes everything on as it is, control characters included.
    raw: bool,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// The end of what was printed, as far as it may matter to an error.
    tail: Vec<u8>,
    /// How much of the tail had arrived when answers last did. It was printed before the next ones were given.
    answered: usize,
}

impl StderrPipe {
    pub(super) fn new(pipe: Reader, raw: bool) -> Self {
        Self { pipe, raw, line: Vec::new(), tail: Vec::new(), answered: 0 }
    }

    /// Reads up to `at_most` bytes, and appends whole lines to `out`. Returns false if there may be more.
    fn read(&mut self, out: &mut Vec<u8>, at_most: usize) -> bool {
        let start = self.line.len();
        self.pipe.read_into(&mut self.line, at_most);
        let read = &self.line[start..];
        let is_all = read.len() < at_most;
        self.tail.extend_from_slice(read);
        self.forget(self.tail.len().saturating_sub(TAIL_BYTES));
        let whole = self.line.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole = if self.line.len() - whole > MAX_LINE_BYTES { self.line.len() } else { whole };
        self.move_line(whole, out);
        is_all
    }

    /// Moves the first bytes of the line to `out`, in the form in which they are shown.
    fn move_line(&mut self, bytes: usize, out: &mut Vec<u8>) {
        match &self.line[..bytes] {
            line if self.raw => out.extend_from_slice(line),
            line => push_plain(out, line),
        }
        self.line.drain(..bytes);
    }

    /// Drops the first bytes of the tail.
    fn forget(&mut self, bytes: usize) {
        self.tail.drain(..bytes);
        self.answered = self.answered.saturating_sub(bytes);
    }

    /// Answers have arrived: drops what was printed before they were given.
    pub(super) fn note_answers(&mut self) {
        if !self.tail.is_empty() {
            self.forget(self.answered);
            self.answered = self.tail.len();
        }
    }

    /// The end of what it printed, if that is more than white space.
    fn last(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.tail);
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// What all workers have printed and stderr has not taken.
#[derive(Debug, Default)]
pub(super) struct StderrBuffer {
    bytes: Vec<u8>,
}

impl StderrBuffer {
    pub(super) fn is_behind(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Reads what a worker has printed, and writes what it can. Returns false if some may be left in the pipe.
    pub(super) fn read(&mut self, stderr: &mut StderrPipe) -> bool {
        let room = MAX_HELD_BYTES.saturating_sub(self.bytes.len());
        let is_all = stderr.read(&mut self.bytes, room);
        self.write();
        is_all
    }

    /// Reads all that an ended worker has printed, and returns its end.
    pub(super) fn read_rest(&mut self, stderr: &mut StderrPipe) -> Option<String> {
        stderr.read(&mut self.bytes, MAX_REST_BYTES);
        self.flush_line(stderr);
        self.write();
        stderr.last()
    }

    /// Takes a line without waiting for its end.
    pub(super) fn flush_line(&mut self, stderr: &mut StderrPipe) {
        stderr.move_line(stderr.line.len(), &mut self.bytes);
    }

    /// Writes to stderr what it takes at once.
    #[inline]
    pub(super) fn write(&mut self) {
        if self.is_behind() {
            self.write_some();
        }
    }

    fn write_some(&mut self) {
        let written = progress::suspend_bars(|| write_now(io::stderr(), &self.bytes));
        self.bytes.drain(..written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pipe::{Outlet, PIPE_BUF, pipe};

    #[test]
    fn output_of_answered_tasks_is_dropped() {
        let (reader, writer) = pipe().unwrap();
        let (mut stderr, writer) = (StderrPipe::new(reader, false), Outlet::open(writer).unwrap());
        let print = |stderr: &mut StderrPipe, text: &str| {
            assert!(text.as_bytes().chunks(PIPE_BUF).all(|piece| writer.write(piece)));
            stderr.read(&mut Vec::new(), MAX_REST_BYTES);
        };
        assert_eq!(stderr.last(), None);
        print(&mut stderr, "first\n");
        stderr.note_answers();
        // It may have been printed after the answers.
        assert_eq!(stderr.last().as_deref(), Some("first"));
        print(&mut stderr, "second\n");
        stderr.note_answers();
        assert_eq!(stderr.last().as_deref(), Some("second"));
        print(&mut stderr, &"x".repeat(3 * TAIL_BYTES));
        assert_eq!(stderr.last().unwrap().len(), TAIL_BYTES);
        stderr.note_answers();
        assert_eq!(stderr.last().unwrap().len(), TAIL_BYTES);
        stderr.note_answers();
        assert_eq!(stderr.last(), None);
    }
}
