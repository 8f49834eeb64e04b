//! MessagePack, with the names of fields and variants. It is self-describing: types can ask what comes next. Plain
//! MessagePack does not distinguish all values that Rust does, so there are two extensions:
//!
//! - [`SOMES`]: nested options around nothing, such as `Some(None)` or `Some(())`. An option is written as its value,
//!   so without the extension these would be read as `None`.
//! - [`BYTES`]: a slice or vector of bytes, which serde passes as a sequence of numbers. The bytes are written
//!   unchanged, so that `&[u8]` can be borrowed; a type that asks for a sequence gets one.

mod byte_buffer;
mod de;
mod ser;

pub(super) use de::{MOST_DESCRIBED, decode, decode_into};
pub(super) use ser::encode;

/// The extension for `Some`s around nothing: their number, in four bytes.
const SOMES: i8 = 1;
/// The extension for a sequence of bytes.
const BYTES: i8 = 2;

/// The name of the newtype with which other crates ask for an extension of their own.
const FOREIGN_EXTENSION: &str = "_ExtStruct";
