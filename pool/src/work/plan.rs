//! How the tasks of a call are to be carried out: counts, never values.

use crate::ids::ProfileId;

/// What a job asks for.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The worker state that its tasks run on, once the engine has numbered it.
    pub(crate) profile: Option<ProfileId>,
    pub(crate) chunking: Chunking,
    /// How many tasks may be under way: with workers, or as results that the caller has not taken.
    pub(crate) max_active: Option<u64>,
    /// How many bytes of results that the caller has not taken there may be, before no more tasks are begun.
    pub(crate) max_held_bytes: Option<u64>,
    /// How many tasks a worker does before a fresh one takes its place.
    pub(crate) lifespan: Option<u64>,
    /// How many times a task is run again after its worker died in it.
    pub(crate) retries: u32,
    /// The first failed task ends the job.
    pub(crate) fail_fast: bool,
    pub(crate) task_limit_ns: Option<u64>,
    pub(crate) init_limit_ns: Option<u64>,
    pub(crate) exit_limit_ns: Option<u64>,
    /// How many items the input has, if that is known.
    pub(crate) total: Option<u64>,
}

/// How tasks are cut into chunks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Chunking {
    /// By time: small at first, then as many as the window holds, smaller towards the end.
    Adaptive,
    /// All of one size.
    Size(u64),
    /// So many chunks, with sizes that differ by one at most: each end is the exact share, rounded up.
    Splits { splits: u64, total: u64 },
}

/// A total in so many parts. The carry is MPIRE's: 10 in 6 parts are 2, 2, 1, 2, 2, 1.
pub(crate) mod splits {
    /// Which part holds this index: at the beginning of one, so many lie before it.
    pub(crate) fn number(splits: u64, total: u64, index: u64) -> u64 {
        (u128::from(index) * u128::from(splits) / u128::from(total.max(1))) as u64
    }

    /// Where that part ends.
    pub(crate) fn end(splits: u64, total: u64, index: u64) -> u64 {
        let next = u128::from(number(splits, total, index)) + 1;
        let end = (next * u128::from(total)).div_ceil(u128::from(splits)) as u64;
        end.max(index + 1)
    }
}

impl Plan {
    /// How many tasks a worker may claim at once; 0 for any number. Where the caller says how large a chunk is, no more
    /// tasks than that wait behind each other.
    pub(crate) fn most_claimed(&self) -> u16 {
        match self.chunking {
            Chunking::Size(size) => u16::try_from(size).unwrap_or(0),
            Chunking::Adaptive | Chunking::Splits { .. } => 0,
        }
    }

    /// How many items must be in hand for a whole chunk.
    pub(crate) fn whole_chunk(&self) -> u64 {
        match self.chunking {
            Chunking::Adaptive => 1,
            Chunking::Size(size) => size,
            Chunking::Splits { splits, total } => total.div_ceil(splits),
        }
        .min(self.lifespan.unwrap_or(u64::MAX))
        .min(self.max_active.unwrap_or(u64::MAX))
    }
}
