//! Random numbers.
#![allow(unsafe_code, reason = "getrandom has no safe wrapper in nix")]

use std::io;

use nix::libc;

/// A random number from the kernel.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: the call writes at most `bytes.len()` bytes into the buffer. (So few bytes come all at once, or not at
    // all.)
    let given = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if given == bytes.len().cast_signed() {
        Ok(u64::from_ne_bytes(bytes))
    } else {
        Err(io::Error::last_os_error())
    }
}
