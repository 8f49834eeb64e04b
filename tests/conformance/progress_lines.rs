//! The line of a progress bar: what it shows, on which terminals, and beside which other output.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::termios::{FlowArg, tcflow};
use nix::unistd::{dup2_stderr, pipe};
use pool::shared::SharedValue;
use pool::{Error, StartMethod, WorkerPool, worker_task};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::progress::{gated, odd};
use crate::harness::{apart, cases};
use crate::support::{builder, square};
use crate::terminal::{Stderr, Terminal, drawn, lines, screen};

cases! {
    All: a_terminal_shows_it, plain_terminals, nothing_is_shown_elsewhere, a_line_for_each_call,
        nested_calls_have_a_line_each, nested_calls_that_fail_stay;
    Linux: a_terminal_that_is_stopped, workers_of_workers_have_lines;
    Apart: draws_what_the_terminal_can;
    Processes: what_workers_print_stands_above, what_is_logged_stands_above, what_is_done_stays,
        a_terminal_that_hangs_up;
}

fn a_terminal_shows_it(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let done = screen(|| {
        square::job(&pool).progress_bar(true).map(0..1234).unwrap();
    });
    let full = format!("100% {} 1,234/1,234 [", "█".repeat(30));
    assert!(done.starts_with(&full), "{done}");
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

/// Prints a line to stderr after the bar has appeared.
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

/// Logs a warning after the bar has appeared.
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
    assert_eq!(lines[..3], ["WARN from conformance::progress_lines"; 3], "{shown}");
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
    // As Ctrl-S does.
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
    // The workers start before the terminal, so they do not hold it open.
    let pool = builder(method).build()?;
    square::par_map(&pool, 0..10)?;
    let terminal = Terminal::open();
    let mut results = print::job(&pool).progress_bar(true).chunk_size(1).max_tasks_active(1).imap(0..3);
    assert_eq!(results.next().transpose()?, Some(0));
    let before = terminal.hang_up();
    let rest: Result<Vec<u64>, Error> = results.collect();
    dup2_stderr(before).unwrap();
    assert_eq!(rest?, [1, 2]);
    Ok(())
}

fn a_line_for_each_call(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let shown = screen(|| {
        // So few tasks at once that the iterator is dropped before all are done.
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

/// Makes a call with a bar on a pool that is nested `depth` levels deeper. Its tasks from the sixth on wait for the
/// gate.
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
    // The lines of calls that are over are gone.
    assert!(lines(&shown).len() == 1 && shown.contains(" 2/2 [") && shown.ends_with("] done"), "{shown}");
    Ok(())
}

fn workers_of_workers_have_lines(method: StartMethod) -> Result<(), Error> {
    let gate = SharedValue::new(0)?;
    let mut terminal = Terminal::open();
    let pool = builder(method).workers(1).shared(gate.clone()).daemon(false).build()?;
    let outer = nesting::job(&pool).map_async([(2, 10)]);
    let shown = terminal.wait_for(|screen| screen.contains(" 5/10 ["));
    // Threads do not count as a level.
    let whose = if method.is_process() { "0/0/0" } else { "0/0" };
    assert!(shown.starts_with(&format!("worker {whose}:  50% ")), "{shown}");
    gate.set(1);
    assert_eq!(outer.get()?, [10]);
    assert_eq!(terminal.close(), "");
    Ok(())
}

/// Ends badly during a call on a pool of its own: that call fails, or this task dies or panics before it is over.
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
