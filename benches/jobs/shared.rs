//! Memory that workers share: the price of an element beside that of a plain slice, and a pass over 64 MiB in place.

use std::cell::RefCell;
use std::error::Error;
use std::hint::black_box;

use pool::shared::SharedArray;
use pool::worker_task;
use rayon::prelude::*;

use super::{METHODS, WORKERS, builder, time};
use crate::rounds::{Contender, Session};

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    elements(session)?;
    pass(session)
}

const ELEMENTS: usize = 1 << 20;

fn an_element<R>(call: impl FnOnce() -> R) -> f64 {
    time(call).as_nanos() as f64 / ELEMENTS as f64
}

/// A million elements, one after another, on one thread.
fn elements(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let plain: Vec<u32> = (0..ELEMENTS as u32).collect();
    let array = SharedArray::from_slice(&plain)?;
    let contenders = vec![
        Contender::new("a slice", || {
            an_element(|| (0..ELEMENTS).fold(0, |sum: u32, at| sum.wrapping_add(plain[at])))
        }),
        Contender::new("SharedArray::get", || {
            an_element(|| (0..ELEMENTS).fold(0, |sum: u32, at| sum.wrapping_add(array.get(at))))
        }),
        Contender::new("SharedArray::iter", || an_element(|| array.iter().fold(0, u32::wrapping_add))),
    ];
    session.compare("the sum of a million u32", "ns an element", contenders);
    let mut plain = plain.clone();
    let contenders = vec![
        Contender::new("a slice", || {
            an_element(|| {
                (0..ELEMENTS).for_each(|at| plain[at] = at as u32);
                black_box(&mut plain);
            })
        }),
        Contender::new("SharedArray::set", || {
            an_element(|| (0..ELEMENTS).for_each(|at| array.set(at, at as u32)))
        }),
        Contender::new("SharedArray::fetch_add", || {
            an_element(|| (0..ELEMENTS).fold(0, |last, at| last | array.fetch_add(at, 1)))
        }),
    ];
    session.compare("a write to each of a million u32", "ns an element", contenders);
    Ok(())
}

/// 64 MiB.
const LEN: usize = 16 << 20;
/// 512 KiB.
const CHUNK: usize = LEN / 128;

/// P13.
#[worker_task]
fn twice_plus_one(#[chunk] rows: &mut [f32]) {
    rows.iter_mut().for_each(|x| *x = 2.0 * *x + 1.0);
}

/// How long a pass takes. Checks its result.
fn checked(data: &mut [f32], pass: impl FnOnce(&mut [f32])) -> f64 {
    let wanted = [0, LEN - 1].map(|at| 2.0 * data[at] + 1.0);
    let took = time(|| pass(data));
    assert_eq!([data[0], data[LEN - 1]], wanted, "the pass is wrong");
    took.as_secs_f64() * 1e3
}

fn pass(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build()?;
    let mut by_rayon = vec![0.0f32; LEN];
    let mut by_one = vec![0.0f32; LEN];
    // One array for all pools: a fork shares whatever else there is when its pool's first call is made.
    let array = RefCell::new(SharedArray::<f32>::zeroed(LEN)?);
    let mut contenders = vec![
        Contender::new("rayon over a plain slice", || {
            checked(&mut by_rayon, |data| {
                threads.install(|| data.par_chunks_mut(CHUNK).for_each(twice_plus_one));
            })
        }),
        Contender::new("one thread", || checked(&mut by_one, twice_plus_one)),
    ];
    for method in METHODS {
        let (pool, array) = (builder(method).build()?, &array);
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            let mut array = array.borrow_mut();
            let wanted = [0, LEN - 1].map(|at| 2.0 * array.get(at) + 1.0);
            let took =
                time(|| twice_plus_one::par_chunks_mut(&pool, &mut array, CHUNK).expect("no task fails"));
            assert_eq!([array.get(0), array.get(LEN - 1)], wanted, "the pass is wrong");
            took.as_secs_f64() * 1e3
        }));
    }
    session.compare("x := 2x + 1 over 64 MiB of f32, in place", "ms", contenders);
    Ok(())
}
