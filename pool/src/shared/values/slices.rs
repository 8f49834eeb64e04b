//! A [`SharedArray`](crate::shared::SharedArray) as a plain slice.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::shared::memory::Excluded;

/// A [`SharedArray`](crate::shared::SharedArray) as a plain slice, for this process alone, from
/// [`as_slice`](crate::shared::SharedArray::as_slice). Dropping it lets others use the array again; leaking it keeps
/// them out for good.
pub struct SliceRef<'a, T>(SliceMut<'a, T>);

/// Like [`SliceRef`], but to write to, from [`as_mut_slice`](crate::shared::SharedArray::as_mut_slice).
pub struct SliceMut<'a, T> {
    slice: &'a mut [T],
    _excluded: Excluded<'a>,
}

impl<'a, T> SliceRef<'a, T> {
    pub(in crate::shared) fn new(slice: SliceMut<'a, T>) -> Self {
        Self(slice)
    }
}

impl<'a, T> SliceMut<'a, T> {
    pub(in crate::shared) fn new(slice: &'a mut [T], excluded: Excluded<'a>) -> Self {
        Self { slice, _excluded: excluded }
    }
}

impl<T> Deref for SliceRef<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> Deref for SliceMut<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.slice
    }
}

impl<T> DerefMut for SliceMut<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.slice
    }
}

impl<T: fmt::Debug> fmt::Debug for SliceRef<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for SliceMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slice.fmt(f)
    }
}
