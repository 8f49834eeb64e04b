//! Reads the positional formats. Allocates no more than the bytes at hand can fill, nests no deeper than the stack
//! allows, and trusts no count.

use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::super::fault::{Fault, Kind, Result};
use super::super::{MOST_EMPTY, expected};
use super::{Format, take_slice};
use crate::sys::stack::Floor;

/// Decodes the value at the front of these bytes. Returns it, and the bytes after it.
#[inline]
pub(in crate::codec) fn decode<'de, F: Format, T: serde::Deserialize<'de>>(
    bytes: &'de [u8],
) -> Result<(T, &'de [u8])> {
    let mut reader = Reader::<F>::new(bytes);
    let value = T::deserialize(&mut reader)?;
    Ok((value, reader.rest))
}

/// Decodes the value at the front of these bytes into `place`, whose memory it may reuse. Returns the bytes after it.
#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(in crate::codec) fn decode_into<'de, F: Format, T: serde::Deserialize<'de>>(
    bytes: &'de [u8],
    place: &mut T,
) -> Result<&'de [u8]> {
    let mut reader = Reader::<F>::new(bytes);
    T::deserialize_in_place(&mut reader, place)?;
    Ok(reader.rest)
}

struct Reader<'de, F> {
    rest: &'de [u8],
    /// Keeps half of the stack free, because the value must also be dropped, and may be formatted.
    floor: Floor,
    /// The memory that elements without bytes have taken so far.
    empty: usize,
    /// How many elements were announced to visitors, which may have allocated for them. Each takes at least a byte, or
    /// counts as [`empty`](Self::empty).
    promised: usize,
    format: PhantomData<F>,
}

impl<'de, F: Format> Reader<'de, F> {
    #[inline]
    fn new(bytes: &'de [u8]) -> Self {
        Self { rest: bytes, floor: Floor::keeping_eighths(4), empty: 0, promised: 0, format: PhantomData }
    }

    #[inline]
    fn take_len(&mut self) -> Result<u64> {
        F::take(&mut self.rest)
    }

    #[inline]
    fn take_bytes(&mut self) -> Result<&'de [u8]> {
        let len = self.take_len()?;
        take_slice(&mut self.rest, len)
    }

    #[inline]
    fn take_str(&mut self) -> Result<&'de str> {
        std::str::from_utf8(self.take_bytes()?).map_err(|_| Kind::Invalid("text in UTF-8").into())
    }

    /// Goes one level down.
    #[inline]
    fn nest(&mut self) -> Result<()> {
        if self.floor.is_reached() { Err(Kind::Deep.into()) } else { Ok(()) }
    }

    /// Reads a count, and gives access to that many elements.
    #[inline]
    fn counted<V>(&mut self, visit: impl FnOnce(Counted<'_, 'de, F>) -> Result<V>) -> Result<V> {
        self.nest()?;
        let len = self.take_len()?;
        let bytes = self.rest.len();
        let left = match usize::try_from(len) {
            Ok(left) if left <= bytes || left - bytes <= MOST_EMPTY => left,
            _ => return Err(Kind::TooMany { elements: len, bytes }.into()),
        };
        let hint = left.min(bytes.saturating_sub(self.promised));
        self.promised += hint;
        let value = visit(Counted { reader: self, left, hint })?;
        self.promised -= hint;
        Ok(value)
    }

    /// Counts an element of this size that was decoded from no bytes.
    #[cold]
    fn count_empty(&mut self, size: usize) -> Result<()> {
        self.empty = self.empty.saturating_add(size.max(1));
        if self.empty > MOST_EMPTY { Err(Kind::TooManyEmpty.into()) } else { Ok(()) }
    }
}

macro_rules! atoms {
    ($($deserialize:ident $visit:ident),+) => {
        $(#[inline]
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(F::take(&mut self.rest)?)
        })+
    };
}

impl<'de, F: Format> Deserializer<'de> for &mut Reader<'de, F> {
    type Error = Fault;

    atoms!(
        deserialize_u8 visit_u8, deserialize_u16 visit_u16, deserialize_u32 visit_u32, deserialize_u64 visit_u64,
        deserialize_u128 visit_u128, deserialize_i8 visit_i8, deserialize_i16 visit_i16, deserialize_i32 visit_i32,
        deserialize_i64 visit_i64, deserialize_i128 visit_i128, deserialize_f32 visit_f32, deserialize_f64 visit_f64,
        deserialize_bool visit_bool, deserialize_char visit_char
    );

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.take_str()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.take_str()?)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_bytes(self.take_bytes()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_bytes(self.take_bytes()?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.nest()?;
        if F::take::<bool>(&mut self.rest)? { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.nest()?;
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.counted(|elements| visitor.visit_seq(elements))
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.counted(|entries| visitor.visit_map(entries))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.nest()?;
        visitor.visit_seq(Fields { reader: self, left: len })
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.nest()?;
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let made = std::any::type_name::<V::Value>();
        Err(Kind::Undescribed { expected: expected(&visitor), made }.into())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        Err(Kind::Unnamed.into())
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de, F: Format> EnumAccess<'de> for &mut Reader<'de, F> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        let variant: u32 = F::take(&mut self.rest)?;
        Ok((seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(variant))?, self))
    }
}

impl<'de, F: Format> VariantAccess<'de> for &mut Reader<'de, F> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

/// Access to the fields of a tuple or struct, whose number comes from the type.
struct Fields<'r, 'de, F> {
    reader: &'r mut Reader<'de, F>,
    left: usize,
}

impl<'de, F: Format> SeqAccess<'de> for Fields<'_, 'de, F> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// Access to elements or entries, whose number comes from the bytes.
struct Counted<'r, 'de, F> {
    reader: &'r mut Reader<'de, F>,
    left: usize,
    hint: usize,
}

impl<'de, F: Format> Counted<'_, 'de, F> {
    /// Reads the next one with `read`.
    #[inline]
    fn next<V>(&mut self, read: impl FnOnce(&mut Reader<'de, F>) -> Result<V>) -> Result<Option<V>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let before = self.reader.rest.len();
        let value = read(self.reader)?;
        if self.reader.rest.len() == before {
            self.reader.count_empty(size_of::<V>())?;
        }
        Ok(Some(value))
    }
}

impl<'de, F: Format> SeqAccess<'de> for Counted<'_, 'de, F> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next(|reader| seed.deserialize(reader))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint.min(self.left))
    }
}

impl<'de, F: Format> MapAccess<'de> for Counted<'_, 'de, F> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next(|reader| seed.deserialize(reader))
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
