//! [`SharedArray`].
#![allow(unsafe_code, reason = "knows where in shared memory its elements lie")]

use std::fmt;
use std::ops::{Bound, Range, RangeBounds};
use std::ptr::NonNull;
use std::sync::Arc;

use bytemuck::Pod;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::element::{Element, Number};
use super::slices::{SliceMut, SliceRef};
use crate::error::Error;
use crate::shared::memory::{Handle, Holder, Kind, Region};
use crate::shared::type_key;

/// An array of fixed length in memory that processes share: each sees what the others write.
///
/// An element is any plain value ([`bytemuck::Pod`]) of 1, 2, 4 or 8 bytes; other sizes do not compile. Each element is
/// read and written atomically: [`get`](Self::get), [`set`](Self::set) and the like may race with those of any other
/// worker, and always find a value that some worker wrote. On x86-64 they are plain loads and stores. A worker that
/// gets a value also sees everything that its writer had set before it.
///
/// Clones and the handles that workers get refer to the same array. See the [module](crate::shared) for how long it
/// lives.
///
/// ```
/// use pool::shared::SharedArray;
/// use pool::{WorkerPool, worker_task};
///
/// #[worker_task]
/// fn square(#[shared] squares: &SharedArray<f32>, index: usize) {
///     squares.set(index, (index * index) as f32);
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), pool::Error> {
///     let squares = SharedArray::zeroed(100)?;
///     let pool = WorkerPool::builder().workers(2).shared(squares.clone()).build()?;
///     square::par_map(&pool, 0..100)?;
///     assert_eq!(squares.get(9), 81.0);
///     Ok(())
/// }
/// ```
pub struct SharedArray<T> {
    first: NonNull<T>,
    len: usize,
    /// Keeps the memory mapped.
    region: Arc<Region>,
}

// SAFETY: the elements are accessed atomically, or through an exclusive borrow. So a handle on another thread only
// moves values of `T` between threads.
unsafe impl<T: Send> Send for SharedArray<T> {}
// SAFETY: as above: a shared reference lets each thread copy elements out and put elements in, for which `T: Send` is
// enough.
unsafe impl<T: Send> Sync for SharedArray<T> {}

impl<T> SharedArray<T> {
    /// The number of elements.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(in crate::shared) fn region(&self) -> &Arc<Region> {
        &self.region
    }
}

impl<T: Pod> SharedArray<T> {
    pub(in crate::shared) fn kind() -> Kind {
        Kind { what: "SharedArray", key: type_key::<Self>() }
    }

    /// The number of bytes of `len` elements; at least one, because an empty file can't be mapped.
    pub(in crate::shared) fn bytes_of(len: usize) -> Option<usize> {
        len.checked_mul(size_of::<T>()).map(|bytes| bytes.max(1))
    }

    /// Makes an array of `len` elements whose bytes are all zero, such as 0 or 0.0.
    ///
    /// # Errors
    /// [`Error::SharedMemory`] if there is not enough memory, or no descriptor left.
    pub fn zeroed(len: usize) -> Result<Self, Error> {
        const { Element::<T>::FITS };
        let bytes = Self::bytes_of(len).ok_or_else(|| {
            Error::shared_memory(
                "a new SharedArray",
                format!("{len} elements are more than there are addresses"),
            )
        })?;
        Ok(Self::of(Region::create(Self::kind(), bytes)?, len))
    }

    /// Makes an array with a copy of the slice.
    ///
    /// # Errors
    /// As for [`zeroed`](Self::zeroed).
    pub fn from_slice(values: &[T]) -> Result<Self, Error> {
        let array = Self::zeroed(values.len())?;
        array.copy_from_slice(values);
        Ok(array)
    }

    /// Makes an array of `len` elements, each computed from its index.
    ///
    /// # Errors
    /// As for [`zeroed`](Self::zeroed).
    pub fn from_fn(len: usize, mut make: impl FnMut(usize) -> T) -> Result<Self, Error> {
        let array = Self::zeroed(len)?;
        array.elements().enumerate().for_each(|(index, element)| element.store(make(index)));
        Ok(array)
    }

    /// The region has at least `len` elements.
    fn of(region: Arc<Region>, len: usize) -> Self {
        Self { first: region.base().cast(), len, region }
    }

    fn attach(handle: &Handle) -> Result<Self, String> {
        const { Element::<T>::FITS };
        let len = usize::try_from(handle.count).map_err(|error| error.to_string())?;
        Ok(Self::of(Region::attach(handle, Self::kind(), Self::bytes_of(len))?, len))
    }

    #[inline]
    #[track_caller]
    fn element(&self, index: usize) -> Element<'_, T> {
        if index >= self.len {
            out_of_range(index, self.len);
        }
        // SAFETY: the index was checked, and the region, which `self` owns, has `len` elements mapped. The first is at
        // the start of a page, so each is aligned to its size. Every other access is through an `Element` too: a `&mut
        // [T]` exists only while `exclude` makes its owner the only user, and it borrows the owner's handle
        // exclusively, so `self` is no such handle.
        unsafe { Element::new(self.first.add(index)) }
    }

    fn elements(&self) -> impl ExactSizeIterator<Item = Element<'_, T>> {
        self.elements_in(..)
    }

    #[track_caller]
    fn elements_in(&self, range: impl RangeBounds<usize>) -> impl ExactSizeIterator<Item = Element<'_, T>> {
        self.indices(&range).map(|index| self.element(index))
    }

    #[track_caller]
    fn indices(&self, range: &impl RangeBounds<usize>) -> Range<usize> {
        let after = |index: &usize| index.saturating_add(1);
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => after(index),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => after(index),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => self.len,
        };
        assert!(
            start <= end && end <= self.len,
            "range {start}..{end} is out of range for a SharedArray of length {}",
            self.len
        );
        start..end
    }

    /// The element's value.
    ///
    /// # Panics
    /// If there is no element with this index. This also holds for the other methods that take an index.
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn get(&self, index: usize) -> T {
        self.element(index).load()
    }

    /// Sets the element to a value.
    #[inline]
    #[track_caller]
    pub fn set(&self, index: usize, value: T) {
        self.element(index).store(value);
    }

    /// Sets the element to a value, and returns the old one.
    #[inline]
    #[track_caller]
    pub fn swap(&self, index: usize, value: T) -> T {
        self.element(index).swap(value)
    }

    /// Replaces the element's value with the result of calling the function on it, and returns the old value. No other
    /// write comes in between: if one does, the function runs again.
    #[inline]
    #[track_caller]
    pub fn fetch_update(&self, index: usize, change: impl FnMut(T) -> T) -> T {
        self.element(index).update(change)
    }

    /// Adds to the element, and returns its old value. Integers wrap around.
    #[inline]
    #[track_caller]
    pub fn fetch_add(&self, index: usize, value: T) -> T
    where
        T: Number,
    {
        self.element(index).add(value)
    }

    /// Iterates over the values, reading each when the iterator reaches it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> {
        self.elements().map(Element::load)
    }

    /// A copy of the values, each read atomically.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().collect()
    }

    /// A copy of the values in this range, each read atomically.
    ///
    /// ```
    /// # fn main() -> Result<(), pool::Error> {
    /// let array = pool::shared::SharedArray::from_slice(&[1, 2, 3, 4])?;
    /// array.write(2.., &[30, 40]);
    /// assert_eq!(array.read(1..3), [2, 30]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the array ends before the range does.
    #[must_use]
    #[track_caller]
    pub fn read(&self, range: impl RangeBounds<usize>) -> Vec<T> {
        self.elements_in(range).map(Element::load).collect()
    }

    /// Copies the values in this range into the slice, each read atomically.
    ///
    /// # Panics
    /// If the array ends before the range does, or the slice has another length.
    #[track_caller]
    pub fn read_into(&self, range: impl RangeBounds<usize>, values: &mut [T]) {
        let elements = self.elements_in(range);
        check_lengths(elements.len(), values.len());
        elements.zip(values).for_each(|(element, value)| *value = element.load());
    }

    /// Writes the elements in this range, each atomically.
    ///
    /// # Panics
    /// If the array ends before the range does, or the slice has another length.
    #[track_caller]
    pub fn write(&self, range: impl RangeBounds<usize>, values: &[T]) {
        let elements = self.elements_in(range);
        check_lengths(elements.len(), values.len());
        elements.zip(values).for_each(|(element, value)| element.store(*value));
    }

    /// Writes all elements, each atomically.
    ///
    /// # Panics
    /// If the slice and the array have different lengths.
    #[track_caller]
    pub fn copy_from_slice(&self, values: &[T]) {
        self.write(.., values);
    }

    /// Sets all elements to this value.
    pub fn fill(&self, value: T) {
        self.elements().for_each(|element| element.store(value));
    }

    /// The whole array as a plain slice, for this process alone: while the result lives, nothing else in any process
    /// reads or writes the array, and a handle that reaches another process in that time is an error there.
    ///
    /// # Errors
    /// [`Error::SharedMemory`] if the array has another user: this process, through a clone, a pool's shared value or a
    /// task; or any other process that has it mapped. Workers with the array in their `#[shared]` value keep it until
    /// the pool has ended ([`join`](crate::WorkerPool::join) it). Workers that get it as an argument have it until
    /// their task ends. Workers of [`StartMethod::Fork`](crate::StartMethod::Fork) are forks of this process, and have
    /// all arrays that it had at the first call. The kernel keeps track, so a worker that was killed no longer counts.
    /// Also if no descriptor is left.
    ///
    /// ```
    /// # fn main() -> Result<(), pool::Error> {
    /// let mut array = pool::shared::SharedArray::from_slice(&[3, 1, 2])?;
    /// array.as_mut_slice()?.sort();
    /// assert_eq!(array.to_vec(), [1, 2, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn as_mut_slice(&mut self) -> Result<SliceMut<'_, T>, Error> {
        let excluded = self.region.exclude(Holder::User)?;
        // SAFETY: the elements are mapped, aligned, and valid with any bytes. Nothing else accesses them while
        // `excluded` lives: no other process has a lease, this process has no other handle, and this handle is borrowed
        // exclusively for as long as the slice lives.
        let slice = unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) };
        Ok(SliceMut::new(slice, excluded))
    }

    /// The whole array as a plain slice to read, without a copy, once others have filled it. It is for this process
    /// alone, as with [`as_mut_slice`](Self::as_mut_slice). [`read`](Self::read) copies what others may change
    /// meanwhile.
    ///
    /// # Errors
    /// As for [`as_mut_slice`](Self::as_mut_slice).
    ///
    /// ```
    /// use pool::shared::SharedArray;
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn square(#[shared] squares: &SharedArray<u64>, index: usize) {
    ///     squares.set(index, (index * index) as u64);
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let mut squares = SharedArray::zeroed(100)?;
    ///     let pool = WorkerPool::builder().workers(2).shared(squares.clone()).build()?;
    ///     square::par_map(&pool, 0..100)?;
    ///     pool.join()?;
    ///     assert_eq!(squares.as_slice()?.iter().sum::<u64>(), 328_350);
    ///     Ok(())
    /// }
    /// ```
    pub fn as_slice(&mut self) -> Result<SliceRef<'_, T>, Error> {
        self.as_mut_slice().map(SliceRef::new)
    }
}

#[track_caller]
fn check_lengths(elements: usize, values: usize) {
    assert_eq!(elements, values, "a range of a SharedArray is copied from or to a slice of its own length");
}

#[cold]
#[track_caller]
fn out_of_range(index: usize, len: usize) -> ! {
    panic!("index {index} is out of range for a SharedArray of length {len}")
}

impl<T> Clone for SharedArray<T> {
    /// Another handle to the same array.
    fn clone(&self) -> Self {
        Self { first: self.first, len: self.len, region: self.region.clone() }
    }
}

impl<T> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedArray<{}>(len {})", std::any::type_name::<T>(), self.len)
    }
}

impl<T: Pod> TryFrom<&[T]> for SharedArray<T> {
    type Error = Error;

    fn try_from(values: &[T]) -> Result<Self, Error> {
        Self::from_slice(values)
    }
}

impl<T: Pod> Serialize for SharedArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.region.handle(self.len).serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::attach(&Handle::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
