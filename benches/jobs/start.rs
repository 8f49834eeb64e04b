//! A pool from start to end, with one trivial task; and a worker in the place of one that died.

use std::error::Error;
use std::process::{Child, Command, Stdio};

use pool::worker_task;

use super::{METHODS, WORKERS, add_one, builder, time};
use crate::peers::{Ipc, Spawned};
use crate::rounds::{Contender, Session};

fn ms(call: impl FnOnce()) -> f64 {
    time(call).as_secs_f64() * 1e3
}

/// A task that ends its worker.
#[worker_task]
fn end() {
    std::process::exit(1);
}

/// With this argument the program ends at once, or when its standard input does.
pub(crate) const NOTHING: &str = "--nothing";

/// A process of this program that does nothing.
pub(super) fn nothing(input: Stdio) -> Child {
    let mut command = Command::new("/proc/self/exe");
    command.arg(NOTHING).stdin(input).spawn().expect("this program can be started")
}

/// This many of them, started at once.
fn processes(count: usize) {
    let children: Vec<_> = (0..count).map(|_| nothing(Stdio::null())).collect();
    for mut child in children {
        assert!(child.wait().is_ok_and(|status| status.success()));
    }
}

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let mut contenders = vec![Contender::new("two processes that do nothing", || ms(|| processes(WORKERS)))];
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

    let mut contenders = vec![Contender::new("a process that does nothing", || ms(|| processes(1)))];
    for method in METHODS.into_iter().filter(|method| method.is_process()) {
        let pool = builder(method).workers(1).build()?;
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            assert!(end::apply(&pool, ()).is_err());
            ms(|| assert_eq!(add_one::apply(&pool, 1).expect("no task fails"), 2))
        }));
    }
    session.compare("a worker anew, and one task", "ms", contenders);
    Ok(())
}
