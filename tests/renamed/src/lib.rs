//! A crate that makes it hard for the macros' output: `pool` has another name here, unsafe code is forbidden and
//! every warning is an error.
#![forbid(unsafe_code)]
#![deny(warnings, clippy::pedantic, unused_qualifications)]

pub mod bare;

use parallel::{worker_exit, worker_init, worker_task};

/// Makes the state.
#[worker_init(crate = parallel)]
#[must_use]
pub fn greeting(#[worker_id] id: usize) -> String {
    id.to_string()
}

/// Ends the state.
#[worker_exit(crate = parallel)]
#[must_use]
pub fn length(#[state] greeting: String) -> usize {
    greeting.into_bytes().len()
}

/// Fails, with an error that is called as those of the macros' output are.
///
/// # Errors
/// For an empty text.
#[worker_task(crate = parallel, fallible)]
pub fn first(error: &str) -> Result<char, String> {
    error.chars().next().ok_or_else(|| "it is empty".to_owned())
}

/// Counts, for each type of a list.
#[worker_task(crate = parallel, for T in [u8, String])]
#[must_use]
pub fn count<T>(values: &[T]) -> usize {
    values.len()
}

/// Takes parameters by the names that generated code likes.
#[worker_task(crate = parallel, init = greeting, exit = length, name = "renamed greet")]
#[must_use]
pub fn greet(#[state] cx: &mut String, item: &str, #[worker_id] state: usize) -> String {
    cx.push_str(item);
    state.to_string() + item
}

/// Makes a state of a constant.
#[worker_init(crate = parallel)]
#[must_use]
pub fn prefix(#[arg] given: String) -> String {
    given
}

/// Takes constants by the names that generated code likes.
#[worker_task(crate = parallel, init = prefix)]
#[must_use]
pub fn prefixed(
    #[state] arg: &mut String,
    #[arg] out: usize,
    #[worker_id] codec: usize,
    bytes: &str,
) -> String {
    arg.repeat(out + codec) + bytes
}
