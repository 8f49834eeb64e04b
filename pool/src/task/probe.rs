//! Questions about a type that the macros' output asks where no bound may be: has it a `Default`, a `Debug`?

use std::fmt;
use std::io::Write;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Argument, DecodeShared};
use crate::codec::Codec;
use crate::text;

/// Answers "does this type have that trait?" at compile time: an inherent constant wins over the trait's where
/// its bound holds.
#[derive(Debug)]
pub struct Probe<T: ?Sized>(PhantomData<T>);

/// The answers of [`Probe`] where the bound does not hold.
pub trait ProbeFallback<T> {
    /// No `Default`.
    const DEFAULT: Option<fn() -> T> = None;
    /// No `Debug`.
    const DEBUG: Option<fn(&T) -> String> = None;
    /// Not `DeserializeOwned + Send + Sync`.
    const DECODE_SHARED: Option<DecodeShared> = None;
    /// Not `Serialize`: an error that the check of the parameters tells.
    fn encode(_: Codec, _: &T, _: &mut impl Write) -> Result<(), String> {
        unreachable!("a parameter is no `Argument`")
    }
    /// Not `Deserialize`: an error that the check of the parameters tells.
    fn decode(_: Codec, _: &mut &[u8]) -> Result<T, String> {
        unreachable!("a parameter is no `Argument`")
    }
}
impl<T> ProbeFallback<T> for Probe<T> {}

impl<T: Default> Probe<T> {
    /// Its `Default`.
    pub const DEFAULT: Option<fn() -> T> = Some(T::default);
}

impl<T: fmt::Debug> Probe<T> {
    /// Its `Debug`.
    pub const DEBUG: Option<fn(&T) -> String> = Some(|value| text::shown(value));
}

impl<T: DeserializeOwned + Send + Sync + 'static> Probe<T> {
    /// How a worker decodes it as the shared value.
    pub const DECODE_SHARED: Option<DecodeShared> =
        Some(|codec, bytes| codec.decode::<T>(bytes).map(|value| Arc::new(value) as _));
}

impl<'a, T: Argument<'a>> Probe<T> {
    /// Appends its bytes to `out`.
    #[inline]
    pub fn encode(codec: Codec, item: &T, out: &mut impl Write) -> Result<(), String> {
        codec.encode(item, out)
    }
    /// Decodes what these bytes begin with, in place, and goes past it.
    #[inline]
    pub fn decode(codec: Codec, bytes: &mut &'a [u8]) -> Result<T, String> {
        codec.decode_next(bytes)
    }
}
