//! One element in shared memory, which is read and written atomically.
#![allow(unsafe_code, reason = "reads and writes memory that processes share")]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use bytemuck::{Pod, cast};

/// The numbers that [`SharedArray::fetch_add`](crate::shared::SharedArray::fetch_add) can add: the primitive integers
/// of up to 64 bits, which wrap around, and `f32` and `f64`.
pub trait Number: Pod + Send + Sync + sealed::Sealed {}

mod sealed {
    pub trait Sealed: Copy {
        /// Whether adding the bits as unsigned integers gives the right sum.
        const IS_INTEGER: bool;

        #[must_use]
        fn plus(self, other: Self) -> Self;
    }
}
pub(in crate::shared) use sealed::Sealed;

macro_rules! numbers {
    ($is_integer:literal, $plus:expr, $($number:ty),+) => {$(
        impl Number for $number {}

        impl Sealed for $number {
            const IS_INTEGER: bool = $is_integer;

            #[inline]
            fn plus(self, other: Self) -> Self {
                $plus(self, other)
            }
        }
    )+};
}
numbers!(true, Self::wrapping_add, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
numbers!(false, |one, other| one + other, f32, f64);

/// The place of an element in mapped memory. If all threads and processes access it only through this type, each access
/// reads or writes one whole value.
#[derive(Debug, Clone, Copy)]
pub(in crate::shared) struct Element<'a, T> {
    at: NonNull<T>,
    mapped: PhantomData<&'a T>,
}

/// Runs one line with the atomic type of the size of `T`.
macro_rules! by_size {
    ($self:ident, $atomic:ident => $run:expr) => {
        match size_of::<T>() {
            1 => by_size!($self, AtomicU8, $atomic => $run),
            2 => by_size!($self, AtomicU16, $atomic => $run),
            4 => by_size!($self, AtomicU32, $atomic => $run),
            _ => by_size!($self, AtomicU64, $atomic => $run),
        }
    };
    ($self:ident, $type:ty, $atomic:ident => $run:expr) => {{
        // SAFETY: the caller of `new` promised that the place is mapped, aligned to its size, and accessed only through
        // this type, which always uses the atomic type of that size.
        let $atomic = unsafe { <$type>::from_ptr($self.at.as_ptr().cast()) };
        $run
    }};
}

impl<T: Pod> Element<'_, T> {
    /// Fails to compile if no atomic type has the size of `T`.
    pub(in crate::shared) const FITS: () = assert!(
        matches!(size_of::<T>(), 1 | 2 | 4 | 8),
        "an element of shared memory has 1, 2, 4 or 8 bytes, so that it can be read and written as a whole; \
         for larger values use `SharedMutex`"
    );

    /// # Safety
    /// The place is in memory that stays mapped for the lifetime, is aligned to its size, and is accessed only through
    /// this type.
    #[inline]
    pub(in crate::shared) unsafe fn new(at: NonNull<T>) -> Self {
        const { Self::FITS };
        Self { at, mapped: PhantomData }
    }

    /// Like [`new`](Self::new), for any type; none if no atomic type has its size.
    ///
    /// # Safety
    /// As for [`new`](Self::new).
    #[inline]
    pub(in crate::shared) unsafe fn new_if_fits(at: NonNull<T>) -> Option<Self> {
        matches!(size_of::<T>(), 1 | 2 | 4 | 8).then_some(Self { at, mapped: PhantomData })
    }

    // SYNC: element written (acquire). A reader of the value also sees everything that its writer had written before
    // it.
    #[inline]
    pub(in crate::shared) fn load(self) -> T {
        by_size!(self, atomic => cast(atomic.load(Ordering::Acquire)))
    }

    // SYNC: element written (release).
    #[inline]
    pub(in crate::shared) fn store(self, value: T) {
        by_size!(self, atomic => atomic.store(cast(value), Ordering::Release));
    }

    #[inline]
    pub(in crate::shared) fn swap(self, value: T) -> T {
        by_size!(self, atomic => cast(atomic.swap(cast(value), Ordering::AcqRel)))
    }

    /// Replaces the value with the result of calling the function on it, and returns the old one. The function may run
    /// several times.
    #[inline]
    pub(in crate::shared) fn update(self, mut change: impl FnMut(T) -> T) -> T {
        by_size!(self, atomic => {
            let mut seen = atomic.load(Ordering::Acquire);
            loop {
                let changed = cast(change(cast(seen)));
                match atomic.compare_exchange_weak(seen, changed, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(before) => return cast(before),
                    Err(now) => seen = now,
                }
            }
        })
    }
}

impl<T: Number> Element<'_, T> {
    /// Adds to the value, and returns the old one.
    #[inline]
    pub(in crate::shared) fn add(self, value: T) -> T {
        if T::IS_INTEGER {
            by_size!(self, atomic => cast(atomic.fetch_add(cast(value), Ordering::AcqRel)))
        } else {
            self.update(|before| before.plus(value))
        }
    }
}
