//! Values in memory that processes share: arrays and single values without locks; and a mutex, a barrier and a
//! semaphore that survive the death of their users.
//!
//! | type | what it is | if a user of it is killed |
//! |---|---|---|
//! | [`SharedArray<T>`] | elements of 1, 2, 4 or 8 bytes, each accessed atomically | each element is old or new |
//! | [`SharedValue<T>`], [`SharedCounter`] | one such element | the same |
//! | [`SharedMutex<T>`] | a plain value of any size, for one user at a time | *poisoned*, if that user held the lock |
//! | [`SharedBarrier`] | a number of users wait for each other | if it waited, others get [`BarrierError::Broken`] |
//! | [`SharedSemaphore`] | a number of permits | its permits are free again |
//!
//! All of them go wherever a serializable value goes, under every start method: into
//! [`shared`](crate::WorkerPoolBuilder::shared), alone or in tuples and structs, into arguments and results, and on
//! into nested pools. Only a *handle* is sent; the memory is never copied.
//!
//! # How long one lives
//! The memory is anonymous: it has no name in the file system, and it is freed with the last process that has it
//! mapped, however that process ends. All of it is allocated when the object is made: a lack of memory is an error
//! then, and never later.
//!
//! A handle is valid as long as **the process that encoded it keeps its value**. A pool keeps the objects in its shared
//! value. For arguments this is up to the caller: keep a clone until the call has ended. A worker that makes an object
//! and returns it has dropped it by the time the handle arrives: instead, make it in the main process, and let the
//! worker fill it. Decoding a handle to memory that is gone is an error that says so: the task's
//! [`Decode`](crate::TaskErrorKind::Decode) error, or the error of the pool's start.
//!
//! A process that has decoded a handle keeps the memory mapped while it holds the value; decoding the handle again
//! during that time only costs a lookup. Each process uses one descriptor for each object that it holds, however many
//! clones it has. Memory is opened through `/proc`, which must be mounted.
//!
//! # What workers can do
//! A worker can write anything into memory that it has mapped, so the values are only as trustworthy as the worker. It
//! can't make another process read outside the memory, or wait for a dead holder: no process takes the length of an
//! array, or the holder of a lock, from shared memory alone. As with any lock, others wait for a process that lives and
//! never releases it; [`try_lock_for`](SharedMutex::try_lock_for) and the like limit that wait.
//!
//! # Forks
//! With [`StartMethod::Fork`](crate::StartMethod::Fork) a pool's first call forks this process. While an array is
//! [borrowed exclusively](SharedArray::as_mut_slice) or a mutex is locked here, the call is refused with an error.

// In here: `memory/` makes, finds and maps the memory of an object, and asks the kernel which processes use it;
// `values/` has the arrays and single values, and lends arrays to the tasks of a call; `sync/` has the mutex, the
// barrier and the semaphore. `values/` and `sync/` build on `memory/` and know nothing of each other.

pub(crate) mod memory;
mod sync;
mod values;

pub(crate) use memory::{Retained, leave_lent, retain_handles, with_granted};
pub use sync::barrier::{BarrierError, SharedBarrier};
pub use sync::mutex::{SharedMutex, SharedMutexGuard};
pub use sync::semaphore::{SharedPermit, SharedSemaphore};
pub use values::array::SharedArray;
pub use values::element::Number;
pub(crate) use values::loan::{Loan, Piece, ToRead, ToWrite};
pub use values::slices::{SliceMut, SliceRef};
pub use values::value::{SharedCounter, SharedValue};

#[doc(no_inline)]
pub use bytemuck::Pod;

/// An error if a fork now would copy a `&mut` to shared memory, so that two processes had it.
pub(crate) fn refuse_fork() -> Result<(), String> {
    values::loan::refuse_fork()?;
    memory::refuse_fork()
}

/// A number for a type, the same in every process of a build.
fn type_key<T: 'static>() -> u64 {
    crate::codec::type_key(std::any::TypeId::of::<T>())
}
