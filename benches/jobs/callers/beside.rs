//! A short call beside another thread's long map. Nobody can stop a task that runs, so the call waits for about one.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pool::StartMethod;
use rayon::prelude::*;

use crate::jobs::work::{compute, steps_per_us};
use crate::jobs::{WORKERS, add_one, builder, time};
use crate::rounds::{Contender, Session, median, pair};

/// How long a map takes, in microseconds.
const MAP_US: f64 = 500_000.0;
/// By then workers have got tasks of a map whose first item was pulled.
const SETTLED: Duration = Duration::from_millis(10);

pub(super) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let steps = steps_per_us();
    let rayon = &rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
    let pool = &builder(StartMethod::ForkServer).build()?;
    for (us, name, calls) in [(100.0, "100 µs", 100), (50_000.0, "50 ms", 10)] {
        let tasks = &vec![(us * steps) as u64; WORKERS * (MAP_US / us) as usize];
        let contenders = pair(["pool, median", "pool, worst"].map(Into::into), move || {
            let map = |begun: &AtomicBool| {
                let items = tasks.iter().copied().inspect(|_| begun.store(true, Ordering::Relaxed));
                drop(compute::par_map(pool, items).expect("no task fails"));
            };
            let apply = || assert_eq!(add_one::apply(pool, 1).expect("no task fails"), 2);
            beside(map, calls, apply).map(|time| time / us)
        });
        let by_rayon = Contender::new("rayon, worst", move || {
            let map = |begun: &AtomicBool| {
                let items = tasks.par_iter().inspect(|_| begun.store(true, Ordering::Relaxed));
                drop(rayon.install(|| items.map(|steps| compute(*steps)).collect::<Vec<_>>()));
            };
            // It waits for the map.
            let [_, worst] = beside(map, 1, || assert_eq!(rayon.install(|| add_one(1)), 2));
            worst / us
        });
        let name = format!("a short call beside another thread's map of tasks of {name}");
        session.compare(&name, "in such tasks", contenders.chain([by_rayon]).collect());
    }
    Ok(())
}

/// The median and the greatest time of these calls, in microseconds, while another thread maps again and again, and
/// tells when it has begun.
fn beside(map: impl Fn(&AtomicBool) + Sync, calls: usize, call: impl Fn()) -> [f64; 2] {
    let (map, begun, is_over) = (&map, &AtomicBool::new(false), &AtomicBool::new(false));
    let times: Vec<f64> = thread::scope(|scope| {
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                map(begun);
            }
        });
        while !begun.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        thread::sleep(SETTLED);
        let times = (0..calls).map(|_| time(&call).as_secs_f64() * 1e6).collect();
        is_over.store(true, Ordering::Relaxed);
        times
    });
    [median(times.iter().copied()), times.iter().copied().fold(0.0, f64::max)]
}
