//! The contents of orders and replies: the fixed heads of orders, and a worker's reports.

use serde::{Deserialize, Serialize};

use crate::error::{PanicInfo, ReturnedError, TaskErrorKind};
use crate::ids::{ProfileId, TaskIndex};
use crate::text::{self, AND_SO_ON, LONGEST_SHOWN};

/// The head of a chunk order; the items follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkHead {
    /// The task, by its index in the registry.
    pub(crate) task: u32,
    /// The worker state that the tasks use; 0 for none.
    pub(crate) profile: Option<ProfileId>,
    /// The index of the first item in the job's input.
    pub(crate) first: TaskIndex,
    /// The number of items that follow.
    pub(crate) count: u32,
    /// How the worker runs them.
    pub(crate) flags: ExecFlags,
    pub(crate) packing: Packing,
}

/// How a worker runs the items of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ExecFlags {
    /// The parent wants to know when each task starts.
    pub(crate) timed: bool,
    /// The parent wants to know which tasks are slow.
    pub(crate) watched: bool,
    /// The most tasks that the worker may claim at once; 0 for no limit.
    pub(crate) claim: u16,
    /// The job's seed, from which the seeds of its tasks are made.
    pub(crate) seed: u64,
    pub(crate) folding: Folding,
    /// The tasks need the constant of their call, which the worker has.
    pub(crate) constant: bool,
}

/// What a worker does with the results of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Folding {
    /// It answers each task with its result.
    #[default]
    Off,
    /// It folds the results of consecutive tasks into one value with the task of this index in the registry.
    Results(u32),
    /// Each item is several such values: the job's own task folds them into one.
    Values,
}

/// How the items of a chunk are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Packing {
    /// Each item follows its length, in four bytes.
    #[default]
    Prefixed,
    /// The items follow each other, all of this length, which is not 0.
    Uniform(u8),
    /// The only item came in parts, before this order.
    InParts,
}

impl ChunkHead {
    pub(crate) const BYTES: usize = 36;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let ExecFlags { timed, watched, claim, seed, folding, constant } = self.flags;
        let (in_parts, len) = match self.packing {
            Packing::Prefixed => (false, 0),
            Packing::Uniform(len) => (false, len),
            Packing::InParts => (true, 0),
        };
        let bits = u32::from(timed) | u32::from(in_parts) << 1 | u32::from(watched) << 2;
        let bits = bits | u32::from(folding == Folding::Values) << 3 | u32::from(constant) << 4;
        let bits = bits | u32::from(len) << 8 | u32::from(claim) << 16;
        let fold = if let Folding::Results(reducer) = folding { reducer } else { NONE };
        let [first, seed] = [self.first.number(), seed].map(|long| [long as u32, (long >> 32) as u32]);
        let profile = ProfileId::to_wire(self.profile);
        words_to_bytes([self.task, profile, self.count, bits, first[0], first[1], seed[0], seed[1], fold])
    }

    /// Splits an order into its head and its items.
    pub(crate) fn split(order: &[u8]) -> Option<(Self, Items<'_>)> {
        let ([task, profile, count, bits, longs @ .., fold], bytes): ([_; 9], _) = split_words(order)?;
        let [first, seed] = [[longs[0], longs[1]], [longs[2], longs[3]]]
            .map(|[low, high]| u64::from(low) | u64::from(high) << 32);
        let claim = (bits >> 16) as u16;
        let folding = match (bits & 8 != 0, fold) {
            (true, _) => Folding::Values,
            (false, NONE) => Folding::Off,
            (false, reducer) => Folding::Results(reducer),
        };
        let (timed, watched, constant) = (bits & 1 != 0, bits & 4 != 0, bits & 16 != 0);
        let flags = ExecFlags { timed, watched, claim, seed, folding, constant };
        let packing = match (bits & 2 != 0, (bits >> 8) as u8) {
            (true, _) => Packing::InParts,
            (false, 0) => Packing::Prefixed,
            (false, len) => Packing::Uniform(len),
        };
        let profile = ProfileId::from_wire(profile);
        Some((
            Self { task, profile, first: TaskIndex::new(first), count, flags, packing },
            Items { bytes, packing },
        ))
    }
}

/// The size of the length before an item, in bytes.
pub(crate) const ITEM_HEAD: usize = 4;

/// The items of a chunk, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Items<'c> {
    pub(crate) bytes: &'c [u8],
    packing: Packing,
}

impl<'c> Iterator for Items<'c> {
    type Item = &'c [u8];

    #[inline]
    fn next(&mut self) -> Option<&'c [u8]> {
        let (item, rest) = match self.packing {
            Packing::Uniform(len) => self.bytes.split_at_checked(usize::from(len))?,
            Packing::Prefixed => {
                let (len, rest) = self.bytes.split_first_chunk::<ITEM_HEAD>()?;
                rest.split_at_checked(u32::from_le_bytes(*len) as usize)?
            }
            Packing::InParts => (self.bytes, &[][..]),
        };
        self.bytes = rest;
        Some(item)
    }
}

/// An order to make the state of a profile. The constant of the init function follows, if it takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InitOrder {
    /// The ID by which chunks refer to the state.
    pub(crate) profile: ProfileId,
    /// A task with this state type.
    pub(crate) task: u32,
    /// The init function, if it is not the type's `Default`.
    pub(crate) init: Option<u32>,
    /// The exit function, if there is one.
    pub(crate) exit: Option<u32>,
}

const NONE: u32 = u32::MAX;

impl InitOrder {
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        words_to_bytes([
            ProfileId::to_wire(Some(self.profile)),
            self.task,
            self.init.unwrap_or(NONE),
            self.exit.unwrap_or(NONE),
        ])
    }

    pub(crate) fn split(order: &[u8]) -> Option<(Self, &[u8])> {
        let ([profile, task, init, exit], constant) = split_words(order)?;
        let order = Self {
            profile: ProfileId::from_wire(profile)?,
            task,
            init: (init != NONE).then_some(init),
            exit: (exit != NONE).then_some(exit),
        };
        Some((order, constant))
    }
}

/// An order about the constant of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConstantOrder {
    pub(crate) call: u32,
    pub(crate) action: ConstantAction,
}

/// What to do with the constant of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConstantAction {
    /// Its bytes follow, or came in parts: the worker is to keep it, and the next chunks need it.
    Keep,
    /// The worker has it, and the next chunks need it.
    Use,
    /// The call is over.
    Forget,
}

impl ConstantOrder {
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        words_to_bytes([self.call, self.action as u32])
    }

    pub(crate) fn split(order: &[u8]) -> Option<(Self, &[u8])> {
        let ([call, action], bytes) = split_words(order)?;
        let actions = [ConstantAction::Keep, ConstantAction::Use, ConstantAction::Forget];
        let action = actions.into_iter().find(|known| *known as u32 == action)?;
        Some((Self { call, action }, bytes))
    }
}

fn words_to_bytes<const WORDS: usize, const BYTES: usize>(words: [u32; WORDS]) -> [u8; BYTES] {
    const { assert!(BYTES == 4 * WORDS) };
    let mut bytes = [0; BYTES];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn split_words<const WORDS: usize>(bytes: &[u8]) -> Option<([u32; WORDS], &[u8])> {
    let (head, rest) = bytes.split_at_checked(4 * WORDS)?;
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(head.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    Some((words, rest))
}

/// A worker's report of a failure that it survived.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Failure {
    Panicked(PanicInfo),
    Decode(String),
    Encode(String),
    /// An error that a function returned, and each of its sources.
    Failed(Vec<String>),
}

impl From<ReturnedError> for Failure {
    fn from(error: ReturnedError) -> Self {
        Self::Failed(error.into_texts())
    }
}

impl Failure {
    /// A failure of this crate, not of the user's functions.
    pub(crate) fn of(why: impl Into<String>) -> Self {
        Self::Failed(vec![why.into()])
    }

    /// The failure that a function returned.
    #[cold]
    pub(crate) fn returned(error: impl Into<ReturnedError>) -> Self {
        error.into().into()
    }

    /// Cuts the texts so that the report fits into a record.
    pub(crate) fn cut(self) -> Self {
        match self {
            Self::Panicked(info) => Self::Panicked(info.cut()),
            Self::Decode(why) => Self::Decode(text::cut(why)),
            Self::Encode(why) => Self::Encode(text::cut(why)),
            Self::Failed(texts) => Self::Failed(ReturnedError::from_texts(texts).into_texts()),
        }
    }

    /// The maximum length of its record.
    pub(crate) fn longest(&self) -> usize {
        let texts = match self {
            Self::Panicked(info) => info.len(),
            Self::Decode(why) | Self::Encode(why) => why.len(),
            Self::Failed(texts) => texts.iter().map(|text| text.len() + 8).sum(),
        };
        texts + 64
    }

    /// Cuts the texts so that the report fits into [`ALWAYS_FITS`](crate::lane::ALWAYS_FITS), for when there is no
    /// memory for more.
    pub(crate) fn cut_short(self) -> Self {
        const MOST: usize = 1 << 10;
        let short = |text| text::cut_to(text, MOST);
        match self {
            Self::Panicked(info) => Self::Panicked(info.cut_to(MOST)),
            Self::Decode(why) => Self::Decode(short(why)),
            Self::Encode(why) => Self::Encode(short(why)),
            Self::Failed(texts) => Self::Failed(texts.into_iter().take(4).map(short).collect()),
        }
    }
}

/// A worker's report that a task has failed, and with it a value into which the results of tasks before it were folded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FoldFailure {
    /// How many tasks before the failed one have to run again.
    pub(crate) tasks: u32,
    pub(crate) failure: Failure,
}

/// A worker's report of a slow task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Slow {
    pub(crate) took_ns: u64,
    /// How many tasks before it are not answered: those whose results are folded and not handed over.
    pub(crate) place: u32,
    /// Its argument, if the type is `Debug`.
    pub(crate) argument: Option<String>,
}

impl Slow {
    /// Whether its texts are no longer than a sound worker makes them.
    pub(crate) fn is_short(&self) -> bool {
        self.argument
            .as_ref()
            .is_none_or(|argument| argument.chars().count() <= LONGEST_SHOWN + AND_SO_ON.len())
    }
}

impl From<Failure> for TaskErrorKind {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Panicked(info) => Self::Panicked(info),
            Failure::Decode(why) => Self::Decode(why),
            Failure::Encode(why) => Self::Encode(why),
            Failure::Failed(texts) => Self::Failed(ReturnedError::from_texts(texts)),
        }
    }
}

/// For the fuzzer: reads, as the parent, a worker's report of a failure or of a slow task.
#[cfg(fuzzing)]
pub fn read_any(record: &[u8]) {
    use crate::codec::decode_record;
    use crate::error::TaskError;

    if let Ok(failure) = decode_record::<Failure>(record) {
        let error = TaskError::new("task", 0, 0, 1, None, failure.into());
        assert!(error.to_string().len() <= 20 * record.len() + 1000);
    }
    if let Some(slow) = decode_record::<Slow>(record).ok().filter(Slow::is_short) {
        assert!(slow.argument.is_none_or(|argument| argument.len() <= 1000));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_as_they_went() {
        for (packing, items) in [
            (Packing::Prefixed, &[2, 0, 0, 0, b'h', b'i', 0, 0, 0, 0][..]),
            (Packing::Uniform(2), b"hi"),
            (Packing::InParts, b"hi"),
        ] {
            for (timed, watched, claim, folding) in [
                (false, true, 0, Folding::Off),
                (true, false, u16::MAX, Folding::Results(9)),
                (false, false, 1, Folding::Values),
            ] {
                let flags =
                    ExecFlags { timed, watched, claim, seed: u64::MAX - 5, folding, constant: !timed };
                let first = (1 << 40) + 2;
                let head = ChunkHead {
                    task: 7,
                    profile: Some(ProfileId::at(2)),
                    first: TaskIndex::new(first),
                    count: 900,
                    flags,
                    packing,
                };
                let order = [&head.to_bytes(), items].concat();
                let (split, mut items) = ChunkHead::split(&order).unwrap();
                assert_eq!(split, head);
                assert_eq!(items.next(), Some(&b"hi"[..]));
            }
        }
        for (init, exit) in [(None, None), (Some(4), None), (None, Some(0)), (Some(1), Some(2))] {
            let order = InitOrder { profile: ProfileId::at(1), task: 2, init, exit };
            let bytes = [&order.to_bytes(), &b"hi"[..]].concat();
            assert_eq!(InitOrder::split(&bytes), Some((order, &b"hi"[..])));
        }
        for action in [ConstantAction::Keep, ConstantAction::Use, ConstantAction::Forget] {
            let order = ConstantOrder { call: u32::MAX - 1, action };
            let bytes = [&order.to_bytes(), &b"hi"[..]].concat();
            assert_eq!(ConstantOrder::split(&bytes), Some((order, &b"hi"[..])));
        }
    }

    #[test]
    fn every_failure_fits_in_a_record() {
        let long = || "ü".repeat(crate::lane::PART_BYTES);
        let panic = PanicInfo::new(long(), Some(long()), Some(long()));
        for failure in [
            Failure::Panicked(panic),
            Failure::Decode(long()),
            Failure::Encode(long()),
            Failure::Failed(vec![long(); 100]),
        ] {
            let mut record = Vec::new();
            let failure = failure.cut();
            crate::codec::encode_record(&failure, &mut record).unwrap();
            assert!((1000..=crate::lane::PART_BYTES).contains(&record.len()), "{} bytes", record.len());
            let short = failure.cut_short();
            assert!(
                (1000..=crate::lane::ALWAYS_FITS).contains(&short.longest()),
                "{} bytes",
                short.longest()
            );
        }
    }

    #[test]
    fn no_worker_shows_more_than_this() {
        let slow = |characters| Slow { took_ns: 1, place: 0, argument: Some("ä".repeat(characters)) };
        assert!(slow(203).is_short() && !slow(204).is_short());
        assert!(Slow { took_ns: 1, place: 0, argument: None }.is_short());
    }

    #[test]
    fn short_orders_are_refused() {
        assert!(ChunkHead::split(&[0; 23]).is_none());
        let next = |packing, bytes| Items { bytes, packing }.next();
        assert_eq!(next(Packing::Prefixed, &[9, 0, 0, 0, 1]), None);
        assert_eq!(next(Packing::Prefixed, &[1, 0]), None);
        assert_eq!(next(Packing::Uniform(8), &[1; 7]), None);
    }
}
