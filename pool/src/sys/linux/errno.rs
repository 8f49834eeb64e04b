//! The numbers of errors.

pub(crate) use nix::errno::Errno;

/// The error's number.
pub(crate) fn number(error: Errno) -> i32 {
    error as i32
}

/// The error with this number.
pub(crate) fn of_number(number: i32) -> Errno {
    Errno::from_raw(number)
}
