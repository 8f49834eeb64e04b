//! Arrays and single values, which any number of processes can read and write at once without locks.
//!
//! Each [`element`] is read and written as a whole, by one atomic operation. An [`array`](mod@array) is a row of
//! elements, a [`value`] is one. [`slices`] gives an array as a plain slice while it has no other user. A [`loan`]
//! gives the tasks of one call plain slices of disjoint pieces.

pub(in crate::shared) mod array;
pub(in crate::shared) mod element;
pub(in crate::shared) mod loan;
pub(in crate::shared) mod slices;
pub(in crate::shared) mod value;
