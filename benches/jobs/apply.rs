//! One task at a time: back to back, and after a pause in which all threads have gone to sleep.

use std::error::Error;
use std::iter::once;
use std::thread;
use std::time::{Duration, Instant};

use super::{METHODS, WORKERS, add_one, builder, time};
use crate::peers::{Channels, Ipc, Spawned};
use crate::rounds::{Contender, Session};

/// The mean of this many calls, each after a pause that is not counted.
fn mean_us(calls: u32, pause: Duration, mut call: impl FnMut(u64) -> u64) -> f64 {
    let mut total = Duration::ZERO;
    for x in 0..u64::from(calls) {
        rest(pause);
        total += time(|| assert_eq!(call(x), x + 1));
    }
    total.as_secs_f64() * 1e6 / f64::from(calls)
}

fn rest(pause: Duration) {
    let end = Instant::now() + pause;
    while Instant::now() < end {
        thread::sleep(end - Instant::now());
    }
}

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    // Peers that take tens of microseconds make fewer calls back to back.
    let jobs = [
        ("back to back", Duration::ZERO, 20_000, 2000),
        ("after 1 ms of rest", Duration::from_millis(1), 100, 100),
    ];
    for (name, pause, calls, fewer) in jobs {
        let rayon = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
        let channels = Channels::new(WORKERS, add_one);
        let ipc = Ipc::new(WORKERS, 64, "add_one");
        let spawned = Spawned::new(WORKERS, add_one);
        let mut contenders = vec![
            Contender::new("crossbeam-channel", || mean_us(calls, pause, |x| channels.map(once(x))[0])),
            Contender::new("rayon, install", || mean_us(fewer, pause, |x| rayon.install(|| add_one(x)))),
            Contender::new("ipc-channel", || mean_us(fewer, pause, |x| ipc.map(once(x))[0])),
            Contender::new("procspawn", || mean_us(fewer, pause, |x| spawned.map(once(x))[0])),
        ];
        for method in METHODS {
            let pool = builder(method).build()?;
            contenders.push(Contender::new(format!("pool, {method}"), move || {
                mean_us(calls, pause, |x| add_one::apply(&pool, x).expect("no task fails"))
            }));
        }
        session.compare(&format!("apply, {name}"), "µs a call", contenders);
    }
    Ok(())
}
