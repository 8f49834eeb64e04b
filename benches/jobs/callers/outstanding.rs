//! Calls that return at once, and their results: behind many that wait, and many at a time.

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use pool::{AsyncResult, StartMethod, WorkerPool, worker_task};

use super::us_a_call;
use crate::apart;
use crate::jobs::broadcast::kib;
use crate::jobs::work::ms;
use crate::jobs::{METHODS, WORKERS, add_one, builder, time};
use crate::peers::Requests;
use crate::rounds::{Contender, Session};

const MILLION: usize = 1_000_000;
/// For calls that are made one after another.
const FEW: usize = 20_000;
/// How many calls are added to those that wait.
const ADDED: usize = 1000;
/// How many numbers one call maps.
const NUMBERS: u64 = 2_000_000;

pub(crate) const CALLS_OF_POOL: &str = "pool, apply_async";
pub(crate) const CALLS_OF_CHANNEL: &str = "crossbeam-channel, a reply channel for each";
pub(crate) const PAR_MAP: &str = "pool, par_map";
pub(crate) const MAP_ASYNC: &str = "pool, map_async";

#[worker_task]
fn sleep() {
    thread::sleep(Duration::from_secs(1_000_000));
}

pub(super) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    behind_others(session)?;
    let apart = |name: &'static str| Contender::new(name, || apart::measured(name));
    let bytes = [CALLS_OF_POOL, CALLS_OF_CHANNEL].map(apart).into();
    session.compare("the memory of each of a million calls that wait", "bytes besides its item", bytes);
    until_done(session)?;
    one_call(session)?;
    let mib = [PAR_MAP, MAP_ASYNC].map(apart).into();
    session.compare("the memory that this call takes at most", "MiB", mib);
    Ok(())
}

fn behind_others(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let (channel, _closed) = (Requests::new(WORKERS, pass_gate), GATE.lock());
    let submit = |calls: usize| (0..calls as u64).map(|x| channel.submit(x)).collect::<Vec<_>>();
    let _others = submit(MILLION);
    let mut contenders = Vec::new();
    for others in [1000, 3000, 16_000, MILLION] {
        let busy = Busy::new(others)?;
        contenders.push(Contender::new(format!("pool, behind {others} others"), move || {
            let mut more = Vec::with_capacity(ADDED);
            let took = time(|| more.extend(busy.submit(ADDED)));
            more.iter().for_each(AsyncResult::cancel);
            us_a_call(ADDED, took)
        }));
    }
    contenders.push(Contender::new(format!("crossbeam-channel, behind {MILLION} others"), || {
        us_a_call(ADDED, time(|| submit(ADDED)))
    }));
    session.compare("one more apply_async behind others, until it returns", "µs a call", contenders);
    Ok(())
}

fn until_done(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let pool = &builder(StartMethod::ForkServer).build()?;
    let channel = &Requests::new(WORKERS, add_one);
    let by_pool = |calls, most| {
        let submit = |x| add_one::apply_async(pool, x);
        let get = |call: AsyncResult<u64>| call.get().expect("no task fails");
        us_a_call(calls, time(|| window(calls, most, submit, get)))
    };
    let by_channel = |calls, most| {
        let get = |call: Receiver<u64>| call.recv().expect("no task fails");
        us_a_call(calls, time(|| window(calls, most, |x| channel.submit(x), get)))
    };
    let mut contenders = vec![Contender::new("pool, apply", || {
        us_a_call(FEW, time(|| (0..FEW as u64).try_for_each(|x| add_one::apply(pool, x).map(drop))))
    })];
    for (calls, most) in [(FEW, 1), (10 * FEW, 1000), (MILLION, MILLION)] {
        let name = |who| format!("{who}, {most} outstanding");
        contenders.push(Contender::new(name("pool, apply_async"), move || by_pool(calls, most)));
        contenders.push(Contender::new(name("crossbeam-channel"), move || by_channel(calls, most)));
    }
    session.compare("calls one after another, until all results are there", "µs a call", contenders);
    Ok(())
}

fn one_call(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let expected = &(1..=NUMBERS).collect::<Vec<_>>();
    let serial = || (0..NUMBERS).map(add_one).collect();
    let mut contenders = vec![Contender::new("serial loop", || ms(expected, serial))];
    for method in METHODS {
        let (first, second) = (builder(method).build()?, builder(method).build()?);
        contenders.push(Contender::new(format!("pool, {method}, par_map"), move || {
            ms(expected, || add_one::par_map(&first, 0..NUMBERS).expect("no task fails"))
        }));
        contenders.push(Contender::new(format!("pool, {method}, map_async"), move || {
            ms(expected, || add_one::job(&second).map_async(0..NUMBERS).get().expect("no task fails"))
        }));
    }
    session.compare("two million numbers by one call", "ms", contenders);
    Ok(())
}

/// A pool whose workers are busy for good, and calls that wait for them.
struct Busy {
    pool: WorkerPool,
    _tasks: Vec<AsyncResult<()>>,
    _others: Vec<AsyncResult<u64>>,
}

impl Busy {
    fn new(others: usize) -> Result<Self, Box<dyn Error>> {
        let pool = builder(StartMethod::ForkServer).build()?;
        let tasks = (0..WORKERS).map(|_| sleep::apply_async(&pool, ())).collect();
        let mut busy = Self { pool, _tasks: tasks, _others: Vec::new() };
        busy._others = busy.submit(others).collect();
        Ok(busy)
    }

    fn submit(&self, calls: usize) -> impl Iterator<Item = AsyncResult<u64>> {
        (0..calls as u64).map(|x| add_one::apply_async(&self.pool, x))
    }
}

/// Whoever holds it holds up the threads of a channel.
static GATE: Mutex<()> = Mutex::new(());

fn pass_gate(x: u64) -> u64 {
    drop(GATE.lock());
    x
}

/// Makes calls one after another, of which at most so many are outstanding, and gets their results in this order.
fn window<C>(calls: usize, most: usize, submit: impl Fn(u64) -> C, get: impl Fn(C) -> u64) {
    let mut outstanding = VecDeque::with_capacity(most);
    let mut expected = 1..;
    let mut check = |call| assert_eq!(Some(get(call)), expected.next(), "a result is wrong");
    for x in 0..calls as u64 {
        if outstanding.len() == most {
            outstanding.pop_front().map(&mut check);
        }
        outstanding.push_back(submit(x));
    }
    outstanding.into_iter().for_each(check);
}

pub(crate) fn bytes_a_call_of_pool() -> f64 {
    let busy = Busy::new(0).expect("a pool can be made");
    bytes_a_call(|| busy.submit(MILLION).collect::<Vec<_>>())
}

pub(crate) fn bytes_a_call_of_channel() -> f64 {
    let (channel, _closed) = (Requests::new(WORKERS, pass_gate), GATE.lock());
    bytes_a_call(|| (0..MILLION as u64).map(|x| channel.submit(x)).collect::<Vec<_>>())
}

/// What each of a million calls takes besides its item.
fn bytes_a_call<C>(submit: impl FnOnce() -> Vec<C>) -> f64 {
    grown_by(submit) / MILLION as f64 - size_of::<u64>() as f64
}

pub(crate) fn mib_of_par_map() -> f64 {
    mib_of(|pool| add_one::par_map(pool, 0..NUMBERS))
}

pub(crate) fn mib_of_map_async() -> f64 {
    mib_of(|pool| add_one::job(pool).map_async(0..NUMBERS).get())
}

/// What a call takes of a pool whose workers are there.
fn mib_of(call: impl FnOnce(&WorkerPool) -> Result<Vec<u64>, pool::Error>) -> f64 {
    let pool = builder(StartMethod::ForkServer).build().expect("a pool can be made");
    add_one::par_map(&pool, 0..1000).expect("no task fails");
    grown_by(|| call(&pool).expect("no task fails")) / f64::from(1 << 20)
}

/// By how many bytes this process grows at most while this runs.
fn grown_by<R>(run: impl FnOnce() -> R) -> f64 {
    let now = |name| {
        let status = fs::read_to_string("/proc/self/status").expect("every process has this file");
        kib(&status, name).expect("the kernel tells it") * 1024.0
    };
    let before = now("VmRSS:");
    let result = run();
    let most = now("VmHWM:");
    drop(result);
    most - before
}
