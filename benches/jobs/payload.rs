//! A mebibyte in, and a mebibyte out.

use std::error::Error;
use std::hint::black_box;

use pool::worker_task;
use rayon::prelude::*;
use serde_bytes::ByteBuf;

use super::{METHODS, WORKERS, builder, time};
use crate::peers::{Channels, Ipc, Spawned};
use crate::rounds::{Contender, Session};

const BYTES: usize = 1 << 20;
const TASKS: usize = 200;

#[worker_task]
pub(super) fn ends(bytes: &[u8]) -> u64 {
    u64::from(bytes[0]) + u64::from(bytes[bytes.len() - 1])
}

#[worker_task]
pub(super) fn filled(byte: u8) -> Vec<u8> {
    vec![byte; BYTES]
}

fn us_a_task<R>(call: impl FnOnce() -> Vec<R>, is_right: impl Fn(usize, &R) -> bool) -> f64 {
    let mut results = Vec::new();
    let took = time(|| results = call());
    assert!(
        results.len() == TASKS && results.iter().enumerate().all(|(place, result)| is_right(place, result))
    );
    took.as_secs_f64() * 1e6 / TASKS as f64
}

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    // A few inputs again and again: too large for caches, and small beside the memory that there is.
    let inputs: Vec<Vec<u8>> = (0..20).map(|byte| vec![byte; BYTES]).collect();
    let input = |task: usize| &*inputs[task % inputs.len()];
    let is_right = |task: usize, sum: &u64| *sum == 2 * (task as u64 % 20);
    let mut slab = vec![0; BYTES];
    let mut copied = || {
        slab.copy_from_slice(input(7));
        black_box(&mut slab);
        14
    };
    let channels = Channels::new(WORKERS, |bytes: Vec<u8>| ends(&bytes));
    let ipc = Ipc::<ByteBuf, u64>::new(WORKERS, 2, "payload::ends");
    let spawned = Spawned::new(WORKERS, |bytes: ByteBuf| ends(&bytes));
    let owned = |task: usize| ByteBuf::from(input(task).to_vec());
    let mut contenders = vec![
        Contender::new("one copy each, one thread", || {
            us_a_task(|| (0..TASKS).map(|_| copied()).collect(), |_, sum| *sum == 14)
        }),
        Contender::new("crossbeam-channel, cloned", || {
            us_a_task(|| channels.map((0..TASKS).map(|task| input(task).to_vec())), is_right)
        }),
        Contender::new("ipc-channel, cloned", || us_a_task(|| ipc.map((0..TASKS).map(owned)), is_right)),
        Contender::new("procspawn, cloned", || us_a_task(|| spawned.map((0..TASKS).map(owned)), is_right)),
    ];
    for method in METHODS {
        let pool = builder(method).build()?;
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            us_a_task(|| ends::par_map(&pool, (0..TASKS).map(input)).expect("no task fails"), is_right)
        }));
    }
    session.compare("1 MiB in, 8 bytes out", "µs a task", contenders);

    let is_right = |task: usize, bytes: &Vec<u8>| bytes.len() == BYTES && bytes[BYTES - 1] == task as u8;
    let byte = |task: usize| task as u8;
    let is_right_too = |task: usize, bytes: &ByteBuf| is_right(task, bytes);
    let ipc = Ipc::<u8, ByteBuf>::new(WORKERS, 2, "payload::filled");
    let spawned = Spawned::new(WORKERS, |byte| ByteBuf::from(filled(byte)));
    let mut contenders = vec![
        Contender::new("rayon", || {
            us_a_task(|| (0..TASKS).into_par_iter().map(|task| filled(byte(task))).collect(), is_right)
        }),
        Contender::new("ipc-channel", || us_a_task(|| ipc.map((0..TASKS).map(byte)), is_right_too)),
        Contender::new("procspawn", || us_a_task(|| spawned.map((0..TASKS).map(byte)), is_right_too)),
    ];
    for method in METHODS {
        let pool = builder(method).build()?;
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            us_a_task(|| filled::par_map(&pool, (0..TASKS).map(byte)).expect("no task fails"), is_right)
        }));
    }
    session.compare("8 bytes in, 1 MiB out", "µs a task", contenders);
    Ok(())
}
