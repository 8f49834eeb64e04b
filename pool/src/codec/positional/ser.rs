//! Writes the positional formats. Values that could not be read back are refused here, where the field can be named.

use std::io::Write;
use std::marker::PhantomData;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::super::bulk;
use super::super::fault::{Fault, Kind, Result};
use super::Format;
use crate::sys::stack::Floor;

/// Appends the value's bytes.
#[inline]
pub(in crate::codec) fn encode<F: Format, T: Serialize + ?Sized>(
    value: &T,
    out: &mut impl Write,
) -> Result<()> {
    value.serialize(&mut Writer::<F, _> { out, floor: Floor::keeping_eighths(2), format: PhantomData })
}

struct Writer<'w, F, W> {
    out: &'w mut W,
    floor: Floor,
    format: PhantomData<F>,
}

impl<F: Format, W: Write> Writer<'_, F, W> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.out.write_all(bytes)?)
    }

    #[inline]
    fn put_len(&mut self, len: usize) -> Result<()> {
        F::put(len as u64, self.out)
    }

    #[inline]
    fn put_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.put_len(bytes.len())?;
        self.put(bytes)
    }

    #[inline]
    fn put_variant(&mut self, variant: u32) -> Result<()> {
        F::put(variant, self.out)
    }

    /// Goes one level down.
    #[inline]
    fn nest(&mut self) -> Result<()> {
        if self.floor.is_reached() { Err(Kind::Deep.into()) } else { Ok(()) }
    }
}

macro_rules! atoms {
    ($($serialize:ident $atom:ident),+) => {
        $(#[inline]
        fn $serialize(self, atom: $atom) -> Result<()> {
            F::put(atom, self.out)
        })+
    };
}

impl<'o, 'w, F: Format, W: Write> Serializer for &'o mut Writer<'w, F, W> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Counted<'o, 'w, F, W>;
    type SerializeMap = Counted<'o, 'w, F, W>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeStruct = Struct<'o, 'w, F, W>;
    type SerializeStructVariant = Struct<'o, 'w, F, W>;

    atoms!(
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128,
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_f32 f32, serialize_f64 f64, serialize_bool bool, serialize_char char
    );

    #[inline]
    fn serialize_str(self, text: &str) -> Result<()> {
        self.put_bytes(text.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<()> {
        self.put_bytes(bytes)
    }

    #[inline]
    fn serialize_none(self) -> Result<()> {
        self.put(&[0])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.nest()?;
        self.put(&[1])?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, variant: u32, _: &'static str) -> Result<()> {
        self.put_variant(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<()> {
        self.nest()?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        self.nest()?;
        self.put_variant(variant)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq> {
        self.nest()?;
        let said = len.ok_or(Kind::Unmeasured)?;
        self.put_len(said)?;
        Ok(Counted { writer: self, said, wrote: 0 })
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap> {
        self.serialize_seq(len)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self> {
        self.nest()?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Self> {
        self.serialize_tuple(len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Self> {
        self.put_variant(variant)?;
        self.serialize_tuple(len)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeStruct> {
        self.nest()?;
        Ok(Struct { writer: self, name })
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        variant: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant> {
        self.put_variant(variant)?;
        self.serialize_struct(name, len)
    }

    #[inline]
    fn collect_seq<I>(self, elements: I) -> Result<()>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        if F::IS_PLAIN
            && let Some((count, numbers)) = bulk::numbers_in(&elements)
        {
            self.put_len(count)?;
            return self.put(numbers);
        }
        let elements = elements.into_iter();
        let len = match elements.size_hint() {
            (least, Some(most)) if least == most => Some(most),
            _ => None,
        };
        let mut sequence = self.serialize_seq(len)?;
        for element in elements {
            sequence.serialize_element(&element)?;
        }
        SerializeSeq::end(sequence)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Elements or entries after their number, which is already written.
struct Counted<'o, 'w, F, W> {
    writer: &'o mut Writer<'w, F, W>,
    said: usize,
    wrote: usize,
}

impl<F: Format, W: Write> Counted<'_, '_, F, W> {
    #[inline]
    fn end(self) -> Result<()> {
        let Self { said, wrote, .. } = self;
        if said == wrote { Ok(()) } else { Err(Kind::Miscounted { said, wrote }.into()) }
    }
}

impl<F: Format, W: Write> SerializeSeq for Counted<'_, '_, F, W> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.wrote += 1;
        value.serialize(&mut *self.writer)
    }

    #[inline]
    fn end(self) -> Result<()> {
        self.end()
    }
}

impl<F: Format, W: Write> SerializeMap for Counted<'_, '_, F, W> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.wrote += 1;
        key.serialize(&mut *self.writer)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut *self.writer)
    }

    #[inline]
    fn end(self) -> Result<()> {
        self.end()
    }
}

macro_rules! fields {
    ($($of:ident $serialize:ident),+) => {
        $(impl<F: Format, W: Write> $of for &mut Writer<'_, F, W> {
            type Ok = ();
            type Error = Fault;

            #[inline]
            fn $serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                value.serialize(&mut **self)
            }

            #[inline]
            fn end(self) -> Result<()> {
                Ok(())
            }
        })+
    };
}

fields!(
    SerializeTuple serialize_element, SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field
);

/// A struct. None of its fields may be left out, because readers know them only by position.
struct Struct<'o, 'w, F, W> {
    writer: &'o mut Writer<'w, F, W>,
    name: &'static str,
}

macro_rules! named_fields {
    ($($of:ident),+) => {
        $(impl<F: Format, W: Write> $of for Struct<'_, '_, F, W> {
            type Ok = ();
            type Error = Fault;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<()> {
                value.serialize(&mut *self.writer)
            }

            #[cold]
            fn skip_field(&mut self, field: &'static str) -> Result<()> {
                Err(Kind::Skipped { of: self.name, field }.into())
            }

            #[inline]
            fn end(self) -> Result<()> {
                Ok(())
            }
        })+
    };
}

named_fields!(SerializeStruct, SerializeStructVariant);
