//! Replaces this process's stderr by a terminal, and reads what it shows.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::pty::{Winsize, openpty};
use nix::unistd::{dup, dup2_stderr, pipe};

/// Something that replaces stderr.
pub(crate) struct Stderr {
    before: OwnedFd,
    reader: File,
}

impl Stderr {
    pub(crate) fn replace(ends: (OwnedFd, OwnedFd)) -> Self {
        let (reader, stderr) = ends;
        let before = dup(io::stderr()).unwrap();
        dup2_stderr(stderr).unwrap();
        Self { before, reader: reader.into() }
    }

    /// Puts stderr back, and returns the output that was not read yet.
    pub(crate) fn restore(mut self) -> Vec<u8> {
        // A terminal passes output on with a delay, and others may still have it open. So this marks the end.
        io::stderr().write_all(END).unwrap();
        dup2_stderr(&self.before).unwrap();
        let (mut written, mut bytes) = (Vec::new(), [0; 4096]);
        while !written.ends_with(END) {
            let len = self.reader.read(&mut bytes).unwrap();
            written.extend_from_slice(&bytes[..len]);
        }
        written.truncate(written.len() - END.len());
        written
    }
}

/// Nothing else writes this, and a terminal does not show it.
const END: &[u8] = b"\x1b]0;the end\x07";

/// A terminal that replaces stderr.
pub(crate) struct Terminal {
    stderr: Stderr,
    parser: vt100::Parser,
    /// Reads its output: a terminal buffers little, and this process has no thread to spare.
    cat: Child,
}

const ROWS: u16 = 6;
const COLUMNS: u16 = 100;

impl Terminal {
    pub(crate) fn open() -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let ends = openpty(Some(&size), None).unwrap();
        let (reader, writer) = pipe().unwrap();
        fcntl(&reader, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
        let cat =
            Command::new("cat").stdin(ends.master).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
        let parser = vt100::Parser::new(ROWS.try_into().unwrap(), COLUMNS.try_into().unwrap(), 0);
        Self { stderr: Stderr::replace((reader, ends.slave)), parser, cat }
    }

    /// Waits until it shows what is wanted, and returns the screen.
    pub(crate) fn wait_for(&mut self, is_wanted: impl Fn(&str) -> bool) -> String {
        let mut bytes = [0; 4096];
        loop {
            let screen = text_of(&self.parser);
            if is_wanted(&screen) {
                return screen;
            }
            let len = self.stderr.reader.read(&mut bytes).unwrap();
            self.parser.process(&bytes[..len]);
        }
    }

    /// All output that was written to it.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.end().0
    }

    /// The screen at the end.
    pub(crate) fn close(self) -> String {
        let (written, mut parser) = self.end();
        parser.process(&written);
        let shown = text_of(&parser);
        if std::env::var_os("POOL_SHOW_SCREENS").is_some() {
            eprintln!("{shown}\n");
        }
        shown
    }

    /// Puts stderr back, and returns the output that was not read yet.
    fn end(self) -> (Vec<u8>, vt100::Parser) {
        let Self { stderr, parser, mut cat } = self;
        let written = stderr.restore();
        cat.kill().unwrap();
        cat.wait().unwrap();
        (written, parser)
    }

    /// Hangs up, as if its window was closed while the program goes on. Returns the former stderr.
    pub(crate) fn hang_up(mut self) -> OwnedFd {
        self.cat.kill().unwrap();
        self.cat.wait().unwrap();
        self.stderr.before
    }
}

fn text_of(terminal: &vt100::Parser) -> String {
    // Row by row, because a full row would be joined with the next.
    let rows = terminal.screen().rows(0, COLUMNS).map(|row| row.trim_end().to_owned());
    rows.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

pub(crate) fn lines(screen: &str) -> Vec<&str> {
    screen.lines().collect()
}

/// The screen of a terminal after `run` has written to it.
pub(crate) fn screen(run: impl FnOnce()) -> String {
    let terminal = Terminal::open();
    run();
    terminal.close()
}

/// The output of `run` to a terminal.
pub(crate) fn drawn(run: impl FnOnce()) -> Vec<u8> {
    let terminal = Terminal::open();
    run();
    terminal.into_bytes()
}
