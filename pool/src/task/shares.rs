//! Fields of what a pool shares: a function may borrow one of them with `#[shared]`, if the struct derives
//! [`Shares`](derive@crate::Shares).
//!
//! The derive implements [`Lends`](super::Lends) for each field's type, which the compiler checks. A worker has the
//! struct as a value whose type it knows by its key alone; so the derive also puts an entry into a list that the linker
//! fills, which tells how to decode the struct, and where its fields are.

use std::any::{Any, TypeId};

use super::DecodeShared;

#[linkme::distributed_slice]
/// Filled by the linker, one entry for each struct that derives `Shares`. The name has the version, as that of the
/// registry.
pub static POOL_SHARES_0_1: [Shares];

/// A struct whose fields functions may borrow.
#[derive(Debug)]
pub struct Shares {
    whole: fn() -> TypeId,
    decode: Option<DecodeShared>,
    field: FindField,
}

/// Finds the field of this type in a struct.
type FindField = for<'s> fn(&'s (dyn Any + Send + Sync), TypeId) -> Option<&'s dyn Any>;

impl Shares {
    /// The entry of this struct.
    #[must_use]
    pub const fn of<S: 'static>(decode: Option<DecodeShared>, field: FindField) -> Self {
        Self { whole: TypeId::of::<S>, decode, field }
    }

    /// How a struct is decoded whose type is such that `is_it` holds.
    pub(super) fn decoder(is_it: impl Fn(TypeId) -> bool) -> Option<DecodeShared> {
        POOL_SHARES_0_1.iter().find(|shares| is_it((shares.whole)()))?.decode
    }
}

/// The field of this type in what a pool shares, if that is such a struct.
#[cold]
pub(super) fn field_of<T: 'static>(given: &(dyn Any + Send + Sync)) -> Option<&T> {
    let whole = given.type_id();
    let shares = POOL_SHARES_0_1.iter().find(|shares| (shares.whole)() == whole)?;
    (shares.field)(given, TypeId::of::<T>())?.downcast_ref()
}
