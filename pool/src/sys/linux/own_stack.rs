//! Where a thread's stack ends.
#![allow(unsafe_code, reason = "asks the C library")]

use std::mem::MaybeUninit;
use std::ops::Range;

use nix::libc;

/// How much is assumed to be left of a stack that is not the thread's own, such as a coroutine's, whose end is not
/// known. Such stacks usually have a megabyte, and at least 64 KiB.
pub(crate) const UNKNOWN: usize = 48 << 10;

/// The range of this thread's own stack.
pub(crate) fn range() -> Option<Range<usize>> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the call writes the attributes of the calling thread into a live variable.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call above succeeded, so it has written the attributes.
    let mut attributes = unsafe { attributes.assume_init() };
    let (mut low, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are initialized, and destroyed once, at the end; the other call writes into live
    // variables.
    let error = unsafe {
        let error = libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut len);
        libc::pthread_attr_destroy(&raw mut attributes);
        error
    };
    (error == 0).then(|| low.addr()..low.addr().saturating_add(len))
}
