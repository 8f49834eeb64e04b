//! What workers print to stderr. Each has a pipe there; whoever drives passes on what comes, in whole lines, and keeps the
//! end of it: if the worker dies, its error has that.

use std::io;

use crate::error::plain::push_plain;
use crate::observe::progress;
use crate::sys::pipe::Reader;
use crate::sys::write::write_now;

/// How many bytes of the end of a worker's stderr are kept.
const KEPT: usize = 2 << 10;
/// A line of more bytes is no line.
const LINE: usize = 4 << 10;
/// So many bytes wait for a stderr that takes none; more wait in the pipes.
const WAITING: usize = 64 << 10;
/// What is read of a worker that is gone: more than a pipe holds, but others may have its end, and print without end.
const LAST: usize = 1 << 20;

/// What one worker prints.
#[derive(Debug)]
pub(super) struct StderrPipe {
    pub(super) pipe: Reader,
    /// What it prints is passed on as it is, control characters and all.
    raw: bool,
    /// A line that is not whole yet.
    line: Vec<u8>,
    /// The last of it.
    tail: Vec<u8>,
    /// How much of that had come when its last answers were found. When the next are found, it had been printed before
    /// they were given.
    old: usize,
}

impl StderrPipe {
    pub(super) fn new(pipe: Reader, raw: bool) -> Self {
        Self { pipe, raw, line: Vec::new(), tail: Vec::new(), old: 0 }
    }

    /// Takes what was printed by now, if it is no more than so much: whole lines go to `out`. False when there is more.
    fn take(&mut self, out: &mut Vec<u8>, at_most: usize) -> bool {
        let start = self.line.len();
        self.pipe.read_into(&mut self.line, at_most);
        let taken = &self.line[start..];
        let is_all = taken.len() < at_most;
        self.tail.extend_from_slice(taken);
        self.forget(self.tail.len().saturating_sub(KEPT));
        let whole = self.line.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole = if self.line.len() - whole > LINE { self.line.len() } else { whole };
        self.pass_on(whole, out);
        is_all
    }

    /// Takes the line that is not whole.
    pub(super) fn take_line(&mut self, printed: &mut Printed) {
        self.pass_on(self.line.len(), &mut printed.bytes);
    }

    /// Appends so many bytes of the line to `out`, as they are to be shown.
    fn pass_on(&mut self, bytes: usize, out: &mut Vec<u8>) {
        match &self.line[..bytes] {
            line if self.raw => out.extend_from_slice(line),
            line => push_plain(out, line),
        }
        self.line.drain(..bytes);
    }

    fn forget(&mut self, bytes: usize) {
        self.tail.drain(..bytes);
        self.old = self.old.saturating_sub(bytes);
    }

    /// Answers were found: what was printed before is no longer of interest.
    pub(super) fn note_answers(&mut self) {
        if !self.tail.is_empty() {
            self.forget(self.old);
            self.old = self.tail.len();
        }
    }

    /// What it printed last.
    fn last(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.tail);
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// What was printed and is not passed on yet.
#[derive(Debug, Default)]
pub(super) struct Printed {
    bytes: Vec<u8>,
    /// Somebody has printed something.
    pub(super) any: bool,
}

impl Printed {
    /// Whether stderr did not take all of it.
    pub(super) fn is_stuck(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes what the worker has printed, and passes it on. False when some of it is left in the pipe.
    pub(super) fn take(&mut self, stderr: &mut StderrPipe) -> bool {
        let room = WAITING.saturating_sub(self.bytes.len());
        let is_all = stderr.take(&mut self.bytes, room);
        self.pass_on();
        is_all
    }

    /// Takes all that a worker has printed that is gone, and gives the end of it.
    pub(super) fn take_last(&mut self, stderr: &mut StderrPipe) -> Option<String> {
        stderr.take(&mut self.bytes, LAST);
        stderr.take_line(self);
        self.pass_on();
        stderr.last()
    }

    /// Passes on what can be passed on without waiting.
    pub(super) fn pass_on(&mut self) {
        if !self.bytes.is_empty() {
            let written = progress::suspend_bars(|| write_now(io::stderr(), &self.bytes));
            self.bytes.drain(..written);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;
    use crate::sys::pipe::pipe;

    #[test]
    fn words_of_answered_tasks_are_forgotten() {
        let (reader, writer) = pipe().unwrap();
        let (mut stderr, mut writer) = (StderrPipe::new(reader, false), File::from(writer.into_owned()));
        let mut say = |stderr: &mut StderrPipe, text: &str| {
            writer.write_all(text.as_bytes()).unwrap();
            stderr.take(&mut Vec::new(), LAST);
        };
        assert_eq!(stderr.last(), None);
        say(&mut stderr, "first\n");
        stderr.note_answers();
        // It may have been printed after what was answered.
        assert_eq!(stderr.last().as_deref(), Some("first"));
        say(&mut stderr, "second\n");
        stderr.note_answers();
        assert_eq!(stderr.last().as_deref(), Some("second"));
        say(&mut stderr, &"x".repeat(3 * KEPT));
        assert_eq!(stderr.last().unwrap().len(), KEPT);
        stderr.note_answers();
        assert_eq!(stderr.last().unwrap().len(), KEPT);
        stderr.note_answers();
        assert_eq!(stderr.last(), None);
    }
}
