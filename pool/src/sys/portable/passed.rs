//! Descriptors as fields of a message, of which there are none.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Debug)]
pub(crate) enum Passed {}

impl Serialize for Passed {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("there are no descriptors"))
    }
}
