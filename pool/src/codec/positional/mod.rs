//! Formats that know a value only by its position and write neither names nor kinds. bincode and postcard are such
//! formats, and differ only in how they write numbers, which is left to their crates. The walk over a value is this
//! project's own. It writes and reads exactly the same bytes as those crates, as the tests check, but it is made for
//! untrusted bytes, and refuses values that these formats cannot carry. Records have a format of their own, which needs
//! no crate.

use std::io::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{Kind, Result};

#[cfg(feature = "bincode")]
mod bincode;
mod de;
#[cfg(feature = "postcard")]
mod postcard;
mod records;
mod ser;

#[cfg(feature = "bincode")]
pub(super) use bincode::Bincode;

pub(super) use de::decode;
#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(super) use de::decode_into;
#[cfg(feature = "postcard")]
pub(super) use postcard::Postcard;
pub(super) use records::Records;
pub(super) use ser::encode;

/// How a format writes numbers, booleans and characters.
pub(super) trait Format {
    /// Whether a number is encoded as its bytes in memory.
    const IS_PLAIN: bool;

    fn put<A: Atom>(atom: A, out: &mut impl Write) -> Result<()>;
    fn take<A: Atom>(bytes: &mut &[u8]) -> Result<A>;
}

/// A number, boolean or character.
pub(super) trait Atom: Serialize + DeserializeOwned {
    /// Whether formats with plain numbers write it as a record does.
    #[cfg_attr(not(feature = "bincode"), allow(dead_code, reason = "only bincode writes plain numbers"))]
    const IS_PLAIN: bool;

    /// Appends its bytes in a record.
    fn put_plain(self, out: &mut impl Write) -> Result<()>;
    /// Reads it from a record.
    fn take_plain(bytes: &mut &[u8]) -> Result<Self>;
}

/// Takes `len` bytes from the front, in place.
#[inline]
fn take_slice<'b>(bytes: &mut &'b [u8], len: u64) -> Result<&'b [u8]> {
    let split = usize::try_from(len).ok().and_then(|len| bytes.split_at_checked(len));
    let (front, rest) = split.ok_or(Kind::TooMany { elements: len, bytes: bytes.len() })?;
    *bytes = rest;
    Ok(front)
}

#[cfg(any(feature = "bincode", feature = "postcard"))]
#[cold]
fn not_written(error: &dyn std::error::Error) -> super::fault::Fault {
    Kind::Said(error.to_string()).into()
}

#[cfg(any(feature = "bincode", feature = "postcard"))]
#[cold]
fn invalid<T>() -> super::fault::Fault {
    Kind::Invalid(std::any::type_name::<T>()).into()
}
