//! What a process sets for itself. There are no worker processes, and options for them are refused.
#![allow(unsafe_code, reason = "the function is unsafe where it changes the environment")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use super::{Resource, unsupported};

/// The text whose encoded bytes these are, if it is text: no process needs it.
pub(crate) fn text(encoded: Vec<u8>) -> OsString {
    String::from_utf8(encoded).unwrap_or_default().into()
}

/// No error: only going there can tell.
pub(crate) fn may_enter(_: &Path) -> io::Result<()> {
    Ok(())
}

/// # Safety
/// None here.
pub(crate) unsafe fn set_variable(_name: &OsStr, _value: &OsStr) {}

pub(crate) fn set_nice(_: i32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn try_nice(_: i32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn limit(_: Resource) -> io::Result<(u64, u64)> {
    unsupported()
}

pub(crate) fn set_limit(_: Resource, _soft: u64, _hard: u64) -> io::Result<()> {
    unsupported()
}

pub(crate) fn refuses_hard_limit(_: Resource, _hard: u64) -> Option<String> {
    None
}
