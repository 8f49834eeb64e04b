//! The side of those who call: calls that wait by the thousand, calls from many threads at once, short calls beside
//! another thread's long map, and pools of many workers.

use std::error::Error;
use std::time::Duration;

use crate::rounds::Session;

mod beside;
mod many_workers;
mod outstanding;
mod threads;

pub(super) use outstanding::{
    CALLS_OF_CHANNEL, CALLS_OF_POOL, MAP_ASYNC, PAR_MAP, bytes_a_call_of_channel, bytes_a_call_of_pool,
    mib_of_map_async, mib_of_par_map,
};

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    outstanding::run(session)?;
    threads::run(session)?;
    beside::run(session)?;
    many_workers::run(session)
}

/// Microseconds of each of these calls.
fn us_a_call(calls: usize, took: Duration) -> f64 {
    took.as_secs_f64() * 1e6 / calls as f64
}
