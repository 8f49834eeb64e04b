//! Arrays and single values.

pub(in crate::shared) mod array;
pub(in crate::shared) mod element;
pub(in crate::shared) mod loan;
pub(in crate::shared) mod slice_mut;
pub(in crate::shared) mod value;
