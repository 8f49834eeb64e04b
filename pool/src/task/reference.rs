//! Parameters that are references. The caller's reference is encoded through, and nothing is cloned. The worker lends
//! the function what it decodes: the bytes in its lane where the type can borrow them, or else a value that it owns for
//! the time of the call.
//!
//! Which of the two depends on the type behind the reference, whose traits the macro can't see. So the macro asks the
//! compiler: it calls a method that each of five traits has, on a value that implements them with ever fewer `&`. The
//! compiler tries the one with the most first, and goes on to the next if the type does not fit.

use std::io::Write;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::Argument;
use crate::codec::Codec;

/// A parameter of type `&'a U`.
#[derive(Debug)]
pub struct Reference<'a, U: ?Sized>(PhantomData<&'a U>);

impl<U: ?Sized> Reference<'_, U> {
    /// The value to ask.
    pub const ASKED: Self = Self(PhantomData);
}

/// A type that borrows from its bytes: `str`, `[u8]`, `Path`.
pub trait LentInPlace<'a, U: ?Sized> {
    /// It can be lent.
    fn answer(&self) -> IsLent {
        IsLent
    }
    /// Appends the bytes to `out`.
    fn encode(&self, codec: Codec, item: &&'a U, out: &mut impl Write) -> Result<(), String>;
    /// Decodes a value from the front of these bytes, and moves past it.
    fn decode(&self, codec: Codec, bytes: &mut &'a [u8]) -> Result<&'a U, String>;
}
impl<'a, U: ?Sized + Serialize> LentInPlace<'a, U> for &&&&Reference<'a, U>
where
    &'a U: Argument<'a>,
{
    #[inline]
    fn encode(&self, codec: Codec, item: &&'a U, out: &mut impl Write) -> Result<(), String> {
        codec.encode(item, out)
    }
    #[inline]
    fn decode(&self, codec: Codec, bytes: &mut &'a [u8]) -> Result<&'a U, String> {
        codec.decode_next(bytes)
    }
}

/// A type that is decoded as itself.
pub trait LentByValue<'a, U> {
    /// It can be lent.
    fn answer(&self) -> IsLent {
        IsLent
    }
    /// Appends the bytes to `out`.
    fn encode(&self, codec: Codec, item: &&'a U, out: &mut impl Write) -> Result<(), String>;
    /// Decodes a value from the front of these bytes, and moves past it.
    fn decode(&self, codec: Codec, bytes: &mut &'a [u8]) -> Result<U, String>;
}
impl<'a, U: Serialize + Deserialize<'a>> LentByValue<'a, U> for &&&Reference<'a, U> {
    #[inline]
    fn encode(&self, codec: Codec, item: &&'a U, out: &mut impl Write) -> Result<(), String> {
        codec.encode(*item, out)
    }
    #[inline]
    fn decode(&self, codec: Codec, bytes: &mut &'a [u8]) -> Result<U, String> {
        codec.decode_next(bytes)
    }
}

/// A slice, which is decoded as a vector.
pub trait LentAsVec<'a, T> {
    /// It can be lent.
    fn answer(&self) -> IsLent {
        IsLent
    }
    /// Appends the bytes to `out`.
    fn encode(&self, codec: Codec, item: &&'a [T], out: &mut impl Write) -> Result<(), String>;
    /// Decodes a value from the front of these bytes, and moves past it.
    fn decode(&self, codec: Codec, bytes: &mut &'a [u8]) -> Result<Vec<T>, String>;
}
impl<'a, T: Serialize + Deserialize<'a>> LentAsVec<'a, T> for &&Reference<'a, [T]> {
    #[inline]
    fn encode(&self, codec: Codec, item: &&'a [T], out: &mut impl Write) -> Result<(), String> {
        codec.encode(item, out)
    }
    #[inline]
    fn decode(&self, codec: Codec, bytes: &mut &'a [u8]) -> Result<Vec<T>, String> {
        codec.decode_next(bytes)
    }
}

/// Any other type without a size whose owner is decoded.
pub trait LentByOwner<'a, U: ?Sized + ToOwned> {
    /// It can be lent.
    fn answer(&self) -> IsLent {
        IsLent
    }
    /// Appends the bytes to `out`.
    fn encode(&self, codec: Codec, item: &&'a U, out: &mut impl Write) -> Result<(), String>;
    /// Decodes a value from the front of these bytes, and moves past it.
    fn decode(&self, codec: Codec, bytes: &mut &'a [u8]) -> Result<U::Owned, String>;
}
impl<'a, U> LentByOwner<'a, U> for &Reference<'a, U>
where
    U: ?Sized + Serialize + ToOwned<Owned: Deserialize<'a>>,
{
    #[inline]
    fn encode(&self, codec: Codec, item: &&'a U, out: &mut impl Write) -> Result<(), String> {
        codec.encode(item, out)
    }
    #[inline]
    fn decode(&self, codec: Codec, bytes: &mut &'a [u8]) -> Result<U::Owned, String> {
        codec.decode_next(bytes)
    }
}

/// Any other type: an error.
pub trait NotLent<'a, U: ?Sized + 'a> {
    /// It can't be lent.
    fn answer(&self) -> IsNotLent {
        IsNotLent
    }
    /// Never called, because the [`check`](borrowed_argument) of the parameter is a compile error.
    fn encode(&self, _: Codec, _: &&'a U, _: &mut impl Write) -> Result<(), String> {
        unreachable!("a parameter is no `Argument`")
    }
    /// Never called, because the [`check`](borrowed_argument) of the parameter is a compile error.
    fn decode(&self, _: Codec, _: &mut &'a [u8]) -> Result<&'a U, String> {
        unreachable!("a parameter is no `Argument`")
    }
}
impl<'a, U: ?Sized + 'a> NotLent<'a, U> for Reference<'a, U> {}

/// The answer that a reference can be lent.
#[derive(Debug, Clone, Copy)]
pub struct IsLent;

/// The answer that it cannot.
#[derive(Debug, Clone, Copy)]
pub struct IsNotLent;

/// A parameter that is a reference, with this answer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross to a worker",
    label = "a worker is lent what it decodes, and it cannot decode this",
    note = "`&T` can be lent for any `T` with both serde traits: `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "or mark what is injected: `#[shared] s: &T`, `#[state] s: &mut T`, `#[chunk] rows: &[T]`"
)]
pub trait BorrowedArgument<Answer> {}
#[diagnostic::do_not_recommend]
impl<T> BorrowedArgument<IsLent> for T {}
// Were the impl above the only one, the compiler would expect that answer, and complain about the other.
#[diagnostic::do_not_recommend]
impl<T> BorrowedArgument<()> for T {}

/// Asks that this parameter's type, a reference, can be lent.
pub const fn borrowed_argument<T: BorrowedArgument<Answer>, Answer: Copy>(_: Answer) {}
