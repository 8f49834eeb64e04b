//! Values in memory that processes share: arrays and single values without locks, and a mutex, a barrier and a
//! semaphore that outlive whoever uses them.
//!
//! | type | what | when a process that uses it is killed |
//! |---|---|---|
//! | [`SharedArray<T>`] | elements of 1, 2, 4 or 8 bytes, each read and written as a whole | each element is old or new |
//! | [`SharedValue<T>`], [`SharedCounter`] | one such element | the same |
//! | [`SharedMutex<T>`] | a plain value of any size, for one at a time | if it held the lock, the next gets it *poisoned* |
//! | [`SharedBarrier`] | so many wait for each other | if it waited, the others get [`BarrierError::Broken`] |
//! | [`SharedSemaphore`] | so many permits | its permits are free again |
//!
//! All of them go wherever a serializable value goes, under every start method: into
//! [`shared`](crate::WorkerPoolBuilder::shared), alone or in tuples and structs, into arguments and results, and on
//! into nested pools. What goes over is a *handle*; the memory is never copied.
//!
//! # How long one lives
//! The memory is anonymous: it has no name in the file system, and it is gone with the last process that has it
//! mapped, however that ends. Its space is taken when it is made, so want of memory is an error then, and nothing
//! later.
//!
//! A handle is good for as long as **the process that encoded it keeps its value**. A pool keeps what is in its
//! shared value. For arguments that is the caller's part: keep a clone until the call has ended. A worker that makes
//! an object and returns it has dropped it by the time the handle arrives: make it in the main process, and let the
//! worker fill it. Whoever decodes a handle to memory that is not there gets an error that says so, as the task's
//! [`Decode`](crate::TaskErrorKind::Decode) error or that of the pool's start.
//!
//! A process that has decoded a handle keeps the memory mapped while it holds the value; to decode the handle again
//! in that time costs a look-up. Each process uses one descriptor for each object that it holds, however many clones
//! it has. Memory is opened by way of `/proc`, which must be mounted.
//!
//! # What workers can do
//! A worker can write anything into memory that it has mapped: the values are as good as the worker is. It can't make
//! another process read outside of it, nor wait for the dead: how long an array is, and who holds a lock, is not
//! believed on the word of the shared memory. A process that lives and never gives back a lock is waited for, as with
//! any lock; [`try_lock_for`](SharedMutex::try_lock_for) and its like limit that.
//!
//! # Forks
//! With [`StartMethod::Fork`](crate::StartMethod::Fork) a pool's first call copies this process. While an array is
//! [borrowed exclusively](SharedArray::as_mut_slice) or a mutex is locked here, that is refused with an error.

pub(crate) mod memory;
mod sync;
mod values;

pub(crate) use memory::presence::random;
pub(crate) use memory::region::{Retained, leave_lent, refuse_fork, retain_handles};
pub use sync::barrier::{BarrierError, SharedBarrier};
pub use sync::mutex::{SharedMutex, SharedMutexGuard};
pub use sync::semaphore::{SharedPermit, SharedSemaphore};
pub use values::array::SharedArray;
pub use values::element::Number;
pub(crate) use values::loan::{Loan, Piece, ToRead, ToWrite};
pub use values::slice_mut::SliceMut;
pub use values::value::{SharedCounter, SharedValue};

#[doc(no_inline)]
pub use bytemuck::Pod;

/// A type, as a number that is the same in every process of one build.
fn type_key<T: 'static>() -> u64 {
    crate::codec::type_key(std::any::TypeId::of::<T>())
}
