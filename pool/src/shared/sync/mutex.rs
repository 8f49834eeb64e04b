//! [`SharedMutex`].
#![allow(unsafe_code, reason = "lends a value in shared memory to the holder of its lock")]

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Duration;

use bytemuck::Pod;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lock::{Found, Lock, Patience};
use crate::error::Error;
use crate::shared::memory::{Handle, Kind, Region};
use crate::shared::type_key;

/// The fields before the value.
#[repr(C, align(64))]
struct Head {
    lock: AtomicU64,
    /// Nonzero if poisoned.
    poison: AtomicU32,
}

/// A plain value ([`bytemuck::Pod`]) of any size that processes share, for one user at a time: a
/// [`Mutex`](std::sync::Mutex) between processes, with the same result types.
///
/// If its holder is killed, exits or panics, the lock passes on and the mutex is *poisoned*: the value may be half
/// changed. Then [`lock`](Self::lock) returns an error that contains the guard, until
/// [`clear_poison`](Self::clear_poison). Waiters notice the end of a holder within 20 ms. The mutex is not recursive: a
/// thread that locks it twice waits for itself.
///
/// Locking and releasing a free mutex makes no system call. See the [module](crate::shared) for how long a mutex lives.
///
/// ```
/// # fn main() -> Result<(), pool::Error> {
/// let range = pool::shared::SharedMutex::new([i64::MAX, i64::MIN])?;
/// for x in [3, -1, 4] {
///     let mut range = range.lock().unwrap();
///     *range = [range[0].min(x), range[1].max(x)];
/// }
/// assert_eq!(*range.lock().unwrap(), [-1, 4]);
/// # Ok(())
/// # }
/// ```
pub struct SharedMutex<T> {
    region: Arc<Region>,
    value: PhantomData<T>,
}

// SAFETY: a handle gives access to the value only through a guard, which is the only one at a time (see `deref`). So a
// lock moves the value between threads, for which `T: Send` is enough.
unsafe impl<T: Send> Send for SharedMutex<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMutex<T> {}

impl<T: Pod> SharedMutex<T> {
    /// The offset of the value.
    const VALUE: usize = {
        assert!(align_of::<T>() <= 4096, "a value is at most aligned to a page");
        size_of::<Head>().next_multiple_of(align_of::<T>())
    };
    const BYTES: Option<usize> = Self::VALUE.checked_add(size_of::<T>());

    fn kind() -> Kind {
        Kind { what: "SharedMutex", key: type_key::<Self>() }
    }

    /// Makes a mutex with this value.
    ///
    /// # Errors
    /// [`Error::SharedMemory`] if there is not enough memory, or no descriptor left.
    pub fn new(value: T) -> Result<Self, Error> {
        let failed = |why: &dyn Display| Error::shared_memory("a new SharedMutex", why);
        let bytes = Self::BYTES.ok_or_else(|| failed(&"the value is too large"))?;
        let region = Region::create(Self::kind(), bytes)?;
        region.join().map_err(|error| failed(&error))?;
        let mutex = Self { region, value: PhantomData };
        // SAFETY: the region has `BYTES`, so the value's place is within it, and aligned. Nothing else has a handle to
        // it yet.
        unsafe { mutex.place().write(value) };
        Ok(mutex)
    }

    fn attach(handle: &Handle) -> Result<Self, String> {
        let region = Region::attach(handle, Self::kind(), Self::BYTES)?;
        region.join().map_err(|error| format!("this process cannot use the SharedMutex: {error}"))?;
        Ok(Self { region, value: PhantomData })
    }

    /// Waits until nothing else has the lock, and takes it.
    ///
    /// # Errors
    /// If the mutex is poisoned; [`into_inner`](PoisonError::into_inner) still gives the guard.
    ///
    /// # Panics
    /// In a worker that inherited the mutex by fork, if it has no descriptor or memory left to take part in it.
    #[inline]
    pub fn lock(&self) -> LockResult<SharedMutexGuard<'_, T>> {
        match self.take(Patience::Endless) {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Err(poisoned),
            Err(TryLockError::WouldBlock) => unreachable!("patience without end does not end"),
        }
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// If the lock is taken, or the mutex is poisoned.
    ///
    /// # Panics
    /// As for [`lock`](Self::lock).
    pub fn try_lock(&self) -> TryLockResult<SharedMutexGuard<'_, T>> {
        self.take(Patience::None)
    }

    /// Waits for at most this long until nothing else has the lock, and takes it.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if the lock was taken all the time; [`TryLockError::Poisoned`] if the mutex is
    /// poisoned.
    ///
    /// # Panics
    /// As for [`lock`](Self::lock).
    pub fn try_lock_for(&self, limit: Duration) -> TryLockResult<SharedMutexGuard<'_, T>> {
        self.take(Patience::of(limit))
    }

    #[inline]
    fn take(&self, patience: Patience) -> TryLockResult<SharedMutexGuard<'_, T>> {
        let (found, number) = self.raw().take(patience).ok_or(TryLockError::WouldBlock)?;
        if found == Found::LeftBehind {
            self.head().poison.store(1, Ordering::Relaxed);
        }
        // Read and written only under the lock, except by `is_poisoned` and `clear_poison`, which promise no order.
        let poisoned = self.head().poison.load(Ordering::Relaxed) != 0;
        let guard = SharedMutexGuard {
            mutex: self,
            number,
            was_panicking: std::thread::panicking(),
            value: PhantomData,
        };
        if poisoned { Err(PoisonError::new(guard).into()) } else { Ok(guard) }
    }

    /// Whether the mutex is poisoned now.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.head().poison.load(Ordering::Relaxed) != 0
    }

    /// Declares the value sound again, in all processes: best called while the guard that repaired it is still held.
    pub fn clear_poison(&self) {
        self.head().poison.store(0, Ordering::Relaxed);
    }
}

impl<T> SharedMutex<T> {
    fn head(&self) -> &Head {
        // SAFETY: `new` and `attach` made sure that the region has `BYTES`. It begins with a head, at the start of a
        // page, and any bytes are valid atomics.
        unsafe { self.region.base().cast().as_ref() }
    }

    fn raw(&self) -> Lock<'_> {
        Lock::new(&self.head().lock, &self.region)
    }
}

impl<T: Pod> SharedMutex<T> {
    fn place(&self) -> NonNull<T> {
        // SAFETY: the region has `BYTES`, which is `VALUE` and more.
        unsafe { self.region.base().add(Self::VALUE).cast() }
    }
}

impl<T> Clone for SharedMutex<T> {
    /// Another handle to the same mutex.
    fn clone(&self) -> Self {
        Self { region: self.region.clone(), value: PhantomData }
    }
}

impl<T> fmt::Debug for SharedMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedMutex<{}>", std::any::type_name::<T>())
    }
}

impl<T: Pod> Serialize for SharedMutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.region.handle(1).serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedMutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::attach(&Handle::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Access to a [`SharedMutex`]'s value. Dropping it releases the lock, and poisons the mutex if the thread panics.
#[must_use = "the lock is released when the guard is dropped"]
pub struct SharedMutexGuard<'a, T: Pod> {
    mutex: &'a SharedMutex<T>,
    /// The number with which the lock was taken.
    number: u64,
    was_panicking: bool,
    value: PhantomData<&'a mut T>,
}

impl<T: Pod> Deref for SharedMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the place is in the region, which the mutex owns and keeps mapped, and is aligned to `T`; `T` is
        // `Pod`, so any bytes are a valid value. There is no other reference to it, because every reference is borrowed
        // from a guard, and this is the only guard:
        // - In this process, a guard exists from a `take` of the lock to its `release`, and its thread has the gate
        //   during all that time.
        // - In another process, `take` has to replace the word. While the guard lives, the word is this process's
        //   number, and others replace a number only if the kernel says that its process is gone.
        // - A fork of this process would have a copy of the guard, so a fork is refused while the gate is taken.
        //
        // The writes of the last holder happen before this: it released the word, and `take` acquired it.
        //
        // A stray write to the word from another process can break the second point. Workers run this same program, so
        // that takes unsafe code that already breaks Rust's rules in the worker.
        unsafe { self.mutex.place().as_ref() }
    }
}

impl<T: Pod> DerefMut for SharedMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed exclusively, so no reference from `deref` is left.
        unsafe { self.mutex.place().as_mut() }
    }
}

impl<T: Pod> Drop for SharedMutexGuard<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.was_panicking {
            self.mutex.head().poison.store(1, Ordering::Relaxed);
        }
        self.mutex.raw().release(self.number);
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
