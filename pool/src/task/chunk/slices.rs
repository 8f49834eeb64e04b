//! Inputs that can be cut into chunks.

use std::ops::Range;

use bytemuck::Pod;

use super::Chunk;
use crate::error::Error;
use crate::shared::{Loan, SharedArray};

/// An input that [`map_slice`](crate::Job::map_slice) cuts into chunks: a slice, vector or array of plain values, each
/// copied to a worker once; or a [`SharedArray`], whose elements never pass through the parent.
///
/// From a `&mut SharedArray` each task borrows its chunk in place. The call must be the array's only user while it
/// lasts, or it is an error, as for [`as_mut_slice`](SharedArray::as_mut_slice). From a `&SharedArray`, to which others
/// may write meanwhile, the worker copies the chunk when the task begins, each element in one piece.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cut into chunks of `{T}`",
    label = "a slice, `&Vec`, `&SharedArray` or `&mut SharedArray` of the task's elements is wanted here"
)]
pub trait Slices<'a, T>: sealed::Lend<'a, T> {}

pub(crate) mod sealed {
    use super::{Error, Source};

    pub trait Lend<'a, T> {
        fn lend(self) -> Result<Source<'a, T>, Error>;
    }
}

/// Elements that can be lent to tasks.
#[derive(Debug)]
pub struct Source<'a, T>(Origin<'a, T>);

#[derive(Debug)]
enum Origin<'a, T> {
    Slice(&'a [T]),
    Array(Loan<'a>),
}

impl<'a, T> Source<'a, T> {
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Origin::Slice(rows) => rows.len(),
            Origin::Array(loan) => loan.len(),
        }
    }

    /// Whether the call must not end before its tasks.
    pub(crate) fn is_on_loan(&self) -> bool {
        matches!(self.0, Origin::Array(_))
    }

    pub(crate) fn chunk(&self, rows: Range<usize>) -> Chunk<'a, T> {
        match &self.0 {
            Origin::Slice(slice) => Chunk::from(&slice[rows]),
            Origin::Array(loan) => Chunk::of(loan.piece(&rows)),
        }
    }
}

macro_rules! slices {
    ($($(const $len:ident)? $of:ty: $self:ident => $lend:expr;)+) => {$(
        impl<'a, T: Pod $(, const $len: usize)?> Slices<'a, T> for $of {}
        impl<'a, T: Pod $(, const $len: usize)?> sealed::Lend<'a, T> for $of {
            fn lend($self) -> Result<Source<'a, T>, Error> {
                let origin: Result<_, Error> = $lend;
                origin.map(Source)
            }
        }
    )+};
}
slices! {
    &'a [T]: self => Ok(Origin::Slice(self));
    &'a Vec<T>: self => Ok(Origin::Slice(self));
    &'a Box<[T]>: self => Ok(Origin::Slice(self));
    const N &'a [T; N]: self => Ok(Origin::Slice(self));
    &'a SharedArray<T>: self => Ok(Origin::Array(Loan::copied(self)));
    &'a mut SharedArray<T>: self => Loan::read(self).map(Origin::Array);
}
