//! Values moved between threads as they are in memory: what `StartMethod::Threads` does instead of encoding.
#![allow(unsafe_code, reason = "moves values as bytes")]

use std::convert::Infallible;
use std::io::Write;
use std::mem::{MaybeUninit, size_of};

/// Moves the value into `out`; from here on it lives in those bytes, until [`take`] moves it out.
#[inline]
pub(crate) fn put<T: Send>(value: T, out: &mut impl Write) -> Result<(), Infallible> {
    let value = MaybeUninit::new(value);
    // SAFETY: the bytes of a live value, read as bytes; padding may be uninitialized, which a copy through a raw
    // byte slice tolerates in practice because it is only copied back as the same type.
    let bytes = unsafe { std::slice::from_raw_parts(value.as_ptr().cast::<u8>(), size_of::<T>()) };
    out.write_all(bytes).expect("lanes and vectors take every byte");
    Ok(())
}

/// Moves a value out of the bytes that [`put`] moved it into.
///
/// Each value must be taken once, as the type that it was put as; the crate's frames see to that: a chunk says
/// that it is by value, names its task, and is run or taken back, never both.
#[inline]
pub(crate) fn take<T: Send>(bytes: &[u8]) -> T {
    assert_eq!(bytes.len(), size_of::<T>(), "a value moved between threads keeps its size");
    // SAFETY: `put` wrote these bytes from a value of this type, which was forgotten there; see above.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}
