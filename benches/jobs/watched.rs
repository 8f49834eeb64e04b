//! The price of watching: a progress bar that is drawn, insights, and a log.

use std::error::Error;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, thread};

use nix::pty::{Winsize, openpty};
use nix::unistd::{dup, dup2_stderr};
use pool::{StartMethod, WorkerPool, worker_task};
use tracing_subscriber::filter::LevelFilter;

use super::builder;
use super::work::{compute, ms, steps_per_us};
use crate::rounds::{Contender, Session};

/// Of a microsecond.
const TASKS: usize = 200_000;
/// One task in so many logs something that the subscriber wants.
const LOGS: u64 = 100;

/// The same work, with a log.
#[worker_task]
fn logged(steps: u64) -> u64 {
    static RUN: AtomicU64 = AtomicU64::new(0);
    tracing::debug!(steps, "begins");
    if RUN.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOGS) {
        tracing::info!(steps, "runs");
    }
    compute(steps)
}

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let tasks = vec![steps_per_us() as u64; TASKS];
    let expected = vec![compute(tasks[0]); TASKS];
    let (tasks, expected) = (&tasks, &expected);
    let pool = |insights| builder(StartMethod::ForkServer).insights(insights).build();
    let plain = |pool: &WorkerPool| compute::par_map(pool, tasks.iter().copied()).expect("no task fails");
    let (unwatched, shown, told) = (pool(false)?, pool(false)?, pool(true)?);
    let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(Some(&size), None)?;
    let mut screen = File::from(terminal.master);
    // Somebody looks at it.
    thread::spawn(move || io::copy(&mut screen, &mut io::sink()));
    // A line for each record, which nobody reads.
    let format = tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_writer(io::sink);
    let subscriber = tracing::Dispatch::new(format.finish());
    let heard = |run: &dyn Fn() -> f64| tracing::dispatcher::with_default(&subscriber, run);
    let listening = tracing::dispatcher::with_default(&subscriber, || pool(false))?;
    let contenders = vec![
        Contender::new("nobody watches", || ms(expected, || plain(&unwatched))),
        Contender::new("a progress bar", || {
            let stderr = dup(io::stderr()).expect("stderr is open");
            dup2_stderr(&terminal.slave).expect("a terminal can be stderr");
            let took = ms(expected, || {
                let job = compute::job(&shown).progress_bar(true);
                job.map(tasks.iter().copied()).expect("no task fails")
            });
            dup2_stderr(&stderr).expect("it was stderr before");
            took
        }),
        Contender::new("insights", || ms(expected, || plain(&told))),
        Contender::new("a subscriber, nothing logged", || heard(&|| ms(expected, || plain(&listening)))),
        Contender::new("a record of each 100th task", || {
            let all = || logged::par_map(&listening, tasks.iter().copied()).expect("no task fails");
            heard(&|| ms(expected, all))
        }),
    ];
    session.compare("200,000 tasks of 1 µs, watched", "ms", contenders);
    Ok(())
}
