//! The numbers of errors. They come from a process that stored them, maybe on another system.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}", self.0)
    }
}

/// The error's number.
pub(crate) fn number(error: Errno) -> i32 {
    error.0
}

/// The error with this number.
pub(crate) fn of_number(number: i32) -> Errno {
    Errno(number)
}
