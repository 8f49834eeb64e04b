//! Ways for processes to wait for each other: a mutex, a barrier and a semaphore, whose waits end even if a process is
//! killed.
//!
//! All three are built on the [`lock`], a word that names the process that holds it: a waiter asks the kernel whether
//! that process is still there. The mutex is that lock and a value. The barrier and the semaphore have [`slots`], in
//! which processes note that they have arrived, or that they hold a permit.

pub(in crate::shared) mod barrier;
pub(in crate::shared) mod lock;
pub(in crate::shared) mod mutex;
pub(in crate::shared) mod semaphore;
pub(in crate::shared) mod slots;
