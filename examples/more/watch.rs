//! A long job, watched: a progress bar, what workers log and print, the end of their stderr, insights, and a timeline.
//!
//! ```console
//! $ cargo run --release --example watch
//! ```

use std::error::Error;
use std::time::Duration;

use pool::{WorkerPool, worker_task};
use tracing_subscriber::filter::LevelFilter;

/// The longest run of steps to 1 that a number below `limit` needs, by the rule of Collatz.
#[worker_task]
fn longest_run(limit: u64) -> (u64, u32) {
    if limit % 50_000 == 13 {
        // As a C library would: a message, and the end of the process.
        eprintln!("collatz.c:42: assertion `limit % 50000 != 13' failed");
        std::process::abort();
    }
    if limit % 40_000 == 7 {
        loop {
            std::hint::spin_loop();
        }
    }
    let steps = |start: u64| {
        let next = |x: &u64| (*x != 1).then(|| if x.is_multiple_of(2) { x / 2 } else { 3 * x + 1 });
        std::iter::successors(Some(start), next).count() as u32
    };
    let longest = (1..limit).map(|start| (start, steps(start))).max_by_key(|(_, steps)| *steps);
    let longest = longest.unwrap_or((1, 1));
    if longest.1 > 350 {
        tracing::info!(start = longest.0, steps = longest.1, "a long run below {limit}");
    }
    longest
}

#[pool::main]
fn main() -> Result<(), Box<dyn Error>> {
    // With the feature `logs` of `pool`, what workers log comes here, too.
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .without_time()
        .with_writer(std::io::stderr)
        .init();
    let pool = WorkerPool::builder().insights(true).build()?;
    let limits = (1000..60_000).step_by(541).chain([50_013, 40_007]);
    let job = longest_run::job(&pool).task_timeout(Duration::from_millis(300)).progress_bar(true);
    let outcomes = job.map_outcomes(limits)?;
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        println!("{error}");
    }
    println!("\n{}", pool.insights());
    let path = std::env::temp_dir().join("pool-watch.svg");
    pool.timeline().save(&path)?;
    println!("\na picture of the run: {}", path.display());
    Ok(())
}
