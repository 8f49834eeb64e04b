//! Progress bars: what they count, and what a terminal shows.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{FlowArg, tcflow};
use nix::unistd::{dup, dup2_stderr, pipe};
use pool::indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish};
use pool::shared::SharedValue;
use pool::{Error, StartMethod, WorkerPool, worker_task};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::harness::{apart, cases};
use crate::support::{builder, square, squares};

cases! {
    All: a_bar_counts_tasks, failed_tasks_are_counted_apart, one_bar_for_many_calls, bars_of_a_multi_progress, it_moves_within_a_chunk,
        a_call_that_is_left, without_a_length, a_terminal_shows_it, nothing_is_shown_elsewhere,
        a_line_for_each_call, nested_calls_have_a_line_each,
        nested_calls_that_fail_stay, a_terminal_that_is_stopped, workers_of_workers_have_lines,
        it_ends_at_what_came, plain_terminals;
    Apart: draws_what_the_terminal_can;
    Processes: what_workers_print_stands_above, what_is_logged_stands_above, what_is_done_stays, a_terminal_that_hangs_up;
}

fn bar(length: Option<u64>) -> ProgressBar {
    ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden())
}

#[worker_task]
fn odd(x: u64) -> u64 {
    assert!(x % 2 == 1, "even");
    x
}

fn a_bar_counts_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    for size in [1, 7, 100] {
        let bar = bar(None);
        assert_eq!(square::job(&pool).chunk_size(size).progress(bar.clone()).map(0..100)?.len(), 100);
        assert_eq!((bar.position(), bar.length()), (100, Some(100)));
        assert!(bar.is_finished() && bar.message().is_empty());
    }
    Ok(())
}

fn failed_tasks_are_counted_apart(method: StartMethod) -> Result<(), Error> {
    let (pool, bar) = (builder(method).build()?, bar(None));
    odd::job(&pool).progress(bar.clone()).map_outcomes(0..10)?;
    assert_eq!((bar.position(), bar.message()), (10, " 5 failed".into()));
    assert!(bar.is_finished());
    Ok(())
}

fn one_bar_for_many_calls(method: StartMethod) -> Result<(), Error> {
    let (pool, bar) = (builder(method).build()?, bar(Some(30)));
    square::job(&pool).progress(bar.clone()).map(0..10)?;
    assert_eq!((bar.position(), bar.length(), bar.is_finished()), (10, Some(30), false));
    let calls: Vec<_> = (0..10).map(|x| square::job(&pool).progress(bar.clone()).apply_async(x)).collect();
    calls.iter().try_for_each(|call| call.get().map(drop))?;
    assert_eq!((bar.position(), bar.is_finished()), (20, false));
    assert_eq!(square::job(&pool).progress(bar.clone()).map_async(0..10).get()?.len(), 10);
    assert_eq!((bar.position(), bar.is_finished()), (30, true));
    Ok(())
}

fn bars_of_a_multi_progress(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let shown = screen(|| {
        let bars = MultiProgress::new();
        let [first, second] =
            [12, 30].map(|tasks| bars.add(ProgressBar::new(tasks).with_finish(ProgressFinish::Abandon)));
        let results = square::job(&pool).progress(first).max_tasks_active(2).imap(0..12);
        let sums = results.map(|x| {
            let more = square::job(&pool).progress(second.clone()).map(0..2).unwrap();
            x.unwrap() + more.len() as u64
        });
        assert_eq!(sums.sum::<u64>(), squares(12).iter().sum::<u64>() + 24);
    });
    let lines = lines(&shown);
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[0].ends_with(" 12/12") && lines[1].ends_with(" 24/30"), "{shown}");
    Ok(())
}

/// From the sixth on, tasks wait for the gate.
#[worker_task]
fn gated(#[shared] gate: &SharedValue<u8>, x: u64) -> u64 {
    while x >= 5 && gate.get() == 0 {
        // A terminal hands over what is written in a thread of the kernel, which one that only yields can keep from its work.
        std::thread::sleep(Duration::from_millis(1));
    }
    x
}

fn it_moves_within_a_chunk(method: StartMethod) -> Result<(), Error> {
    let gate = SharedValue::new(0)?;
    let pool = builder(method).workers(1).shared(gate.clone()).build()?;
    let bar = bar(None);
    let mut results = gated::job(&pool).chunk_size(10).progress(bar.clone()).imap(0..10);
    for x in 0..5 {
        assert_eq!(results.next().transpose()?, Some(x));
    }
    assert_eq!((bar.position(), bar.length()), (5, Some(10)), "the chunk of ten is half done");
    gate.set(1);
    assert_eq!(results.count(), 5);
    assert!(bar.position() == 10 && bar.is_finished());
    Ok(())
}

fn a_call_that_is_left(method: StartMethod) -> Result<(), Error> {
    let (pool, bar) = (builder(method).build()?, bar(None));
    let mut results = square::job(&pool).progress(bar.clone()).imap(0..1_000_000);
    results.next().transpose()?;
    drop(results);
    assert!(!bar.is_finished() && bar.position() < 1_000_000);
    Ok(())
}

fn without_a_length(method: StartMethod) -> Result<(), Error> {
    let (pool, bar) = (builder(method).build()?, bar(None));
    square::job(&pool).progress(bar.clone()).map((0..1000).filter(|x| x % 10 == 0))?;
    assert_eq!((bar.position(), bar.length()), (100, Some(100)), "it is known at the end");
    assert!(bar.is_finished());
    Ok(())
}

/// An iterator that is wrong about its length.
struct Promising(usize, std::ops::Range<u64>);

impl Iterator for Promising {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.1.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0, Some(self.0))
    }
}

fn it_ends_at_what_came(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    #[track_caller]
    fn check(bar: &ProgressBar, tasks: u64) {
        assert_eq!((bar.position(), bar.length(), bar.is_finished()), (tasks, Some(tasks), true));
    }
    let unknown = || (0..60).filter(|_| true);
    for promised in [0, 10, 59, 60, 61, 100, 1_000_000] {
        let came = promised.min(60) as u64;
        let job = |bar: &ProgressBar| square::job(&pool).iterable_len(promised).progress(bar.clone());
        let [map, unordered, outcomes, imap, both] = [(); 5].map(|()| bar(None));
        job(&map).map(unknown())?;
        check(&map, came);
        job(&unordered).map_unordered(0..60)?;
        check(&unordered, came);
        job(&outcomes).chunk_size(7).map_outcomes(unknown())?;
        check(&outcomes, came);
        assert_eq!(job(&imap).imap(unknown()).count() as u64, came);
        check(&imap, came);
        // It has a length from elsewhere, which other calls may fill.
        both.set_length(100);
        job(&both).map(unknown())?;
        assert_eq!((both.position(), both.length(), both.is_finished()), (came, Some(100), false));
    }
    for promised in [0, 10, 59, 61, 100] {
        let [map, imap] = [(); 2].map(|()| bar(None));
        square::job(&pool).progress(map.clone()).map(Promising(promised, 0..60))?;
        check(&map, 60);
        assert_eq!(square::job(&pool).progress(imap.clone()).imap(Promising(promised, 0..60)).count(), 60);
        check(&imap, 60);
        let shown = screen(|| {
            square::job(&pool).progress_bar(true).map(Promising(promised, 0..60)).unwrap();
        });
        assert!(shown.starts_with("100% ") && shown.contains(" 60/60 ["), "{promised}: {shown}");
    }
    let shown = screen(|| {
        odd::job(&pool).iterable_len(100).progress_bar(true).map_outcomes(unknown()).unwrap();
    });
    assert!(shown.contains(" 60/60 [") && shown.ends_with("] done, 30 failed"), "{shown}");
    Ok(())
}

/// Something else in the place of stderr.
struct Stderr {
    before: OwnedFd,
    reader: File,
}

impl Stderr {
    fn replace(ends: (OwnedFd, OwnedFd)) -> Self {
        let (reader, stderr) = ends;
        let before = dup(io::stderr()).unwrap();
        dup2_stderr(stderr).unwrap();
        Self { before, reader: reader.into() }
    }

    /// What was written that was not read yet.
    fn restore(mut self) -> Vec<u8> {
        // A terminal hands over what is written in its own time, and others may still have it open: this is the last.
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

/// What no one writes; a terminal shows nothing of it.
const END: &[u8] = b"\x1b]0;the end\x07";

/// A terminal in the place of stderr.
struct Terminal {
    stderr: Stderr,
    parser: vt100::Parser,
    /// Reads from it what it has: a terminal itself has little room, and this process no thread to spare.
    cat: Child,
}

const ROWS: u16 = 6;
const COLUMNS: u16 = 100;

impl Terminal {
    fn open() -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let ends = openpty(Some(&size), None).unwrap();
        let (reader, writer) = pipe().unwrap();
        fcntl(&reader, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
        let cat =
            Command::new("cat").stdin(ends.master).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
        let parser = vt100::Parser::new(ROWS.try_into().unwrap(), COLUMNS.try_into().unwrap(), 0);
        Self { stderr: Stderr::replace((reader, ends.slave)), parser, cat }
    }

    /// Waits until it shows what is wanted.
    fn wait_for(&mut self, is_wanted: impl Fn(&str) -> bool) -> String {
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

    /// What was written to it.
    fn into_bytes(self) -> Vec<u8> {
        let Self { stderr, mut cat, .. } = self;
        let written = stderr.restore();
        cat.kill().unwrap();
        cat.wait().unwrap();
        written
    }

    /// What it shows at the end.
    fn close(self) -> String {
        let Self { stderr, mut parser, mut cat } = self;
        parser.process(&stderr.restore());
        cat.kill().unwrap();
        cat.wait().unwrap();
        let shown = text_of(&parser);
        if std::env::var_os("POOL_SHOW_SCREENS").is_some() {
            eprintln!("{shown}\n");
        }
        shown
    }
}

fn text_of(terminal: &vt100::Parser) -> String {
    // A row that is filled to its end would be joined with the next.
    let rows = terminal.screen().rows(0, COLUMNS).map(|row| row.trim_end().to_owned());
    rows.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn lines(screen: &str) -> Vec<&str> {
    screen.lines().collect()
}

/// What a terminal shows when `run` has written to it.
fn screen(run: impl FnOnce()) -> String {
    let terminal = Terminal::open();
    run();
    terminal.close()
}

/// What `run` has written to a terminal.
fn drawn(run: impl FnOnce()) -> Vec<u8> {
    let terminal = Terminal::open();
    run();
    terminal.into_bytes()
}

fn a_terminal_shows_it(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let done = screen(|| {
        square::job(&pool).progress_bar(true).map(0..1234).unwrap();
    });
    assert!(done.starts_with("100% ██████████████████████████████ 1,234/1,234 ["), "{done}");
    assert!(done.trim_end().ends_with("/s] done"), "{done}");
    let with_failures = screen(|| {
        odd::job(&pool).progress_bar(true).map_outcomes(0..10).unwrap();
    });
    assert!(with_failures.trim_end().ends_with("] done, 5 failed"), "{with_failures}");
    let failed = screen(|| {
        odd::job(&pool).progress_bar(true).map(0..10).unwrap_err();
    });
    assert!(failed.contains("/10 [") && failed.trim_end().ends_with("] failed"), "{failed}");
    let left = screen(|| {
        let mut results = square::job(&pool).progress_bar(true).imap(0..);
        results.next().unwrap().unwrap();
    });
    assert!(!left.contains('%') && left.trim_end().ends_with("/s] interrupted"), "no length: {left}");
    let asynchronous = screen(|| {
        square::job(&pool).progress_bar(true).map_async(0..50).get().unwrap();
    });
    assert!(
        asynchronous.contains(" 50/50 [") && asynchronous.trim_end().ends_with("] done"),
        "{asynchronous}"
    );
    assert_eq!(screen(|| _ = square::job(&pool).progress_bar(false).map(0..9)), "");
    Ok(())
}

fn plain_terminals(method: StartMethod) -> Result<(), Error> {
    for term in [Some("xterm"), Some("dumb"), None] {
        for locale in ["C.UTF-8", "C", ""] {
            let mut part = apart(Path::new("/proc/self/exe"), draws_what_the_terminal_can, method);
            match term {
                Some(term) => part.env("TERM", term),
                None => part.env_remove("TERM"),
            };
            let part = part.env("LC_ALL", locale).env_remove("LC_CTYPE").env_remove("LANG").output().unwrap();
            let said = String::from_utf8_lossy(&part.stderr);
            assert!(part.status.success(), "TERM={term:?} LC_ALL={locale}: {said}");
        }
    }
    Ok(())
}

fn draws_what_the_terminal_can(method: StartMethod) -> Result<(), Error> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let pool = builder(method).workers(1).daemon(false).build()?;
    let drawn = drawn(|| {
        slow::job(&pool).progress_bar(true).map(0..3).unwrap();
        square::job(&pool).progress_bar(true).imap(0..).next().unwrap().unwrap();
        failing_within::job(&pool).progress_bar(true).apply(0).unwrap_err();
    });
    let text = String::from_utf8(drawn.clone()).unwrap();
    assert_eq!(drawn.contains(&b'\x1b'), variable("TERM") == "xterm", "{text:?}");
    assert_eq!(text.is_ascii(), variable("LC_ALL") != "C.UTF-8", "{text:?}");
    assert!(!text.contains("\x1b[0m") && !text.contains("\x1b[3"), "colours: {text:?}");
    for end in [" 3/3 [", "] done", "/s] interrupted", "] failed"] {
        assert!(text.contains(end), "{text:?}");
    }
    if variable("TERM") != "xterm" {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains('[')).collect();
        assert_eq!(lines.len(), 4, "a line for each call that has ended: {text:?}");
        let bar = if text.is_ascii() { "#" } else { "█" }.repeat(30);
        assert!(lines[0].starts_with(&format!("100% {bar} 3/3 [")), "{text:?}");
        assert!(lines.iter().any(|line| line.starts_with("worker 0: ")), "the nested call: {text:?}");
    }
    Ok(())
}

fn nothing_is_shown_elsewhere(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let stderr = Stderr::replace(pipe().unwrap());
    square::job(&pool).progress_bar(true).map(0..1000)?;
    assert_eq!(String::from_utf8_lossy(&stderr.restore()), "");
    Ok(())
}

/// Prints a line to stderr when the bar is there.
#[worker_task]
fn print(x: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(120));
    eprintln!("line {x}");
    x
}

fn what_workers_print_stands_above(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let shown = screen(|| {
        let mut results = print::job(&pool).progress_bar(true).chunk_size(1).max_tasks_active(1).imap(0..3);
        for x in 0..3 {
            assert_eq!(results.next().unwrap().unwrap(), x);
        }
        assert!(results.next().is_none());
    });
    let lines = lines(&shown);
    assert_eq!(lines[..3], ["line 0", "line 1", "line 2"], "{shown}");
    assert!(lines.len() == 4 && lines[3].starts_with("100% ") && lines[3].ends_with("] done"), "{shown}");
    Ok(())
}

/// Logs a warning when the bar is there.
#[worker_task]
fn warn(x: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(120));
    tracing::warn!("of {x}");
    x
}

/// Writes a line to stderr for each event.
struct ToStderr;

impl<S: Subscriber> Layer<S> for ToStderr {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        eprintln!("{} from {}", event.metadata().level(), event.metadata().target());
    }
}

fn what_is_logged_stands_above(method: StartMethod) -> Result<(), Error> {
    let subscriber = tracing_subscriber::registry().with(ToStderr).with(LevelFilter::WARN);
    let shown = screen(|| {
        tracing::subscriber::with_default(subscriber, || {
            let pool = builder(method).workers(1).build().unwrap();
            warn::job(&pool).progress_bar(true).map(0..3).unwrap();
        });
    });
    let lines = lines(&shown);
    assert_eq!(lines[..3], ["WARN from conformance::progress"; 3], "{shown}");
    assert!(lines.len() == 4 && lines[3].starts_with("100% ") && lines[3].ends_with("] done"), "{shown}");
    Ok(())
}

fn what_is_done_stays(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let shown = screen(|| {
        square::job(&pool).progress_bar(true).map(0..1234).unwrap();
        print::job(&pool).progress_bar(true).map(0..1).unwrap();
    });
    let lines = lines(&shown);
    assert!(lines[0].contains(" 1,234/1,234 ["), "{shown}");
    assert_eq!(lines[1], "line 0", "{shown}");
    assert!(lines[2].contains(" 1/1 ["), "{shown}");
    Ok(())
}

#[worker_task]
fn slow(x: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(60));
    x
}

fn a_terminal_that_is_stopped(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let terminal = Terminal::open();
    // As by Ctrl-S.
    tcflow(io::stderr(), FlowArg::TCOOFF).unwrap();
    assert_eq!(slow::job(&pool).progress_bar(true).chunk_size(1).map(0..6)?.len(), 6);
    assert_eq!(slow::job(&pool).progress_bar(true).map_async(0..3).get()?.len(), 3);
    tcflow(io::stderr(), FlowArg::TCOON).unwrap();
    square::job(&pool).progress_bar(true).map(0..9)?;
    let shown = terminal.close();
    for (line, tasks) in lines(&shown).iter().zip([" 6/6 [", " 3/3 [", " 9/9 ["]) {
        assert!(line.starts_with("100% ") && line.contains(tasks) && line.ends_with("] done"), "{shown}");
    }
    assert_eq!(lines(&shown).len(), 3, "{shown}");
    Ok(())
}

fn a_terminal_that_hangs_up(method: StartMethod) -> Result<(), Error> {
    // Its workers are there before the terminal, and have nothing of it.
    let pool = builder(method).build()?;
    square::par_map(&pool, 0..10)?;
    let Terminal { stderr, mut cat, .. } = Terminal::open();
    let mut results = print::job(&pool).progress_bar(true).chunk_size(1).max_tasks_active(1).imap(0..3);
    assert_eq!(results.next().transpose()?, Some(0));
    // As where its window is closed, and the program goes on.
    cat.kill().unwrap();
    cat.wait().unwrap();
    let rest: Result<Vec<u64>, Error> = results.collect();
    dup2_stderr(stderr.before).unwrap();
    assert_eq!(rest?, [1, 2]);
    Ok(())
}

fn a_line_for_each_call(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let shown = screen(|| {
        // Of so few at once that they are not all done before it is left.
        let job = square::job(&pool).progress_bar(true).chunk_size(1).max_tasks_active(2);
        let results = job.imap(0..100);
        let with_one_more: u64 = results
            .map(|x| x.unwrap() + square::job(&pool).progress_bar(true).map(0..1).unwrap()[0])
            .take(2)
            .sum();
        assert_eq!(with_one_more, 1);
    });
    let ends = |end: &str| lines(&shown).iter().filter(|line| line.ends_with(end)).count();
    assert_eq!((ends("] done"), ends("] interrupted"), lines(&shown).len()), (2, 1, 3), "{shown}");
    Ok(())
}

/// Calls a pool of its own, whose tasks wait for the gate when half of them are done. What a worker of a worker does, the deeper
/// it is the more of them are between.
#[worker_task]
fn nesting(#[shared] gate: &SharedValue<u8>, depth: u64, tasks: u64) -> u64 {
    let builder = WorkerPool::builder().workers(1).shared(gate.clone());
    if depth > 0 {
        let inner = builder.start_method(StartMethod::Spawn).daemon(false).build().unwrap();
        return nesting::apply(&inner, (depth - 1, tasks)).unwrap();
    }
    let inner = builder.start_method(StartMethod::Threads).build().unwrap();
    gated::job(&inner).progress_bar(true).map(0..tasks).unwrap().len() as u64
}

fn nested_calls_have_a_line_each(method: StartMethod) -> Result<(), Error> {
    let gate = SharedValue::new(0)?;
    let mut terminal = Terminal::open();
    let pool = builder(method).workers(2).shared(gate.clone()).daemon(false).build()?;
    let outer = nesting::job(&pool).progress_bar(true).map_async([(0, 10), (0, 10)]);
    let shown = terminal.wait_for(|screen| screen.matches(" 5/10 [").count() == 2);
    let nested = |worker: u32| {
        let begin = format!("worker {worker}:  50% ");
        lines(&shown).iter().filter(|line| line.starts_with(&begin)).count()
    };
    assert_eq!((nested(0), nested(1)), (1, 1), "{shown}");
    assert!(lines(&shown)[0].starts_with("  0% "), "the outer call is the first: {shown}");
    gate.set(1);
    assert_eq!(outer.get()?, [10, 10]);
    let shown = terminal.close();
    // Those that are done are gone.
    assert!(lines(&shown).len() == 1 && shown.contains(" 2/2 [") && shown.ends_with("] done"), "{shown}");
    Ok(())
}

fn workers_of_workers_have_lines(method: StartMethod) -> Result<(), Error> {
    let gate = SharedValue::new(0)?;
    let mut terminal = Terminal::open();
    let pool = builder(method).workers(1).shared(gate.clone()).daemon(false).build()?;
    let outer = nesting::job(&pool).map_async([(2, 10)]);
    let shown = terminal.wait_for(|screen| screen.contains(" 5/10 ["));
    // Threads are no level of their own.
    let whose = if method.is_process() { "0/0/0" } else { "0/0" };
    assert!(shown.starts_with(&format!("worker {whose}:  50% ")), "{shown}");
    gate.set(1);
    assert_eq!(outer.get()?, [10]);
    assert_eq!(terminal.close(), "");
    Ok(())
}

/// Ends badly within a call of a pool of its own, or that call does.
#[worker_task]
fn failing_within(how: u8) {
    let inner = WorkerPool::builder().workers(1).start_method(StartMethod::Threads).build().unwrap();
    let job = || odd::job(&inner).progress_bar(true);
    if how == 0 {
        job().map([1, 3, 2]).unwrap();
    }
    let mut results = job().imap((0..).map(|x| x * 2 + 1));
    assert_eq!(results.next().unwrap().unwrap(), 1);
    if how == 1 {
        std::process::abort();
    }
    panic!("it is left");
}

fn nested_calls_that_fail_stay(method: StartMethod) -> Result<(), Error> {
    for (how, end) in [(0, "] failed"), (1, "] interrupted"), (2, "] interrupted")] {
        if how == 1 && !method.is_process() {
            continue;
        }
        let shown = screen(|| {
            let pool = builder(method).workers(1).daemon(false).build().unwrap();
            failing_within::apply(&pool, how).unwrap_err();
        });
        let nested: Vec<&str> =
            lines(&shown).into_iter().filter(|line| line.starts_with("worker 0: ")).collect();
        assert!(nested.len() == 1 && nested[0].ends_with(end), "{how}: {shown}");
    }
    Ok(())
}
