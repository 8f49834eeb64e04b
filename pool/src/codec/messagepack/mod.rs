//! MessagePack, with the names of fields and variants. It is self-describing: types can ask what comes next. Its plain
//! form does not tell apart everything that Rust does, so there are two extensions:
//!
//! - [`SOMES`]: an option in which there is nothing, such as `Some(None)` or `Some(())`. An option is written as its
//!   value, so this one would be read as `None`.
//! - [`BYTES`]: a slice or vector of bytes, which serde passes as a sequence of numbers. The bytes are written as they
//!   are, so that `&[u8]` can be borrowed; a type that asks for a sequence gets one.

mod de;
mod ser;

pub(super) use de::{MOST_DESCRIBED, decode};
pub(super) use ser::encode;

/// The extension for a number of `Some`s around nothing: the number, in four bytes.
const SOMES: i8 = 1;
/// The extension for a sequence of bytes.
const BYTES: i8 = 2;

/// The name of the newtype by which other crates ask for an extension of their own.
const FOREIGN_EXTENSION: &str = "_ExtStruct";
