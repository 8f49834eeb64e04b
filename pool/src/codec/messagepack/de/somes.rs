//! Nested options around nothing, such as `Some(None)`.

use serde::de::Visitor;
use serde::{Deserializer, forward_to_deserialize_any};

use crate::codec::fault::{Fault, Kind, Result};
use crate::sys::stack::Floor;

/// This many nested options around nothing.
pub(super) struct Somes {
    pub(super) somes: u32,
    pub(super) floor: Floor,
}

impl<'de> Deserializer<'de> for Somes {
    type Error = Fault;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        match self.somes.checked_sub(1) {
            None => visitor.visit_unit(),
            Some(_) if self.floor.is_reached() => Err(Kind::Deep.into()),
            Some(somes) => visitor.visit_some(Self { somes, ..self }),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.somes == 0 { visitor.visit_none() } else { self.deserialize_any(visitor) }
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}
