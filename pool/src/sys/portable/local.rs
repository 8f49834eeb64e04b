//! Values that go to a thread of this process.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Part of what a new worker gets. The other parts can be sent to processes, and this can't.
#[derive(Debug)]
pub(crate) struct Local<T>(pub(super) T);

const WHY: &str = "this goes to threads only";

impl<T> Serialize for Local<T> {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom(WHY))
    }
}

impl<'de, T> Deserialize<'de> for Local<T> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(WHY))
    }
}
