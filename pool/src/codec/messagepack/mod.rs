//! MessagePack, with the names of fields and variants. It describes itself, so types can ask what comes next. Where its
//! plain form would lose what Rust tells apart, two extensions keep it:
//!
//! - [`SOMES`]: an option in which there is nothing, such as `Some(None)` or `Some(())`. An option is written as its
//!   value, so without this it would be taken for `None`.
//! - [`BYTES`]: a slice or vector of bytes, which serde offers as a sequence of numbers. They lie there as they are, so
//!   that `&[u8]` can be borrowed; who asks for a sequence gets one.

mod de;
mod ser;

pub(super) use de::{MOST_DESCRIBED, decode};
pub(super) use ser::encode;

/// The kind of extension that is so many `Some` around nothing, as a number of four bytes.
const SOMES: i8 = 1;
/// The kind of extension that is a sequence of numbers of one byte.
const BYTES: i8 = 2;

/// By this name, other crates have what they wrap written as an extension.
const FOREIGN_EXTENSION: &str = "_ExtStruct";
