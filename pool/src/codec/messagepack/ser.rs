//! Writing.

use std::io::Write;

use rmp::encode;
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::super::bulk;
use super::super::fault::{Fault, Kind, Result};
use super::byte_buffer::ByteBuffer;
use super::{BYTES, FOREIGN_EXTENSION, SOMES};
use crate::sys::stack::Floor;

/// Appends the value's bytes.
pub(in crate::codec) fn encode<T: Serialize + ?Sized>(value: &T, out: &mut impl Write) -> Result<()> {
    value.serialize(&mut Writer { out, floor: Floor::keeping_eighths(2), somes: 0 })
}

struct Writer<'w, W> {
    out: &'w mut W,
    floor: Floor,
    /// The number of `Some`s around the value that is written next.
    somes: u32,
}

impl<W: Write> Writer<'_, W> {
    /// The output for a value that is not nothing. The `Some`s around it are not written.
    #[inline]
    fn out(&mut self) -> &mut W {
        self.somes = 0;
        self.out
    }

    #[inline]
    fn put_nothing(&mut self) -> Result<()> {
        let somes = std::mem::take(&mut self.somes);
        if somes == 0 {
            return Ok(encode::write_nil(self.out)?);
        }
        encode::write_ext_meta(self.out, size_of::<u32>() as u32, SOMES).map_err(std::io::Error::from)?;
        Ok(self.out.write_all(&somes.to_le_bytes())?)
    }

    #[inline]
    fn put_map_head(&mut self, len: usize) -> Result<()> {
        let len = short(len)?;
        encode::write_map_len(self.out(), len).map_err(std::io::Error::from)?;
        Ok(())
    }

    #[inline]
    fn put_array_head(&mut self, len: usize) -> Result<()> {
        let len = short(len)?;
        encode::write_array_len(self.out(), len).map_err(std::io::Error::from)?;
        Ok(())
    }

    #[inline]
    fn put_variant(&mut self, variant: &'static str) -> Result<()> {
        self.put_map_head(1)?;
        Ok(encode::write_str(self.out(), variant).map_err(std::io::Error::from)?)
    }

    /// Goes one level down.
    #[inline]
    fn nest(&mut self) -> Result<()> {
        if self.floor.is_reached() { Err(Kind::Deep.into()) } else { Ok(()) }
    }
}

/// A length in the format's four bytes.
fn short(len: usize) -> Result<u32> {
    u32::try_from(len)
        .map_err(|_| Kind::Said(format!("MessagePack has no lengths beyond {}: {len}", u32::MAX)).into())
}

macro_rules! numbers {
    ($($serialize:ident $number:ident $write:ident $wide:ident),+) => {
        $(#[inline]
        fn $serialize(self, number: $number) -> Result<()> {
            encode::$write(self.out(), $wide::from(number)).map_err(std::io::Error::from)?;
            Ok(())
        })+
    };
}

impl<'o, 'w, W: Write> Serializer for &'o mut Writer<'w, W> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Compound<'o, 'w, W>;
    type SerializeMap = Compound<'o, 'w, W>;
    type SerializeTuple = Fields<'o, 'w, W>;
    type SerializeTupleStruct = Fields<'o, 'w, W>;
    type SerializeTupleVariant = Fields<'o, 'w, W>;
    type SerializeStruct = Fields<'o, 'w, W>;
    type SerializeStructVariant = Fields<'o, 'w, W>;

    numbers!(
        serialize_u8 u8 write_uint u64, serialize_u16 u16 write_uint u64,
        serialize_u32 u32 write_uint u64, serialize_u64 u64 write_uint u64,
        serialize_i8 i8 write_sint i64, serialize_i16 i16 write_sint i64,
        serialize_i32 i32 write_sint i64, serialize_i64 i64 write_sint i64,
        serialize_f32 f32 write_f32 f32, serialize_f64 f64 write_f64 f64
    );

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<()> {
        Ok(encode::write_bool(self.out(), value)?)
    }

    #[inline]
    fn serialize_i128(self, number: i128) -> Result<()> {
        self.serialize_bytes(&number.to_be_bytes())
    }

    #[inline]
    fn serialize_u128(self, number: u128) -> Result<()> {
        self.serialize_bytes(&number.to_be_bytes())
    }

    #[inline]
    fn serialize_char(self, character: char) -> Result<()> {
        self.serialize_str(character.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<()> {
        short(text.len())?;
        Ok(encode::write_str(self.out(), text).map_err(std::io::Error::from)?)
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<()> {
        short(bytes.len())?;
        Ok(encode::write_bin(self.out(), bytes).map_err(std::io::Error::from)?)
    }

    #[inline]
    fn serialize_none(self) -> Result<()> {
        self.put_nothing()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.nest()?;
        self.somes = self.somes.saturating_add(1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<()> {
        self.put_nothing()
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        self.put_array_head(0)
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<()> {
        self.serialize_str(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<()> {
        if name == FOREIGN_EXTENSION {
            return Err(Kind::Said("extension types of MessagePack are not carried".into()).into());
        }
        self.nest()?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.nest()?;
        self.put_variant(variant)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq> {
        self.nest()?;
        if let Some(len) = len {
            self.put_array_head(len)?;
        }
        Ok(Compound::new(self, len, 1))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap> {
        self.nest()?;
        if let Some(len) = len {
            self.put_map_head(len)?;
        }
        Ok(Compound::new(self, len, 2))
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple> {
        self.nest()?;
        self.put_array_head(len)?;
        Ok(Fields { writer: self, said: len, wrote: 0 })
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Self::SerializeTupleStruct> {
        self.serialize_tuple(len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        self.put_variant(variant)?;
        self.serialize_tuple(len)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Self::SerializeStruct> {
        self.nest()?;
        self.put_map_head(len)?;
        Ok(Fields { writer: self, said: len, wrote: 0 })
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
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
        if let Some(bytes) = bulk::bytes_in(&elements) {
            let len = short(bytes.len())?;
            let out = self.out();
            encode::write_ext_meta(out, len, BYTES).map_err(std::io::Error::from)?;
            return Ok(out.write_all(bytes)?);
        }
        let elements = elements.into_iter();
        let len = match elements.size_hint() {
            (least, Some(most)) if least == most => Some(most),
            _ => None,
        };
        let mut sequence = self.serialize_seq(len)?;
        for element in elements {
            sequence.put(&element)?;
        }
        sequence.end()
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// A sequence or map.
struct Compound<'o, 'w, W> {
    writer: &'o mut Writer<'w, W>,
    /// The number of values that were announced, and the number that were written. A map has two for each entry.
    said: Option<usize>,
    wrote: usize,
    an_entry: usize,
    /// The encoded values, held back until their number is known.
    waiting: ByteBuffer,
}

impl<'o, 'w, W: Write> Compound<'o, 'w, W> {
    #[inline]
    fn new(writer: &'o mut Writer<'w, W>, entries: Option<usize>, an_entry: usize) -> Self {
        let said = entries.map(|entries| entries.saturating_mul(an_entry));
        Self { writer, said, wrote: 0, an_entry, waiting: ByteBuffer::default() }
    }

    #[inline]
    fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.wrote += 1;

        match self.said {
            Some(_) => value.serialize(&mut *self.writer),
            None => value.serialize(&mut Writer {
                out: &mut self.waiting,
                floor: self.writer.floor.clone(),
                somes: 0,
            }),
        }
    }

    #[inline]
    fn end(self) -> Result<()> {
        let Self { writer, said, wrote, an_entry, waiting } = self;
        match said {
            Some(said) if said == wrote => Ok(()),
            Some(said) => Err(Kind::Miscounted { said: said / an_entry, wrote: wrote / an_entry }.into()),
            None => {
                match an_entry {
                    1 => writer.put_array_head(wrote)?,
                    _ => writer.put_map_head(wrote / an_entry)?,
                }
                Ok(writer.out.write_all(&waiting.finish().map_err(Kind::Said)?)?)
            }
        }
    }
}

/// The fields of a type, whose number is announced.
struct Fields<'o, 'w, W> {
    writer: &'o mut Writer<'w, W>,
    said: usize,
    wrote: usize,
}

impl<W: Write> Fields<'_, '_, W> {
    #[inline]
    fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.wrote += 1;
        value.serialize(&mut *self.writer)
    }

    #[inline]
    fn end(self) -> Result<()> {
        let Self { said, wrote, .. } = self;
        if said == wrote { Ok(()) } else { Err(Kind::Miscounted { said, wrote }.into()) }
    }
}

macro_rules! compounds {
    ($($of:ident for $kind:ident: $($serialize:ident $($name:ident)?),+;)+) => {
        $(impl<W: Write> $of for $kind<'_, '_, W> {
            type Ok = ();
            type Error = Fault;

            $(#[inline]
            fn $serialize<T: Serialize + ?Sized>(&mut self, $($name: &'static str,)? value: &T) -> Result<()> {
                $(encode::write_str(self.writer.out(), $name).map_err(std::io::Error::from)?;)?
                self.put(value)
            })+

            #[inline]
            fn end(self) -> Result<()> {
                self.end()
            }
        })+
    };
}

compounds! {
    SerializeSeq for Compound: serialize_element;
    SerializeTuple for Fields: serialize_element;
    SerializeTupleStruct for Fields: serialize_field;
    SerializeTupleVariant for Fields: serialize_field;
    SerializeMap for Compound: serialize_key, serialize_value;
    SerializeStruct for Fields: serialize_field name;
    SerializeStructVariant for Fields: serialize_field name;
}
