//! A pool from start to end, with one trivial task.

use std::error::Error;
use std::process::Command;

use super::{METHODS, WORKERS, add_one, builder, time};
use crate::peers::{Ipc, Spawned};
use crate::rounds::{Contender, Session};

fn ms(call: impl FnOnce()) -> f64 {
    time(call).as_secs_f64() * 1e3
}

/// Two processes that do nothing, started at once.
fn two_processes() {
    let children: Vec<_> = (0..WORKERS).map(|_| Command::new("true").spawn()).collect();
    for child in children {
        let status = child.and_then(|mut child| child.wait()).expect("`true` is there");
        assert!(status.success());
    }
}

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let mut contenders = vec![Contender::new("two processes that do nothing", || ms(two_processes))];
    contenders.push(Contender::new("rayon", || {
        ms(|| {
            let rayon = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build();
            assert_eq!(rayon.expect("threads can be started").install(|| add_one(1)), 2);
        })
    }));
    contenders.push(Contender::new("procspawn", || {
        ms(|| assert_eq!(Spawned::new(WORKERS, add_one).map(std::iter::once(1)), [2]))
    }));
    contenders.push(Contender::new("ipc-channel", || {
        ms(|| assert_eq!(Ipc::<u64, u64>::new(WORKERS, 64, "add_one").map(std::iter::once(1)), [2]))
    }));
    for method in METHODS {
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            ms(|| {
                let pool = builder(method).build().expect("a pool can be made");
                assert_eq!(add_one::apply(&pool, 1).expect("no task fails"), 2);
                pool.join().expect("workers end");
            })
        }));
    }
    session.compare("start, one task, clean end", "ms", contenders);
    Ok(())
}
