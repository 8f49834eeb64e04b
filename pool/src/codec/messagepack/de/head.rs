//! The head of a value: its marker, and the number, length or bytes that belong to it.

use rmp::Marker;

use super::Reader;
use crate::codec::fault::{Kind, Result};
use crate::codec::messagepack::{BYTES, SOMES};

/// The head of a value, with its bytes if it has any.
pub(super) enum Head<'de> {
    Nothing,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    F32(f32),
    F64(f64),
    Str(&'de str),
    Bin(&'de [u8]),
    Array(usize),
    Map(usize),
    /// This many nested options around nothing.
    Somes(u32),
    /// Bytes that serde passed as a sequence of numbers.
    Bytes(&'de [u8]),
}

/// The first bytes, as an array.
#[inline]
pub(super) fn take<const BYTES: usize>(bytes: &mut &[u8]) -> Result<[u8; BYTES]> {
    let (front, rest) = bytes.split_first_chunk().ok_or(Kind::Ends)?;
    *bytes = rest;
    Ok(*front)
}

impl<'de> Reader<'de> {
    #[inline]
    fn take<const BYTES: usize>(&mut self) -> Result<[u8; BYTES]> {
        take(&mut self.rest)
    }

    #[inline]
    fn take_slice(&mut self, len: usize) -> Result<&'de [u8]> {
        let too_many = || Kind::TooMany { elements: len as u64, bytes: self.rest.len() };
        let (front, rest) = self.rest.split_at_checked(len).ok_or_else(too_many)?;
        self.rest = rest;
        Ok(front)
    }

    #[inline]
    fn take_u8(&mut self) -> Result<usize> {
        Ok(usize::from(u8::from_be_bytes(self.take()?)))
    }

    #[inline]
    fn take_u16(&mut self) -> Result<usize> {
        Ok(usize::from(u16::from_be_bytes(self.take()?)))
    }

    #[inline]
    fn take_u32(&mut self) -> Result<usize> {
        Ok(u32::from_be_bytes(self.take()?) as usize)
    }

    #[inline]
    pub(super) fn peek(&self) -> Result<Marker> {
        self.rest.first().map(|byte| Marker::from_u8(*byte)).ok_or(Kind::Ends.into())
    }

    #[inline]
    pub(super) fn head(&mut self) -> Result<Head<'de>> {
        let [marker] = self.take()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Head::Nothing,
            Marker::True => Head::Bool(true),
            Marker::False => Head::Bool(false),
            Marker::FixPos(number) => Head::Unsigned(number.into()),
            Marker::FixNeg(number) => Head::Signed(number.into()),
            Marker::U8 => Head::Unsigned(u8::from_be_bytes(self.take()?).into()),
            Marker::U16 => Head::Unsigned(u16::from_be_bytes(self.take()?).into()),
            Marker::U32 => Head::Unsigned(u32::from_be_bytes(self.take()?).into()),
            Marker::U64 => Head::Unsigned(u64::from_be_bytes(self.take()?)),
            Marker::I8 => Head::Signed(i8::from_be_bytes(self.take()?).into()),
            Marker::I16 => Head::Signed(i16::from_be_bytes(self.take()?).into()),
            Marker::I32 => Head::Signed(i32::from_be_bytes(self.take()?).into()),
            Marker::I64 => Head::Signed(i64::from_be_bytes(self.take()?)),
            Marker::F32 => Head::F32(f32::from_be_bytes(self.take()?)),
            Marker::F64 => Head::F64(f64::from_be_bytes(self.take()?)),
            Marker::FixStr(len) => self.text(len.into())?,
            Marker::Str8 => self.take_u8().and_then(|len| self.text(len))?,
            Marker::Str16 => self.take_u16().and_then(|len| self.text(len))?,
            Marker::Str32 => self.take_u32().and_then(|len| self.text(len))?,
            Marker::Bin8 => self.take_u8().and_then(|len| self.take_slice(len)).map(Head::Bin)?,
            Marker::Bin16 => self.take_u16().and_then(|len| self.take_slice(len)).map(Head::Bin)?,
            Marker::Bin32 => self.take_u32().and_then(|len| self.take_slice(len)).map(Head::Bin)?,
            Marker::FixArray(len) => Head::Array(len.into()),
            Marker::Array16 => Head::Array(self.take_u16()?),
            Marker::Array32 => Head::Array(self.take_u32()?),
            Marker::FixMap(len) => Head::Map(len.into()),
            Marker::Map16 => Head::Map(self.take_u16()?),
            Marker::Map32 => Head::Map(self.take_u32()?),
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.take_u8().and_then(|len| self.extension(len))?,
            Marker::Ext16 => self.take_u16().and_then(|len| self.extension(len))?,
            Marker::Ext32 => self.take_u32().and_then(|len| self.extension(len))?,
            Marker::Reserved => return Err(Kind::Invalid("marker").into()),
        })
    }

    #[inline]
    fn text(&mut self, len: usize) -> Result<Head<'de>> {
        let text = std::str::from_utf8(self.take_slice(len)?);
        text.map(Head::Str).map_err(|_| Kind::Invalid("text in UTF-8").into())
    }

    #[inline]
    fn extension(&mut self, len: usize) -> Result<Head<'de>> {
        let kind = i8::from_be_bytes(self.take()?);
        let bytes = self.take_slice(len)?;
        match (kind, <[u8; 4]>::try_from(bytes)) {
            (BYTES, _) => Ok(Head::Bytes(bytes)),
            (SOMES, Ok(somes)) => Ok(Head::Somes(u32::from_le_bytes(somes))),
            _ => Err(Kind::Invalid("extension").into()),
        }
    }
}
