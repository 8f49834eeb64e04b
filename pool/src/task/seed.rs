//! Seeds for random numbers: one for each task, whichever worker runs it, and however often.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::TaskIndex;
use crate::work::scatter;

/// A seed for this task: a number that depends only on the task's position in the input and on the call's
/// [`seed`](crate::Job::seed). Worker, chunk, start method and retries do not change it. A call without a given seed
/// gets one of its own; two runs with the same seed have the same results.
///
/// Only the thread that runs the task can ask for it. Pass the seed on to threads that the task starts.
///
/// ```
/// use pool::{WorkerPool, worker_task};
///
/// // With the crate `rand`: `let mut rng = SmallRng::seed_from_u64(pool::task_seed());`
/// #[worker_task]
/// fn throw_a_die() -> u64 {
///     pool::task_seed() % 6 + 1
/// }
///
/// # fn main() -> Result<(), pool::Error> {
/// let pool = WorkerPool::builder().start_method(pool::StartMethod::Threads).workers(2).build()?;
/// let thrown = throw_a_die::job(&pool).seed(7).map([(); 100])?;
/// assert_eq!(thrown, throw_a_die::job(&pool).seed(7).chunk_size(3).map([(); 100])?);
/// assert_ne!(thrown, throw_a_die::job(&pool).seed(8).map([(); 100])?);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// Outside of a task: in the program itself, in an init or exit function, in a thread that a task has started.
#[must_use]
pub fn task_seed() -> u64 {
    let Some(seed) = SEED.get() else {
        panic!(
            "`pool::task_seed()` is called outside of a task: call it in the function with `#[worker_task]`, and pass \
             what it gives on to the threads that this starts"
        )
    };
    of_task(seed, INDEX.get().number())
}

thread_local! {
    /// The seed of the call whose tasks this thread runs.
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
    /// The position in the input of the task that this thread runs.
    static INDEX: Cell<TaskIndex> = const { Cell::new(TaskIndex::new(0)) };
}

/// Gives seeds to this thread's tasks until it is dropped.
#[derive(Debug)]
pub(crate) struct Seeded(());

impl Seeded {
    #[inline]
    pub(crate) fn new(seed: u64) -> Self {
        SEED.set(Some(seed));
        Self(())
    }

    /// Moves on to the task at this position.
    #[inline]
    pub(crate) fn is_at(&self, index: TaskIndex) {
        INDEX.set(index);
    }
}

impl Drop for Seeded {
    #[inline]
    fn drop(&mut self) {
        SEED.set(None);
    }
}

/// The step of SplitMix64: the golden ratio in 64 bits. It is odd, so 2^64 steps all give different numbers.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number at position `index` of the SplitMix64 sequence that begins with the scattered seed. No number comes twice
/// in a sequence. See <https://doi.org/10.1145/2714064.2660195>.
fn of_task(seed: u64, index: u64) -> u64 {
    scatter(scatter(seed.wrapping_add(STEP)).wrapping_add(index.wrapping_add(1).wrapping_mul(STEP)))
}

/// Seeds for those calls of a pool that are not given one.
#[derive(Debug)]
pub(crate) struct Seeds(AtomicU64);

impl Seeds {
    pub(crate) fn new(random: u64) -> Self {
        Self(AtomicU64::new(random))
    }

    pub(crate) fn next(&self) -> u64 {
        scatter(self.0.fetch_add(STEP, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn seeds_stay_as_they_are() {
        // Users rely on these seeds to reproduce earlier results.
        assert_eq!(of_task(0, 0), scatter(scatter(STEP).wrapping_add(STEP)));
        assert_eq!([of_task(7, 0), of_task(7, 1), of_task(8, 0)], FIRST);
    }

    const FIRST: [u64; 3] = [0xb8b4_c297_7eab_ce45, 0xa653_05fd_338e_c8fe, 0x4442_e426_6c0a_c966];

    #[test]
    fn no_two_tasks_have_the_same() {
        let of_call = |seed| (0..1000).map(move |index| of_task(seed, index));
        let all: HashSet<u64> = [0, 1, 7, 8, u64::MAX, STEP].into_iter().flat_map(of_call).collect();
        assert_eq!(all.len(), 6000);
        let seeds = Seeds::new(7);
        let calls: HashSet<u64> = (0..1000).map(|_| seeds.next()).collect();
        assert_eq!(calls.len(), 1000);
    }

    #[test]
    fn each_bit_of_a_seed_and_of_a_place_matters() {
        for bit in 0..64 {
            for (one, other) in
                [(of_task(7, 3), of_task(7 ^ 1 << bit, 3)), (of_task(7, 3), of_task(7, 3 ^ 1 << bit))]
            {
                assert!((12..=52).contains(&(one ^ other).count_ones()), "bit {bit}: {one:x} {other:x}");
            }
        }
    }

    #[test]
    fn a_thread_has_one_while_it_runs_tasks() {
        let seeded = Seeded::new(5);
        seeded.is_at(TaskIndex::new(9));
        assert_eq!(task_seed(), of_task(5, 9));
        drop(seeded);
        assert!(std::panic::catch_unwind(task_seed).is_err());
    }
}
