//! Progress bars: what they count, and what a terminal shows.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::unistd::{dup, dup2_stderr, pipe};
use pool::indicatif::{ProgressBar, ProgressDrawTarget};
use pool::shared::SharedValue;
use pool::{Error, StartMethod, WorkerPool, worker_task};

use crate::harness::cases;
use crate::support::{builder, square};

cases! {
    All: a_bar_counts_tasks, failed_tasks_are_counted_apart, one_bar_for_many_calls, it_moves_within_a_chunk,
        a_call_that_is_left, without_a_length, a_terminal_shows_it, nothing_is_shown_elsewhere,
        nothing_is_shown_in_a_worker, a_line_for_each_call;
    Processes: what_workers_print_stands_above;
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

/// From the sixth on, tasks wait for the gate.
#[worker_task]
fn gated(#[shared] gate: &SharedValue<u8>, x: u64) -> u64 {
    while x >= 5 && gate.get() == 0 {
        std::thread::yield_now();
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

/// What `run` writes to stderr while that is this file.
fn written(stderr: OwnedFd, reader: OwnedFd, run: impl FnOnce()) -> Vec<u8> {
    let before = dup(io::stderr()).unwrap();
    dup2_stderr(&stderr).unwrap();
    drop(stderr);
    run();
    dup2_stderr(&before).unwrap();
    fcntl(reader.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut written = Vec::new();
    // A terminal that nobody has open any more says EIO.
    let _ = File::from(reader).read_to_end(&mut written);
    written
}

fn lines(screen: &str) -> Vec<&str> {
    screen.lines().collect()
}

/// What a terminal shows when `run` has written to it.
fn screen(run: impl FnOnce()) -> String {
    let (rows, columns) = (4, 100);
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let ends = openpty(Some(&size), None).unwrap();
    let mut terminal = vt100::Parser::new(rows, columns, 0);
    terminal.process(&written(ends.slave, ends.master, run));
    // A row that is filled to its end would be joined with the next.
    let rows: Vec<String> = terminal.screen().rows(0, columns).map(|row| row.trim_end().to_owned()).collect();
    let shown = rows.join("\n").trim_end().to_owned();
    if std::env::var_os("POOL_SHOW_SCREENS").is_some() {
        eprintln!("{shown}\n");
    }
    shown
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

fn nothing_is_shown_elsewhere(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let (reader, writer) = pipe().unwrap();
    let written = written(writer, reader, || {
        square::job(&pool).progress_bar(true).map(0..1000).unwrap();
    });
    assert_eq!(String::from_utf8_lossy(&written), "");
    Ok(())
}

#[worker_task]
fn nested(x: u64) -> u64 {
    let pool = WorkerPool::builder().workers(1).start_method(StartMethod::Threads).build().unwrap();
    square::job(&pool).progress_bar(true).map(0..x).unwrap().iter().sum()
}

fn nothing_is_shown_in_a_worker(method: StartMethod) -> Result<(), Error> {
    let shown = screen(|| {
        // Its workers have the terminal, too.
        let pool = builder(method).daemon(false).build().unwrap();
        assert_eq!(nested::par_map(&pool, [4]).unwrap(), [14]);
        pool.join().unwrap();
    });
    assert_eq!(shown, "");
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
