//! Formats in which a value's place says what it is: neither names nor kinds are written. bincode and postcard are of
//! this kind, and differ only in how they write numbers, which the crates themselves do here. The walk over a value is
//! ours: it writes and reads their bytes, to the last one, as the tests compare, but it is made for bytes that nobody
//! can trust, and refuses what these formats cannot carry.

use std::io::Write;

use bincode::config::{Configuration, Fixint, LittleEndian};
use bincode::error::DecodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Codec;
use super::fault::{Fault, Kind, Result};

mod de;
mod ser;

pub(super) use de::decode;
pub(super) use ser::encode;

/// How numbers, truth values and characters are written: as the format's own crate does it.
pub(super) trait Format {
    const CODEC: Codec;

    fn put<T: Serialize>(atom: T, out: &mut impl Write) -> Result<()>;
    fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T>;
}

/// So many bytes from the front, where they are.
#[inline]
fn take_slice<'b>(bytes: &mut &'b [u8], len: u64) -> Result<&'b [u8]> {
    let split = usize::try_from(len).ok().and_then(|len| bytes.split_at_checked(len));
    let (front, rest) = split.ok_or(Kind::TooMany { elements: len, bytes: bytes.len() })?;
    *bytes = rest;
    Ok(front)
}

/// bincode 2 with fixed-size integers.
pub(super) enum Bincode {}

const BINCODE: Configuration<LittleEndian, Fixint> = bincode::config::standard().with_fixed_int_encoding();

impl Format for Bincode {
    const CODEC: Codec = Codec::Bincode;

    #[inline]
    fn put<T: Serialize>(atom: T, out: &mut impl Write) -> Result<()> {
        match bincode::serde::encode_into_std_write(atom, out, BINCODE) {
            Ok(_) => Ok(()),
            Err(error) => Err(not_written(&error)),
        }
    }

    #[inline]
    fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T> {
        match bincode::serde::decode_from_slice(bytes, BINCODE) {
            Ok((atom, len)) => {
                *bytes = &bytes[len..];
                Ok(atom)
            }
            Err(DecodeError::UnexpectedEnd { .. }) => Err(Kind::Ends.into()),
            Err(_) => Err(invalid::<T>()),
        }
    }
}

/// postcard: integers in as few bytes as they need, signed ones folded so that small ones stay small.
pub(super) enum Postcard {}

impl Format for Postcard {
    const CODEC: Codec = Codec::Postcard;

    #[inline]
    fn put<T: Serialize>(atom: T, out: &mut impl Write) -> Result<()> {
        match postcard::to_io(&atom, out) {
            Ok(_) => Ok(()),
            Err(error) => Err(not_written(&error)),
        }
    }

    #[inline]
    fn take<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T> {
        match postcard::take_from_bytes(bytes) {
            Ok((atom, rest)) => {
                *bytes = rest;
                Ok(atom)
            }
            Err(postcard::Error::DeserializeUnexpectedEnd) => Err(Kind::Ends.into()),
            Err(_) => Err(invalid::<T>()),
        }
    }
}

#[cold]
fn not_written(error: &dyn std::error::Error) -> Fault {
    Kind::Said(error.to_string()).into()
}

#[cold]
fn invalid<T>() -> Fault {
    Kind::Invalid(std::any::type_name::<T>()).into()
}
