//! A library that a program has several times: in two versions, and from another package under the same name.

use pool::{Error, WorkerPool, worker_exit, worker_init, worker_task};

/// Which of them this is.
pub const OWN: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

#[worker_init]
pub fn begin() -> String {
    OWN.to_owned()
}

#[worker_task(init = begin, exit = end)]
pub fn tell(#[state] state: &mut String, text: &str) -> String {
    format!("{OWN} was told {text} with the state of {state}")
}

#[worker_exit]
pub fn end(#[state] state: String) -> String {
    state
}

/// Two functions of one package with one name.
#[worker_task(name = "double")]
pub fn first(x: u64) -> u64 {
    2 * x
}

#[worker_task(name = "double")]
pub fn second(x: u64) -> u64 {
    x + x
}

/// A name that each of the packages gives once.
#[worker_task(name = "which")]
pub fn which() -> String {
    OWN.to_owned()
}

/// Tasks of one path: functions inside functions.
pub fn inner(pool: &WorkerPool) -> Result<[u64; 2], Error> {
    let plus = {
        #[worker_task]
        fn step(x: u64) -> u64 {
            x + 3
        }
        step::apply(pool, 5)?
    };
    let times = {
        #[worker_task]
        fn step(x: u64) -> u64 {
            x * 3
        }
        step::apply(pool, 5)?
    };
    Ok([plus, times])
}
