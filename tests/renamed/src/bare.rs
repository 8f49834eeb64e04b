//! A module without a prelude, in which the prelude's names mean something else.
#![no_implicit_prelude]

use ::parallel::{worker_exit, worker_init, worker_task};
use ::std::result::Result as Fallible;
use ::std::string::String;

/// Not `core::option::Option`.
#[derive(::std::fmt::Debug)]
pub struct Option;
/// Not `core::result::Result`.
#[derive(::std::fmt::Debug)]
pub struct Result;
/// Not `std::vec::Vec`.
#[derive(::std::fmt::Debug)]
pub struct Vec;
/// Not the trait of `pool`.
#[derive(::std::fmt::Debug)]
pub struct Task;

/// Fails for all but the first worker.
///
/// # Errors
/// For all but the first worker.
#[worker_init(crate = ::parallel)]
pub fn open(#[worker_id] id: usize, #[shared] base: &u64) -> ::std::result::Result<u64, String> {
    if id == 0 { Fallible::Ok(*base) } else { Fallible::Err(String::new()) }
}

/// Ends the state.
///
/// # Errors
/// Without a state.
#[worker_exit(crate = ::parallel, fallible)]
pub fn close(#[state] state: u64) -> Fallible<u64, String> {
    if state == 0 { Fallible::Err(String::new()) } else { Fallible::Ok(state) }
}

/// Adds it all up.
#[worker_task(crate = ::parallel, init = open, exit = close)]
#[must_use]
pub fn add(#[shared] shared: &u64, #[state] state: &mut u64, a: u64, b: u64) -> u64 {
    *state += 1;
    *shared + *state + a + b
}

/// Has parameters of the names that the macros' output has.
#[worker_task(crate = ::parallel, for (Item, Output) in [(u8, u64), (u16, u64)])]
pub fn convert<Item: ::core::convert::Into<Output>, Output>(item: Item) -> Output {
    item.into()
}

/// Takes a constant by reference.
#[worker_task(crate = ::parallel)]
#[must_use]
pub fn shift(#[arg] by: &u64, item: u64) -> u64 {
    *by + item
}

/// Takes a constant by value.
#[worker_task(crate = ::parallel)]
#[must_use]
pub fn scale(#[arg] by: u64, item: u64) -> u64 {
    by * item
}

/// What a pool shares.
#[derive(::std::fmt::Debug, ::parallel::Shares)]
#[shares(crate = ::parallel)]
pub struct Common {
    /// A number.
    pub whole: u64,
    /// A text.
    pub wanted: String,
}
