//! Formats in which a value's place says what it is: neither names nor kinds are written. bincode and postcard are of
//! this kind, and differ only in how they write numbers. This writes and reads their bytes, to the last one, as the
//! tests compare; but it is made for bytes that nobody can trust, and refuses what these formats cannot carry.

use std::io::{self, Write};

use super::Codec;
use super::fault::{Kind, Result};

mod de;
mod ser;

pub(super) use de::decode;
pub(super) use ser::encode;

/// How numbers are written.
pub(super) trait Format {
    const CODEC: Codec;

    fn put_u16(number: u16, out: &mut impl Write) -> io::Result<()>;
    fn put_u32(number: u32, out: &mut impl Write) -> io::Result<()>;
    fn put_u64(number: u64, out: &mut impl Write) -> io::Result<()>;
    fn put_u128(number: u128, out: &mut impl Write) -> io::Result<()>;
    fn put_i16(number: i16, out: &mut impl Write) -> io::Result<()>;
    fn put_i32(number: i32, out: &mut impl Write) -> io::Result<()>;
    fn put_i64(number: i64, out: &mut impl Write) -> io::Result<()>;
    fn put_i128(number: i128, out: &mut impl Write) -> io::Result<()>;
    fn put_char(character: char, out: &mut impl Write) -> io::Result<()>;

    fn take_u16(bytes: &mut &[u8]) -> Result<u16>;
    fn take_u32(bytes: &mut &[u8]) -> Result<u32>;
    fn take_u64(bytes: &mut &[u8]) -> Result<u64>;
    fn take_u128(bytes: &mut &[u8]) -> Result<u128>;
    fn take_i16(bytes: &mut &[u8]) -> Result<i16>;
    fn take_i32(bytes: &mut &[u8]) -> Result<i32>;
    fn take_i64(bytes: &mut &[u8]) -> Result<i64>;
    fn take_i128(bytes: &mut &[u8]) -> Result<i128>;
    fn take_char(bytes: &mut &[u8]) -> Result<char>;
}

/// So many bytes from the front.
#[inline]
fn take<const BYTES: usize>(bytes: &mut &[u8]) -> Result<[u8; BYTES]> {
    let (front, rest) = bytes.split_first_chunk().ok_or(Kind::Ends)?;
    *bytes = rest;
    Ok(*front)
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

macro_rules! fixed {
    ($($put:ident $take:ident $number:ty),+) => {
        $(
            #[inline]
            fn $put(number: $number, out: &mut impl Write) -> io::Result<()> {
                out.write_all(&number.to_le_bytes())
            }
            #[inline]
            fn $take(bytes: &mut &[u8]) -> Result<$number> {
                Ok(<$number>::from_le_bytes(take(bytes)?))
            }
        )+
    };
}

impl Format for Bincode {
    const CODEC: Codec = Codec::Bincode;

    fixed!(put_u16 take_u16 u16, put_u32 take_u32 u32, put_u64 take_u64 u64, put_u128 take_u128 u128);
    fixed!(put_i16 take_i16 i16, put_i32 take_i32 i32, put_i64 take_i64 i64, put_i128 take_i128 i128);

    #[inline]
    fn put_char(character: char, out: &mut impl Write) -> io::Result<()> {
        out.write_all(character.encode_utf8(&mut [0; 4]).as_bytes())
    }

    #[inline]
    fn take_char(bytes: &mut &[u8]) -> Result<char> {
        let len = match bytes.first().ok_or(Kind::Ends)? {
            0..0x80 => 1,
            0x80..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
        };
        if bytes.len() < len {
            return Err(Kind::Ends.into());
        }
        first_char(take_slice(bytes, len as u64)?)
    }
}

/// The character that these bytes begin with, all of them text.
#[inline]
fn first_char(bytes: &[u8]) -> Result<char> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.chars().next().ok_or(Kind::Invalid("character").into())
}

/// postcard: integers in as few bytes as they need, signed ones folded so that small ones stay small.
pub(super) enum Postcard {}

macro_rules! variable {
    ($($put:ident $take:ident $number:ident, $put_signed:ident $take_signed:ident $signed:ident);+) => {
        $(
            #[inline]
            fn $put(mut number: $number, out: &mut impl Write) -> io::Result<()> {
                let mut bytes = [0; $number::BITS.div_ceil(7) as usize];
                let mut len = 0;
                while number >= 0x80 {
                    bytes[len] = number as u8 | 0x80;
                    number >>= 7;
                    len += 1;
                }
                bytes[len] = number as u8;
                out.write_all(&bytes[..=len])
            }
            #[inline]
            fn $take(bytes: &mut &[u8]) -> Result<$number> {
                let mut number = 0;
                for place in (0..$number::BITS).step_by(7) {
                    let [byte] = take(bytes)?;
                    let bits = $number::from(byte & 0x7f);
                    if bits << place >> place != bits {
                        break;
                    }
                    number |= bits << place;
                    if byte < 0x80 {
                        return Ok(number);
                    }
                }
                Err(Kind::Invalid("number").into())
            }
            #[inline]
            fn $put_signed(number: $signed, out: &mut impl Write) -> io::Result<()> {
                Self::$put((number << 1 ^ number >> ($signed::BITS - 1)) as $number, out)
            }
            #[inline]
            fn $take_signed(bytes: &mut &[u8]) -> Result<$signed> {
                let number = Self::$take(bytes)?;
                Ok((number >> 1) as $signed ^ -((number & 1) as $signed))
            }
        )+
    };
}

impl Format for Postcard {
    const CODEC: Codec = Codec::Postcard;

    variable! {
        put_u16 take_u16 u16, put_i16 take_i16 i16;
        put_u32 take_u32 u32, put_i32 take_i32 i32;
        put_u64 take_u64 u64, put_i64 take_i64 i64;
        put_u128 take_u128 u128, put_i128 take_i128 i128
    }

    #[inline]
    fn put_char(character: char, out: &mut impl Write) -> io::Result<()> {
        let mut bytes = [0; 4];
        let bytes = character.encode_utf8(&mut bytes).as_bytes();
        out.write_all(&[bytes.len() as u8])?;
        out.write_all(bytes)
    }

    #[inline]
    fn take_char(bytes: &mut &[u8]) -> Result<char> {
        match Self::take_u64(bytes)? {
            len @ ..=4 => first_char(take_slice(bytes, len)?),
            _ => Err(Kind::Invalid("character").into()),
        }
    }
}
