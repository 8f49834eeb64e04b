//! The codec: how arguments, results and shared values become bytes. All formats are behind one enum, so that swapping
//! one is a change of this file.
//!
//! The bytes to decode come from another process, which may have written anything. Their number bounds the time and the
//! memory that decoding takes, and the stack bounds its depth; beyond that there is an error. A value that a format
//! cannot give back as it was is an error when it is encoded.

#[cfg(not(any(feature = "bincode", feature = "postcard", feature = "messagepack")))]
compile_error!(
    "pool needs a codec: enable at least one of its features `bincode`, `postcard` and `messagepack`"
);

mod bulk;
mod fault;
#[cfg(feature = "messagepack")]
mod messagepack;
mod positional;
#[cfg(all(test, feature = "bincode", feature = "postcard", feature = "messagepack"))]
mod tests;

use std::any::{TypeId, type_name};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;

use serde::de::Expected;
use serde::{Deserialize, Serialize};

use fault::{Fault, Kind};

/// The most elements without bytes that one value may have, and the most memory that they may take, for no bytes bound
/// their number. Decoding so many takes some ten milliseconds.
const MOST_EMPTY: usize = 1 << 24;

/// The format that describes itself, as errors name it.
const MESSAGEPACK: &str = "MessagePack";
/// The format of records, as errors name it.
const RECORD: &str = "a record";

/// How arguments, results and shared values are encoded. Each codec is a feature of this crate, by its name in lower
/// case, and `bincode` is one by default. The default codec is the first of them that is there.
///
/// What comes back is what went out, or there is an error. Bincode and Postcard write fields by their place, without
/// names or kinds, so for types that ask for those the error names the attribute and the codec that can:
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
/// A value may be nested as deeply as the stack allows: decoding takes half of what the thread has left, encoding three
/// quarters, and a value that is deeper is an error. A chain of 20,000 boxes may be too deep for a thread of 2 MiB.
/// Values that MessagePack describes to a type that asks (untagged and tagged enums, `serde_json::Value`) have 256
/// levels at most, and an eighth of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// The format of bincode 2 with fixed-size integers: the fastest. Not self-describing.
    ///
    /// Vectors, slices and boxed slices of numbers are copied as a whole, each argument by itself, and the result.
    /// Those inside of other types go number by number; for bytes that is two to three times as slow, and
    /// [`#[serde(with = "serde_bytes")]`](https://docs.rs/serde_bytes) on the field saves it.
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
    /// The codecs of this build, the default first.
    const ALL: &[Self] = &[
        #[cfg(feature = "bincode")]
        Self::Bincode,
        #[cfg(feature = "postcard")]
        Self::Postcard,
        #[cfg(feature = "messagepack")]
        Self::MessagePack,
    ];

    /// Whether numbers are encoded as they lie in memory.
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

    /// The name in errors.
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

    /// The value's bytes as they lie in memory, if it is a number and they are its encoding.
    #[inline]
    pub(crate) fn plain<T: ?Sized>(self, value: &T) -> Option<&[u8]> {
        if self.is_plain() { bulk::number_in(value) } else { None }
    }

    /// The bytes of all values as they lie in memory, if each is [`plain`](Self::plain).
    #[inline]
    pub(crate) fn plain_all<T>(self, values: &[T]) -> Option<&[u8]> {
        if self.is_plain() { bulk::all_numbers(values) } else { None }
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
        encoded.map_err(|fault| fault.told(self.name(), type_name::<T>()))
    }

    /// Decodes a value that is exactly these bytes, and may borrow from them.
    #[inline]
    pub(crate) fn decode<'a, T: Deserialize<'a>>(self, bytes: &'a [u8]) -> Result<T, String> {
        let mut rest = bytes;
        let value = self.decode_next(&mut rest)?;
        if !rest.is_empty() {
            return Err(Fault::from(Kind::LeftOver(rest.len())).told(self.name(), type_name::<T>()));
        }
        Ok(value)
    }

    /// Decodes the first value of these bytes, and goes past it.
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
        let (value, rest) = decoded.map_err(|fault| fault.told(self.name(), type_name::<T>()))?;
        *bytes = rest;
        Ok(value)
    }
}

/// Appends the bytes of a record: a report between parent and worker, the same with every codec.
pub(crate) fn encode_record<T: Serialize + ?Sized>(record: &T, out: &mut impl Write) -> Result<(), String> {
    let encoded = positional::encode::<positional::Records, T>(record, out);
    encoded.map_err(|fault| fault.told(RECORD, type_name::<T>()))
}

/// Decodes a record that is exactly these bytes.
pub(crate) fn decode_record<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let decoded = match positional::decode::<positional::Records, T>(bytes) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(Kind::LeftOver(rest.len()).into()),
        Err(fault) => Err(fault),
    };
    decoded.map_err(|fault: Fault| fault.told(RECORD, type_name::<T>()))
}

/// Where the bytes of an item go.
pub trait ItemWriter: Write {
    /// The address of the next byte, as far as alignment matters, if `len` bytes follow.
    fn address_of_next(&self, len: usize) -> usize;
}

impl ItemWriter for Vec<u8> {
    fn address_of_next(&self, _: usize) -> usize {
        // Only the offset matters, because an allocation is aligned for every number.
        self.len()
    }
}

/// A number for a type, the same in every process of one build.
pub(crate) fn type_key(id: TypeId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// For the fuzzer: decodes a value as the parent does.
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

/// The description of the values that a type's visitor takes.
fn expected(visitor: &dyn Expected) -> String {
    visitor.to_string()
}

/// Whether a tuple's bytes are those of its parts, one after the other. If so, each part is encoded by itself, in the
/// fastest way for its type.
#[inline]
#[must_use]
pub fn joins_parts(codec: Codec) -> bool {
    codec.name() != MESSAGEPACK
}

/// An error if bytes are left over behind a value.
#[inline]
pub fn all_read(rest: &[u8]) -> Result<(), String> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(format!("{} bytes were left over: {}", rest.len(), fault::reads_other("the last argument")))
}
