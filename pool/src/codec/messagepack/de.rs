//! Reads MessagePack. Allocates no more than the bytes at hand can fill, and nests no deeper than the stack allows.

mod head;
mod somes;

use rmp::Marker;
use serde::Deserializer;
use serde::de::value::SeqDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::super::fault::{Fault, Kind, Result};
use super::{FOREIGN_EXTENSION, SOMES};
use crate::sys::stack::Floor;
use head::{Head, take};
use somes::Somes;

/// Decodes the value at the front of these bytes. Returns it, and the bytes after it.
pub(in crate::codec) fn decode<'de, T: serde::Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, &'de [u8])> {
    let mut reader = Reader::new(bytes);
    let value = T::deserialize(&mut reader)?;
    Ok((value, reader.rest))
}

/// Decodes the value at the front of these bytes into `place`, whose memory it may reuse. Returns the bytes after it.
pub(in crate::codec) fn decode_into<'de, T: serde::Deserialize<'de>>(
    bytes: &'de [u8],
    place: &mut T,
) -> Result<&'de [u8]> {
    let mut reader = Reader::new(bytes);
    T::deserialize_in_place(&mut reader, place)?;
    Ok(reader.rest)
}

/// How deeply a value of a type that asks what comes next may be nested. On a stack of 2 MiB that leaves 8 KiB for each
/// level, which the type's own code uses.
pub(in crate::codec) const MOST_DESCRIBED: u32 = 256;

struct Reader<'de> {
    rest: &'de [u8],
    /// Keeps half of the stack free, because the value must also be dropped, and may be formatted.
    floor: Floor,
    /// Keeps more free for types that ask what comes next: serde buffers the value, and then walks through it again.
    any_floor: Floor,
    any_left: u32,
    /// How many elements were announced to visitors, which may have allocated for them. Each takes at least a byte.
    promised: usize,
}

impl<'de> Reader<'de> {
    fn new(bytes: &'de [u8]) -> Self {
        let (floor, any_floor) = (Floor::keeping_eighths(4), Floor::keeping_eighths(7));
        Self { rest: bytes, floor, any_floor, any_left: MOST_DESCRIBED, promised: 0 }
    }

    /// Gives the next value to the visitor, whatever it is. `takes` says how the visitor takes bytes, `any` whether its
    /// type asked what comes next.
    #[inline]
    fn visit<V: Visitor<'de>>(&mut self, visitor: V, takes: Takes, any: bool) -> Result<V::Value> {
        match self.head()? {
            Head::Nothing => visitor.visit_unit(),
            Head::Bool(value) => visitor.visit_bool(value),
            Head::Unsigned(number) => visitor.visit_u64(number),
            Head::Signed(number) => visitor.visit_i64(number),
            Head::F32(number) => visitor.visit_f32(number),
            Head::F64(number) => visitor.visit_f64(number),
            Head::Str(text) => visitor.visit_borrowed_str(text),
            Head::Bin(bytes) if takes != Takes::Numbers => visitor.visit_borrowed_bytes(bytes),
            Head::Bytes(bytes) if takes == Takes::Bytes => visitor.visit_borrowed_bytes(bytes),
            Head::Bin(bytes) | Head::Bytes(bytes) => {
                let mut numbers = SeqDeserializer::<_, Fault>::new(bytes.iter().copied());
                let value = visitor.visit_seq(&mut numbers)?;
                numbers.end()?;
                Ok(value)
            }
            Head::Array(len) => self.counted(len, any, |values| visitor.visit_seq(values)),
            Head::Map(len) => self.counted(len, any, |entries| visitor.visit_map(entries)),
            Head::Somes(somes) => {
                if any && somes > self.any_left {
                    return Err(Kind::DeepDescribed.into());
                }
                let floor = if any { &self.any_floor } else { &self.floor };
                Somes { somes, floor: floor.clone() }.deserialize_any(visitor)
            }
        }
    }

    #[inline]
    fn visit_known<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        self.visit(visitor, Takes::Either, false)
    }

    /// Like [`visit_known`](Self::visit_known), with a fast path for numbers, which are frequent.
    #[inline]
    fn visit_number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let (marker, mut rest) = self.rest.split_first().ok_or(Kind::Ends)?;
        let value = match Marker::from_u8(*marker) {
            Marker::FixPos(number) => visitor.visit_u64(number.into()),
            Marker::FixNeg(number) => visitor.visit_i64(number.into()),
            Marker::U8 => visitor.visit_u64(u8::from_be_bytes(take(&mut rest)?).into()),
            Marker::U16 => visitor.visit_u64(u16::from_be_bytes(take(&mut rest)?).into()),
            Marker::U32 => visitor.visit_u64(u32::from_be_bytes(take(&mut rest)?).into()),
            Marker::U64 => visitor.visit_u64(u64::from_be_bytes(take(&mut rest)?)),
            Marker::F32 => visitor.visit_f32(f32::from_be_bytes(take(&mut rest)?)),
            Marker::F64 => visitor.visit_f64(f64::from_be_bytes(take(&mut rest)?)),
            _ => return self.visit_known(visitor),
        };
        self.rest = rest;
        value
    }

    /// The values of an array, or the entries of a map.
    #[inline]
    fn counted<V>(
        &mut self,
        len: usize,
        any: bool,
        visit: impl FnOnce(&mut Counted<'_, 'de>) -> Result<V>,
    ) -> Result<V> {
        if any && (self.any_left == 0 || self.any_floor.is_reached()) {
            return Err(Kind::DeepDescribed.into());
        }
        self.nest()?;
        let bytes = self.rest.len();
        if len > bytes {
            return Err(Kind::TooMany { elements: len as u64, bytes }.into());
        }
        let hint = len.min(bytes.saturating_sub(self.promised));
        self.promised += hint;
        self.any_left -= u32::from(any);
        let mut values = Counted { reader: self, left: len, hint };
        let value = visit(&mut values)?;
        if values.left > 0 {
            return Err(serde::de::Error::invalid_length(len, &"fewer elements"));
        }
        self.promised -= hint;
        self.any_left += u32::from(any);
        Ok(value)
    }

    #[inline]
    fn nest(&mut self) -> Result<()> {
        if self.floor.is_reached() { Err(Kind::Deep.into()) } else { Ok(()) }
    }
}

/// How a visitor takes bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// As a sequence of numbers.
    Numbers,
    Bytes,
    /// As they were offered.
    Either,
}

macro_rules! known {
    ($visit:ident: $($deserialize:ident),+) => {
        $(#[inline]
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.$visit(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    known!(visit_number: deserialize_u8, deserialize_u16, deserialize_u32, deserialize_u64, deserialize_i8);
    known!(visit_number: deserialize_i16, deserialize_i32, deserialize_i64, deserialize_f32, deserialize_f64);
    known!(visit_known: deserialize_bool, deserialize_char, deserialize_str, deserialize_string, deserialize_unit);
    known!(visit_known: deserialize_map, deserialize_identifier);

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit(visitor, Takes::Either, true)
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit(visitor, Takes::Bytes, false)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit(visitor, Takes::Bytes, false)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit(visitor, Takes::Bytes, false)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.visit(visitor, Takes::Numbers, false)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.visit(visitor, Takes::Numbers, false)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.visit(visitor, Takes::Numbers, false)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.visit(visitor, Takes::Numbers, false)
    }

    #[inline]
    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.head()? {
            Head::Bin(bytes) => visitor.visit_i128(i128::from_be_bytes(sixteen(bytes)?)),
            Head::Unsigned(number) => visitor.visit_i128(number.into()),
            Head::Signed(number) => visitor.visit_i128(number.into()),
            _ => Err(Kind::Invalid("number").into()),
        }
    }

    #[inline]
    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.head()? {
            Head::Bin(bytes) => visitor.visit_u128(u128::from_be_bytes(sixteen(bytes)?)),
            Head::Unsigned(number) => visitor.visit_u128(number.into()),
            _ => Err(Kind::Invalid("number").into()),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.nest()?;
        match self.peek()? {
            Marker::Null => {
                self.head()?;
                visitor.visit_none()
            }
            Marker::FixExt4 if self.rest.get(1) == Some(&(SOMES as u8)) => {
                let Head::Somes(somes) = self.head()? else { return Err(Kind::Invalid("option").into()) };
                Somes { somes, floor: self.floor.clone() }.deserialize_option(visitor)
            }
            _ => visitor.visit_some(self),
        }
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        if self.peek()? == Marker::FixArray(0) {
            self.head()?;
            return visitor.visit_unit();
        }
        self.visit(visitor, Takes::Either, false)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        if name == FOREIGN_EXTENSION {
            return Err(Kind::Said("extension types of MessagePack are not carried".into()).into());
        }
        self.nest()?;
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.nest()?;
        let has_value = match self.peek()? {
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => match self.head()? {
                Head::Map(1) => true,
                _ => return Err(Kind::Invalid("variant").into()),
            },
            _ => false,
        };
        visitor.visit_enum(Variant { reader: self, has_value })
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| Kind::Invalid("number").into())
}

/// Access to the values of an array, or the entries of a map. Each takes at least a byte.
struct Counted<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
    hint: usize,
}

impl<'de> SeqAccess<'de> for &mut Counted<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint.min(self.left))
    }
}

impl<'de> MapAccess<'de> for &mut Counted<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next_element_seed(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(&mut *self.reader)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint.min(self.left))
    }
}

/// A variant: its name, or a map from its name to its value.
struct Variant<'r, 'de> {
    reader: &'r mut Reader<'de>,
    has_value: bool,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        Ok((seed.deserialize(&mut *self.reader)?, self))
    }
}

impl<'de> Variant<'_, 'de> {
    /// The reader, at the variant's value.
    #[inline]
    fn value(&mut self) -> Result<&mut Reader<'de>> {
        if self.has_value { Ok(self.reader) } else { Err(Kind::Invalid("variant without a value").into()) }
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<()> {
        if self.has_value { serde::Deserialize::deserialize(self.reader) } else { Ok(()) }
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(self.value()?)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(mut self, len: usize, visitor: V) -> Result<V::Value> {
        self.value()?.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        mut self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.value()?.deserialize_struct("", fields, visitor)
    }
}
