//! What a task costs the parent, whatever it costs a worker: the CPU time of the parent's threads. It bounds the tasks
//! a second that one parent can hand out.

use std::error::Error;
use std::time::Duration;

use pool::{StartMethod, WorkerPool};

use super::payload::{ends, filled};
use super::reduce::add;
use super::shapes::{passed_on, record, series};
use super::{add_one, builder, own_time};
use crate::rounds::{Contender, Session};

const MILLION: u64 = 1_000_000;
const SOME: u64 = 200_000;
const FEW: u64 = 10_000;
/// For messages of a mebibyte.
const LARGE: u8 = 200;

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let mebibyte = &*filled(1);
    let mut slots = vec![Vec::new(); LARGE.into()];
    let contenders = vec![
        row("u64 -> u64", MILLION, |pool| own(|| add_one::par_map(pool, 0..MILLION)))?,
        row("the same, chunks of 1", MILLION, |pool| {
            own(|| add_one::job(pool).chunk_size(1).map(0..MILLION))
        })?,
        row("the same, reduce", MILLION, |pool| own(|| add_one::job(pool).reduce::<add>(0..MILLION)))?,
        row("the same, apply", SOME, |pool| {
            own(|| (0..SOME).try_for_each(|x| add_one::apply(pool, x).map(drop)))
        })?,
        row("the same, apply_async", SOME, |pool| {
            let submitted = || (0..SOME).map(|x| add_one::apply_async(pool, x)).collect::<Vec<_>>();
            own(|| submitted().into_iter().try_for_each(|call| call.get().map(drop)))
        })?,
        row("two strings and a vector, there and back", SOME, |pool| {
            let records: Vec<_> = (0..SOME).map(record).collect();
            own(|| passed_on::par_map(pool, records))
        })?,
        row("8 KiB of f64 out", FEW, |pool| own(|| series::par_map(pool, (0..FEW).map(|x| x as f64))))?,
        row("1 MiB of bytes in", LARGE.into(), |pool| {
            own(|| ends::par_map(pool, (0..LARGE).map(|_| mebibyte)))
        })?,
        row("1 MiB of bytes out", LARGE.into(), |pool| own(|| filled::par_map(pool, 0..LARGE)))?,
        row("the same, par_map_into", LARGE.into(), move |pool| {
            own(|| filled::par_map_into(pool, 0..LARGE, &mut slots))
        })?,
        row("the same, par_imap, each dropped before the next", LARGE.into(), |pool| {
            own(|| filled::par_imap(pool, 0..LARGE).try_for_each(|bytes| bytes.map(drop)))
        })?,
    ];
    session.compare("the parent's own work", "ns of CPU time a task", contenders);
    Ok(())
}

fn row<'a>(
    name: &str,
    tasks: u64,
    mut own: impl FnMut(&WorkerPool) -> Duration + 'a,
) -> Result<Contender<'a>, Box<dyn Error>> {
    let pool = builder(StartMethod::ForkServer).build()?;
    Ok(Contender::new(name, move || own(&pool).as_nanos() as f64 / tasks as f64))
}

/// What a call costs this process.
fn own<R>(call: impl FnOnce() -> Result<R, pool::Error>) -> Duration {
    own_time(|| call().expect("no task fails"))
}
