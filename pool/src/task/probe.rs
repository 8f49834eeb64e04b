//! Asks in the macros' output, where no bound can stand, whether a type has a `Default` or a `Debug`.

use std::fmt;
use std::io::Write;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Argument, DecodeShared};
use crate::codec::Codec;
use crate::text;

/// Answers "does this type have that trait?" at compile time: where its bound holds, an inherent constant wins over the
/// constant of [`ProbeFallback`].
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
    /// Not `Serialize`: never called, because the check of the parameters is a compile error.
    fn encode(_: Codec, _: &T, _: &mut impl Write) -> Result<(), String> {
        unreachable!("a parameter is no `Argument`")
    }
    /// Not `Deserialize`: never called, because the check of the parameters is a compile error.
    fn decode(_: Codec, _: &mut &[u8]) -> Result<T, String> {
        unreachable!("a parameter is no `Argument`")
    }
    /// Not `Clone`: never called, because the check of the constant is a compile error.
    fn cloned(_: &T) -> T {
        unreachable!("a constant is no `Clone`")
    }
}
impl<T> ProbeFallback<T> for Probe<T> {}

/// Answers at compile time whether an item is a pair of results, in the same way.
#[derive(Debug)]
pub struct PairProbe<Item, R>(PhantomData<(Item, R)>);

/// The answer of [`PairProbe`] where it is not.
pub trait PairFallback<Item, R> {
    /// No pair.
    const PAIR: Option<fn(R, R) -> Item> = None;
}
impl<Item, R> PairFallback<Item, R> for PairProbe<Item, R> {}

impl<R> PairProbe<(R, R), R> {
    /// The pair.
    pub const PAIR: Option<fn(R, R) -> (R, R)> = Some(|one, other| (one, other));
}

impl<T: Clone> Probe<T> {
    /// Its clone.
    #[inline]
    pub fn cloned(value: &T) -> T {
        value.clone()
    }
}

impl<T: Default> Probe<T> {
    /// Its `Default`.
    pub const DEFAULT: Option<fn() -> T> = Some(T::default);
}

impl<T: fmt::Debug> Probe<T> {
    /// Its `Debug`.
    pub const DEBUG: Option<fn(&T) -> String> = Some(|value| text::shown(value));
}

impl<T: DeserializeOwned + Send + Sync + 'static> Probe<T> {
    /// Decodes it as a worker's shared value.
    pub const DECODE_SHARED: Option<DecodeShared> =
        Some(|codec, bytes| codec.decode::<T>(bytes).map(|value| Arc::new(value) as _));
}

impl<T> Probe<T> {
    /// How many bytes are appended for it, if that runs no code of the user's.
    #[inline]
    pub fn plain_len(codec: Codec, item: &T) -> Option<usize> {
        codec.plain_len(item)
    }
}

impl<'a, T: Argument<'a>> Probe<T> {
    /// Appends its bytes to `out`.
    #[inline]
    pub fn encode(codec: Codec, item: &T, out: &mut impl Write) -> Result<(), String> {
        codec.encode(item, out)
    }
    /// Decodes a value from the front of these bytes, in place, and moves past it.
    #[inline]
    pub fn decode(codec: Codec, bytes: &mut &'a [u8]) -> Result<T, String> {
        codec.decode_next(bytes)
    }
}
