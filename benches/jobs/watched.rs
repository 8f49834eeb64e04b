//! What it costs to be watched: a progress bar that is drawn, and insights.

use std::error::Error;
use std::fs::File;
use std::{io, thread};

use nix::pty::{Winsize, openpty};
use nix::unistd::{dup, dup2_stderr};
use pool::{StartMethod, WorkerPool};

use super::builder;
use super::work::{compute, ms, steps_per_us};
use crate::rounds::{Contender, Session};

/// Of a microsecond.
const TASKS: usize = 200_000;

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
    ];
    session.compare("200,000 tasks of 1 µs, watched", "ms", contenders);
    Ok(())
}
