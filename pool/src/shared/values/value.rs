//! [`SharedValue`] and [`SharedCounter`]: arrays of one element.

use std::fmt;

use bytemuck::Pod;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::element::Number;
use crate::error::Error;
use crate::shared::SharedArray;

/// One plain value ([`bytemuck::Pod`]) of 1, 2, 4 or 8 bytes that processes share. Like an element of a
/// [`SharedArray`], it is read and written atomically. For larger values use a
/// [`SharedMutex`](crate::shared::SharedMutex).
///
/// ```
/// # fn main() -> Result<(), pool::Error> {
/// let best = pool::shared::SharedValue::new(f64::INFINITY)?;
/// best.fetch_update(|best| best.min(0.5));
/// assert_eq!(best.get(), 0.5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Serialize)]
#[serde(transparent, bound = "T: Pod")]
pub struct SharedValue<T>(SharedArray<T>);

impl<T: Pod> SharedValue<T> {
    /// Makes a shared value that starts as `value`.
    ///
    /// # Errors
    /// [`Error::SharedMemory`] when there is no memory or no descriptor left.
    pub fn new(value: T) -> Result<Self, Error> {
        SharedArray::from_slice(&[value]).map(Self)
    }

    /// The value.
    #[must_use]
    #[inline]
    pub fn get(&self) -> T {
        self.0.get(0)
    }

    /// Writes the value.
    #[inline]
    pub fn set(&self, value: T) {
        self.0.set(0, value);
    }

    /// Writes the value, and returns the old one.
    #[inline]
    pub fn swap(&self, value: T) -> T {
        self.0.swap(0, value)
    }

    /// Replaces the value with the result of calling the function on it, and returns the old one. No other write comes
    /// in between: if one does, the function runs again.
    #[inline]
    pub fn fetch_update(&self, change: impl FnMut(T) -> T) -> T {
        self.0.fetch_update(0, change)
    }

    /// Adds to the value, and returns the old one. Integers wrap around.
    #[inline]
    pub fn fetch_add(&self, value: T) -> T
    where
        T: Number,
    {
        self.0.fetch_add(0, value)
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedValue").field(&self.get()).finish()
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let array = SharedArray::deserialize(deserializer)?;
        if array.len() != 1 {
            return Err(D::Error::custom("a SharedValue has one element"));
        }
        Ok(Self(array))
    }
}

/// A counter that processes share.
///
/// ```
/// # fn main() -> Result<(), pool::Error> {
/// let seen = pool::shared::SharedCounter::new(0)?;
/// assert_eq!(seen.fetch_add(2), 0);
/// assert_eq!(seen.get(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SharedCounter(SharedValue<u64>);

impl SharedCounter {
    /// Makes a counter that starts at this count.
    ///
    /// # Errors
    /// [`Error::SharedMemory`] when there is no memory or no descriptor left.
    pub fn new(start: u64) -> Result<Self, Error> {
        SharedValue::new(start).map(Self)
    }

    /// The count.
    #[must_use]
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    /// Sets the count.
    #[inline]
    pub fn set(&self, count: u64) {
        self.0.set(count);
    }

    /// Adds to the count, and returns the old one. Wraps around from `u64::MAX` to 0.
    #[inline]
    pub fn fetch_add(&self, count: u64) -> u64 {
        self.0.fetch_add(count)
    }

    /// Subtracts from the count, and returns the old one. Wraps around from 0 to `u64::MAX`.
    #[inline]
    pub fn fetch_sub(&self, count: u64) -> u64 {
        self.0.fetch_add(count.wrapping_neg())
    }
}
