//! The codec: how arguments, results and shared values become bytes. All formats are behind one enum, so that a new one
//! changes only this file.
//!
//! The bytes to decode come from another process, which may have written anything. Their number bounds the time and
//! memory that decoding takes, and the stack bounds its depth; anything beyond is an error. A value that a format
//! cannot give back unchanged is refused when it is encoded.

#[cfg(not(any(feature = "bincode", feature = "postcard", feature = "messagepack")))]
compile_error!(
    "pool needs a codec: enable at least one of its features `bincode`, `postcard` and `messagepack`"
);

mod bulk;
mod fault;
mod grow;
#[cfg(feature = "messagepack")]
mod messagepack;
mod positional;
#[cfg(all(test, feature = "bincode", feature = "postcard", feature = "messagepack"))]
mod tests;

use std::any::{TypeId, type_name};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;

use serde::de::{DeserializeOwned, Expected};
use serde::{Deserialize, Serialize};

use fault::{Fault, Kind};
pub(crate) use grow::try_grow;

/// The most elements without bytes that one value may have, and the most memory, in bytes, that they may take. Their
/// number needs this bound because no bytes limit it. Decoding this many takes some ten milliseconds.
const MOST_EMPTY: usize = 1 << 24;

/// The name of the self-describing format in errors.
const MESSAGEPACK: &str = "MessagePack";
/// The name of the format of records in errors.
const RECORD: &str = "a record";

/// How arguments, results and shared values are encoded. Each codec is a feature of this crate, its name in lower case,
/// and `bincode` is on by default. The default codec is the first one, in the order below, that is enabled.
///
/// A value comes back unchanged, or there is an error. Bincode and Postcard write fields by position, without names or
/// kinds; for types that need those, the error names the attribute and a codec that supports it:
///
/// | | `Bincode`, `Postcard` | `MessagePack` |
/// |---|---|---|
/// | `#[serde(skip_serializing_if)]`, where a field is left out | an error | yes |
/// | only one of `#[serde(skip_serializing)]` and `skip_deserializing` | an error, unless bytes fit by chance | yes |
/// | `#[serde(flatten)]`, `#[serde(untagged)]`, `#[serde(tag = ..)]`, `serde_json::Value` | an error | yes |
/// | `Some(None)`, `Some(())` and the like | yes | yes |
/// | `&[u8]`, alone or inside of another type | yes | yes |
/// | more than 2^32 elements | yes | an error |
/// | `Vec<()>` and the like, up to 16 million elements | yes | yes |
///
/// A value may be nested as deeply as the stack allows: decoding uses at most half of what the thread has left,
/// encoding three quarters, and a deeper value is an error. A chain of 20,000 boxes may be too deep for a thread of 2
/// MiB. With MessagePack, values of types that ask what comes next (untagged and tagged enums, `serde_json::Value`)
/// have at most 256 levels, and an eighth of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// The format of bincode 2 with fixed-size integers: the fastest. Not self-describing.
    ///
    /// A vector, slice or boxed slice of numbers that is itself an argument or the result is copied as a whole. Inside
    /// another type it goes number by number; for bytes that takes two to three times as long, which [`#[serde(with =
    /// "serde_bytes")]`](https://docs.rs/serde_bytes) on the field avoids.
    #[cfg(feature = "bincode")]
    #[cfg_attr(docsrs, doc(cfg(feature = "bincode")))]
    Bincode,
    /// The format of postcard: the smallest. Not self-describing.
    #[cfg(feature = "postcard")]
    #[cfg_attr(docsrs, doc(cfg(feature = "postcard")))]
    Postcard,
    /// MessagePack with named fields: self-describing, so that `serde_json::Value`, `#[serde(untagged)]` and
    /// `#[serde(flatten)]` work.
    #[cfg(feature = "messagepack")]
    #[cfg_attr(docsrs, doc(cfg(feature = "messagepack")))]
    MessagePack,
}

impl Default for Codec {
    fn default() -> Self {
        Self::ALL[0]
    }
}

impl Codec {
    /// The codecs of this build, the default one first.
    const ALL: &[Self] = &[
        #[cfg(feature = "bincode")]
        Self::Bincode,
        #[cfg(feature = "postcard")]
        Self::Postcard,
        #[cfg(feature = "messagepack")]
        Self::MessagePack,
    ];

    /// Whether a number is encoded as its bytes in memory.
    #[inline]
    const fn is_plain(self) -> bool {
        match self {
            #[cfg(feature = "bincode")]
            Self::Bincode => true,
            #[cfg(feature = "postcard")]
            Self::Postcard => false,
            #[cfg(feature = "messagepack")]
            Self::MessagePack => false,
        }
    }

    /// Its name in errors.
    const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "bincode")]
            Self::Bincode => "Bincode",
            #[cfg(feature = "postcard")]
            Self::Postcard => "Postcard",
            #[cfg(feature = "messagepack")]
            Self::MessagePack => MESSAGEPACK,
        }
    }

    /// The value's bytes in memory, if it is a number and they are its encoding.
    #[inline]
    pub(crate) fn plain<T: ?Sized>(self, value: &T) -> Option<&[u8]> {
        if self.is_plain() { bulk::number_in(value) } else { None }
    }

    /// The bytes of all values in memory, if each value is [`plain`](Self::plain).
    #[inline]
    pub(crate) fn plain_all<T>(self, values: &[T]) -> Option<&[u8]> {
        if self.is_plain() { bulk::all_numbers(values) } else { None }
    }

    /// Decodes values that lie one every `stride` bytes, each `len` bytes long, and appends them, if each is
    /// [`plain`](Self::plain) and that long. Returns whether they are.
    #[inline]
    pub(crate) fn decode_plain<T>(self, bytes: &[u8], at: (usize, usize), values: &mut Vec<T>) -> bool {
        self.is_plain() && bulk::numbers_at(bytes, at, values).is_some()
    }

    /// How many bytes the value's encoding has, if it is a number, a text, or a `Vec` or slice of numbers, and copied
    /// as it is: then no code of the user's runs to encode it.
    #[inline]
    pub(crate) fn plain_len<T: ?Sized>(self, value: &T) -> Option<usize> {
        if !self.is_plain() {
            return None;
        }
        let number = bulk::number_in(value).map(<[u8]>::len);
        let counted = || {
            bulk::numbers_in(value).map(|(_, numbers)| numbers).or(bulk::text_in(value).map(str::as_bytes))
        };
        number.or_else(|| counted().map(|bytes| size_of::<u64>() + bytes.len()))
    }

    /// Appends the value's bytes to `out`.
    #[inline]
    pub(crate) fn encode<T: Serialize + ?Sized>(self, value: &T, out: &mut impl Write) -> Result<(), String> {
        if let Some(number) = self.plain(value) {
            return out.write_all(number).map_err(|error| error.to_string());
        }
        self.encode_any(value, out)
    }

    fn encode_any<T: Serialize + ?Sized>(self, value: &T, out: &mut impl Write) -> Result<(), String> {
        if self.is_plain()
            && let Some((count, numbers)) = bulk::numbers_in(value)
        {
            let written = out.write_all(&(count as u64).to_le_bytes()).and_then(|()| out.write_all(numbers));
            return written.map_err(|error| error.to_string());
        }
        let encoded: fault::Result<()> = match self {
            #[cfg(feature = "bincode")]
            Self::Bincode => positional::encode::<positional::Bincode, T>(value, out),
            #[cfg(feature = "postcard")]
            Self::Postcard => positional::encode::<positional::Postcard, T>(value, out),
            #[cfg(feature = "messagepack")]
            Self::MessagePack => messagepack::encode(value, out),
        };
        encoded.map_err(|fault| fault.message(self.name(), type_name::<T>()))
    }

    /// Decodes a value from exactly these bytes. It may borrow from them.
    #[inline]
    pub(crate) fn decode<'a, T: Deserialize<'a>>(self, bytes: &'a [u8]) -> Result<T, String> {
        let mut rest = bytes;
        let value = self.decode_next(&mut rest)?;
        self.expect_end::<T>(rest)?;
        Ok(value)
    }

    /// An error if bytes are left over after a value.
    #[inline]
    fn expect_end<T>(self, rest: &[u8]) -> Result<(), String> {
        if rest.is_empty() {
            return Ok(());
        }
        Err(Fault::from(Kind::LeftOver(rest.len())).message(self.name(), type_name::<T>()))
    }

    /// Decodes a value from the front of these bytes, and moves past it.
    #[inline]
    pub(crate) fn decode_next<'a, T: Deserialize<'a>>(self, bytes: &mut &'a [u8]) -> Result<T, String> {
        if self.is_plain()
            && let Some(number) = bulk::number_from(bytes)
        {
            let (number, rest) = number?;
            *bytes = rest;
            return Ok(number);
        }
        self.decode_any(bytes)
    }

    fn decode_any<'a, T: Deserialize<'a>>(self, bytes: &mut &'a [u8]) -> Result<T, String> {
        if self.is_plain()
            && let Some(decoded) = bulk::numbers_from(bytes)
        {
            let (value, rest) = decoded?;
            *bytes = rest;
            return Ok(value);
        }
        let decoded: fault::Result<(T, &[u8])> = match self {
            #[cfg(feature = "bincode")]
            Self::Bincode => positional::decode::<positional::Bincode, T>(bytes),
            #[cfg(feature = "postcard")]
            Self::Postcard => positional::decode::<positional::Postcard, T>(bytes),
            #[cfg(feature = "messagepack")]
            Self::MessagePack => messagepack::decode(bytes),
        };
        let (value, rest) = decoded.map_err(|fault| fault.message(self.name(), type_name::<T>()))?;
        *bytes = rest;
        Ok(value)
    }

    /// Decodes a value from exactly these bytes into `place`, and reuses the memory that is there if its type can.
    /// After an error, any value of the type may be there.
    #[inline]
    pub(crate) fn decode_into<T: DeserializeOwned>(self, bytes: &[u8], place: &mut T) -> Result<(), String> {
        if self.is_plain()
            && let Some(number) = bulk::number_from(bytes)
        {
            let (number, rest) = number?;
            *place = number;
            return self.expect_end::<T>(rest);
        }
        self.decode_any_into(bytes, place)
    }

    fn decode_any_into<T: DeserializeOwned>(self, bytes: &[u8], place: &mut T) -> Result<(), String> {
        if self.is_plain()
            && let Some(rest) = bulk::numbers_into(bytes, place)
        {
            return self.expect_end::<T>(rest?);
        }
        let decoded: fault::Result<&[u8]> = match self {
            #[cfg(feature = "bincode")]
            Self::Bincode => positional::decode_into::<positional::Bincode, T>(bytes, place),
            #[cfg(feature = "postcard")]
            Self::Postcard => positional::decode_into::<positional::Postcard, T>(bytes, place),
            #[cfg(feature = "messagepack")]
            Self::MessagePack => messagepack::decode_into(bytes, place),
        };
        self.expect_end::<T>(decoded.map_err(|fault| fault.message(self.name(), type_name::<T>()))?)
    }
}

/// Appends the bytes of a record: a report between parent and worker, encoded the same way whatever the codec.
pub(crate) fn encode_record<T: Serialize + ?Sized>(record: &T, out: &mut impl Write) -> Result<(), String> {
    let encoded = positional::encode::<positional::Records, T>(record, out);
    encoded.map_err(|fault| fault.message(RECORD, type_name::<T>()))
}

/// Decodes a record from exactly these bytes.
pub(crate) fn decode_record<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let decoded = match positional::decode::<positional::Records, T>(bytes) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(Kind::LeftOver(rest.len()).into()),
        Err(fault) => Err(fault),
    };
    decoded.map_err(|fault: Fault| fault.message(RECORD, type_name::<T>()))
}

/// The destination of an item's bytes.
pub trait ItemWriter: Write {
    /// The address of the next byte, given that `len` bytes follow. Only its alignment is meaningful.
    fn address_of_next(&self, len: usize) -> usize;
}

impl<W: ItemWriter + ?Sized> ItemWriter for &mut W {
    fn address_of_next(&self, len: usize) -> usize {
        (**self).address_of_next(len)
    }
}

impl ItemWriter for Vec<u8> {
    fn address_of_next(&self, _: usize) -> usize {
        // The offset will do, because an allocation is aligned for every number.
        self.len()
    }
}

/// A number for a type, the same in every process of a build.
pub(crate) fn type_key(id: TypeId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// For the fuzzer: decodes a value like the parent.
#[cfg(fuzzing)]
pub fn decode_any<'a, T: Deserialize<'a>>(codec: Codec, bytes: &'a [u8]) -> Result<T, String> {
    codec.decode(bytes)
}

/// For the fuzzer: encodes one.
#[cfg(fuzzing)]
pub fn encode_any<T: Serialize>(codec: Codec, value: &T) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes)?;
    Ok(bytes)
}

/// The visitor's description of the values that it takes.
fn expected(visitor: &dyn Expected) -> String {
    visitor.to_string()
}

/// An error if bytes are left over after a value.
#[inline]
pub fn all_read(rest: &[u8]) -> Result<(), String> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(format!("{} bytes were left over: {}", rest.len(), fault::reads_other("the last argument")))
}
