//! The values that exit functions return.

use super::WorkerPool;
use crate::codec::Codec;
use crate::error::{Error, TaskError, TaskErrorKind};
use crate::task::registry::Registry;
use crate::task::{Output, WorkerExit};
use crate::text;
use crate::unwind;
use crate::work::ExitValue;

impl<S> WorkerPool<S> {
    /// Returns what exit function `E` has returned so far, one value for each worker that ended, in the order in which
    /// they ended. The pool keeps the values for [`join`](Self::join): values beyond 16 MiB go to unnamed files in the
    /// directory for temporary files, where that has room. To free them, use
    /// [`take_exit_results`](Self::take_exit_results).
    ///
    /// # Errors
    /// When a value cannot be decoded; [`Error::Forked`] in a fork of the process that built the pool.
    pub fn exit_results<E: WorkerExit>(&self) -> Result<Vec<E::Output>, Error> {
        self.handle.engine().check()?;
        let Some(exit) = index_of::<E>()? else { return Ok(Vec::new()) };
        let exits = self.handle.engine().exit_values(exit);
        decode_exits::<E>(&exits, self.handle.config().codec)
    }

    /// Returns what exit function `E` has returned so far, like [`exit_results`](Self::exit_results), and removes it
    /// from the pool: no later call returns it again, nor does [`join`](Self::join). Call it now and then in a pool
    /// that lives long and replaces workers, so that it does not collect values forever.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_exit, worker_task};
    ///
    /// #[worker_task(exit = count)]
    /// fn square(#[state] done: &mut u64, x: u64) -> u64 {
    ///     *done += 1;
    ///     x * x
    /// }
    ///
    /// #[worker_exit]
    /// fn count(#[state] done: u64) -> u64 {
    ///     done
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::builder().workers(2).keep_alive(false).build()?;
    ///     for _ in 0..3 {
    ///         square::par_map(&pool, 0..10)?;
    ///         assert_eq!(pool.take_exit_results::<count>()?.iter().sum::<u64>(), 10);
    ///     }
    ///     assert!(pool.join()?.exit_results::<count>()?.is_empty());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When a value cannot be decoded: then the pool keeps all of them. [`Error::Forked`] in a fork of the process that
    /// built the pool.
    pub fn take_exit_results<E: WorkerExit>(&self) -> Result<Vec<E::Output>, Error> {
        let Some(exit) = index_of::<E>()? else { return Ok(Vec::new()) };
        let engine = self.handle.engine();
        engine.check()?;
        let exits = engine.take_exit_values(exit);
        decode_exits::<E>(&exits, self.handle.config().codec)
            .inspect_err(|_| engine.put_back_exit_values(exits))
    }
}

/// The values that the workers' exit functions returned; from [`WorkerPool::join`].
pub struct ExitResults {
    pub(super) exits: Vec<ExitValue>,
    pub(super) codec: Codec,
}

impl std::fmt::Debug for ExitResults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The values are still encoded, and may be long: only their number is shown.
        f.debug_struct("ExitResults").field("values", &self.exits.len()).finish_non_exhaustive()
    }
}

impl ExitResults {
    /// Returns the values of exit function `E`: one for each worker that ended, replaced workers included, in the order
    /// in which they ended.
    ///
    /// # Errors
    /// When a value cannot be decoded.
    pub fn exit_results<E: WorkerExit>(&self) -> Result<Vec<E::Output>, Error> {
        decode_exits::<E>(&self.exits, self.codec)
    }
}

/// The exit function's index in the registry; `None` for "no exit function".
fn index_of<E: WorkerExit>() -> Result<Option<u32>, Error> {
    E::entry().map(|entry| Registry::get().index_of(entry)).transpose()
}

fn decode_exits<E: WorkerExit>(exits: &[ExitValue], codec: Codec) -> Result<Vec<E::Output>, Error> {
    let (Some(entry), Some(wanted)) = (E::entry(), index_of::<E>()?) else { return Ok(Vec::new()) };
    let decode = |bytes: &[u8]| {
        unwind::catch(|| E::Output::decode(codec, bytes))
            .unwrap_or_else(|_| Err("its `Deserialize` implementation panicked".into()))
    };
    let open = |exit: &ExitValue| {
        let bytes = exit.bytes().map_err(|error| format!("it could not be read back: {error}"));
        bytes.and_then(|bytes| decode(&bytes)).map_err(|why| {
            let why = TaskErrorKind::Decode(text::cut(why));
            Error::Task(TaskError::in_exit(Some(entry.name()), exit.worker.0, why))
        })
    };
    exits.iter().filter(|exit| exit.exit == wanted).map(open).collect()
}
