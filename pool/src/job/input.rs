//! The input of a call: the caller's iterator, and the items that were pulled from it ahead of time, encoded. Both run
//! the user's code, so both happen outside any lock.

use std::time::{Duration, Instant};

use super::patience::Patience;
use super::source::Source;
use crate::codec::{Codec, ItemWriter};
use crate::engine::Submission;
use crate::error::Error;
use crate::task::Task;
use crate::unwind;
use crate::work::{Items, LentItem, MUCH, Unsent};

/// At most this many items are pulled ahead, unless a chunk needs more.
const MOST_AHEAD: usize = 2048;
/// Pulling stops after about this time, so that a slow input does not delay work and results that are there already.
const PULL_TIME: Duration = Duration::from_micros(50);

/// How long a call whose input is a channel waits for the one of items and results before it looks at the other: short
/// enough that nobody notices, and long enough that it costs nothing.
const SHORTEST_LULL: Duration = Duration::from_micros(500);
const LONGEST_LULL: Duration = Duration::from_millis(8);

pub(super) struct InputBuffer<'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    source: Source<I>,
    /// Items that were pulled and not encoded yet: none after a pull, or a large one that is to be lent. Kept between
    /// pulls for its memory.
    raw: Vec<T::Item<'i>>,
    /// Items for the engine.
    encoded: Items,
    /// Whether large items are lent: the caller waits for the engine to send them.
    lends: bool,
    /// What the engine had not sent yet after the last turn.
    pub(super) unsent: Unsent,
    /// How many items to pull ahead at the next pull: grows while the input is fast.
    batch: usize,
    /// For an iterator of results: whether to wait for those before the input is asked.
    patience: Option<Patience>,
    /// How long to wait next for a channel that is empty, or for results meanwhile.
    lull: Duration,
    /// How many items were pulled from the input, and how many more may be.
    pulled: u64,
    left: u64,
    last: bool,
    /// How many items the call has room for, if that is limited and one more is an error.
    slots: Option<usize>,
    has_excess: bool,
    codec: Codec,
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> InputBuffer<'i, T, I> {
    pub(super) fn new(source: Source<I>, most: u64, codec: Codec) -> Self {
        Self {
            source,
            raw: Vec::new(),
            encoded: Items::default(),
            lends: false,
            unsent: Unsent::default(),
            batch: 1,
            patience: None,
            lull: SHORTEST_LULL,
            pulled: 0,
            left: most,
            last: most == 0,
            slots: None,
            has_excess: false,
            codec,
        }
    }

    /// The input of a call whose engine has all it needs for its tasks.
    pub(super) fn none(source: Source<I>, codec: Codec) -> Self {
        Self::new(source, 0, codec)
    }

    /// Notes that the engine has this many tasks.
    pub(super) fn expect(&mut self, tasks: u64) {
        self.pulled = tasks;
    }

    /// Makes an item beyond these slots an error.
    pub(super) fn refuse_beyond(&mut self, slots: usize) {
        self.slots = Some(slots);
        // One more item shows that there are too many.
        self.left = self.left.min((slots as u64).saturating_add(1));
    }

    /// An error if there are more items than the call has room for.
    #[inline]
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.slots {
            Some(slots) if self.has_excess => Err(Error::TooFewSlots { slots }),
            _ => Ok(()),
        }
    }

    /// Lends large items to the engine. For a caller that does nothing else until the call is over.
    pub(super) fn lend(&mut self) {
        self.lends = true;
    }

    /// Makes an iterator of results wait for those before the input is asked.
    pub(super) fn be_patient(&mut self) {
        if !self.source.is_channel() {
            self.patience = Some(Patience::new(self.source.size_hint().0 > 0));
        }
    }

    /// How long to wait for results before the input is asked; nothing if it is fast or over.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.patience.as_ref().filter(|patience| !self.last && !patience.trusts()).map(Patience::time)
    }

    /// Notes that no result came in that time.
    pub(super) fn has_waited_in_vain(&mut self) {
        self.patience.iter_mut().for_each(Patience::has_waited_in_vain);
    }

    /// Pulls and encodes items, at most `room`: a chunk of them, and more while the input is fast; all that there is
    /// room for if that is `limited`. Returns how long it took.
    pub(super) fn pull(&mut self, chunk: u64, room: u64, is_limited: bool) -> Duration {
        let is_slow = self.patience.as_ref().is_some_and(|patience| !patience.trusts());
        let most = self.ahead().saturating_add(room);
        let enough = match (is_slow, is_limited) {
            (true, _) => self.ahead().saturating_add(chunk),
            (false, true) => most,
            (false, false) => chunk.max(self.batch as u64),
        };
        let enough = enough.min(most);
        if self.last || self.ahead() >= enough || !self.raw.is_empty() {
            return Duration::ZERO;
        }
        if self.pulled == 0 && self.source.size_hint().1 == Some(1) {
            // Nothing depends on how long the only item takes, and the clock would be a part of the time of `apply`. To
            // ask for a second one tells that there is none.
            self.pull_at_most(2);
            return Duration::ZERO;
        }
        let began = Instant::now();
        // Batches are large only while the input is fast: then one look at the clock does for several items.
        let step = if is_slow { 1 } else { (self.batch as u64 / 32).max(1) };
        let mut took = Duration::ZERO;
        let goes_on = |input: &Self| !input.last && input.ahead() < enough && input.raw.is_empty();
        while goes_on(self) && (took <= PULL_TIME || is_slow) && !self.is_much() {
            let asked = self.patience.as_ref().filter(|_| is_slow).map(Patience::ask);
            let before = self.pulled;
            self.pull_at_most(step.min(enough - self.ahead()));
            took = began.elapsed();
            if self.pulled == before {
                break;
            }
            match (&mut self.patience, asked) {
                (Some(patience), Some(asked)) => patience.answered(&asked),
                (Some(patience), None) => patience.answered_at_once(took),
                (None, _) => {}
            }
        }
        self.batch = match took < PULL_TIME {
            // The next one is likely to be lent, too, and only the last item of a step is.
            _ if !self.raw.is_empty() => 1,
            true => (self.batch * 2).min(MOST_AHEAD),
            false => (self.batch / 2).max(1),
        };
        took
    }

    /// Hands what was pulled to the engine in this turn.
    pub(super) fn submit<R>(&mut self, turn: impl FnOnce(&mut Submission<'_>) -> R) -> R {
        let is_silent = self.is_silent();
        let Self { raw, encoded, codec, last, .. } = self;
        let lent = raw.last().and_then(|item| Some((item, T::plain_len(*codec, item)?)));
        let encode = lent.map(|(item, _)| |mut out: &mut dyn ItemWriter| T::encode(*codec, item, &mut out));
        let lent = lent.zip(encode.as_ref()).map(|((_, most), encode)| LentItem::new(most, encode));
        let mut submission = Submission { items: encoded, lent, is_last: *last, is_silent };
        let result = turn(&mut submission);
        if submission.lent.is_none() {
            raw.clear();
        }
        result
    }

    /// Pulls and encodes all items, and returns them.
    pub(super) fn into_all(mut self) -> Items {
        while !self.last {
            self.pull_at_most(MOST_AHEAD as u64);
        }
        self.encoded
    }

    fn pull_at_most(&mut self, most: u64) {
        let wanted = self.left.min(most);
        let is_over = self.source.take(wanted as usize, &mut self.raw);
        self.take_over(is_over);
    }

    /// Whether the input is a channel, which is not waited for while results may come.
    pub(super) fn is_channel(&self) -> bool {
        self.source.is_channel()
    }

    /// Waits for an item of a channel that is empty, at most this long.
    pub(super) fn wait_for_item(&mut self, limit: Duration) {
        if self.left > 0 {
            let is_over = self.source.wait(limit, &mut self.raw);
            self.take_over(is_over);
        }
    }

    /// How long to wait for an empty channel, or for results, before the other is looked at: longer each time that
    /// nothing comes.
    pub(super) fn next_lull(&mut self) -> Duration {
        let lull = self.lull;
        self.lull = (2 * lull).min(LONGEST_LULL);
        lull
    }

    /// Whether the input is a channel that has given nothing for a while. Its other end may wait for the results of the
    /// items that are there.
    fn is_silent(&self) -> bool {
        self.lull > SHORTEST_LULL
    }

    /// Encodes the items that were pulled, and counts them.
    fn take_over(&mut self, is_over: bool) {
        if self.slots.is_some_and(|slots| self.pulled + self.raw.len() as u64 > slots as u64) {
            self.has_excess = true;
            self.raw.pop();
        }
        let got = self.raw.len() as u64;
        if got > 0 {
            self.lull = SHORTEST_LULL;
            self.encode();
        }
        self.pulled += got;
        self.left = if is_over || self.has_excess { 0 } else { self.left - got };
        self.last = self.left == 0;
    }

    /// Encodes the items that were pulled. A panic of `Serialize` costs the item only. A large one stays as it is, to
    /// be lent.
    fn encode(&mut self) {
        let Self { raw, encoded, codec, lends, .. } = self;
        if let Some(numbers) = codec.plain_all(raw) {
            encoded.add_numbers(size_of::<T::Item<'i>>() as u8, numbers);
            return raw.clear();
        }
        let is_large = |item| T::plain_len(*codec, item).is_some_and(|len| LentItem::LENGTHS.contains(&len));
        let lends = *lends && raw.last().is_some_and(is_large);
        let kept = if lends { raw.pop() } else { None };
        add_all::<T>(*codec, raw, encoded);
        raw.clear();
        raw.extend(kept);
    }

    /// How many items were pulled and not sent.
    fn ahead(&self) -> u64 {
        self.unsent.items + self.encoded.len() + self.raw.len() as u64
    }

    /// Whether these take so many bytes that no more are pulled.
    fn is_much(&self) -> bool {
        self.unsent.bytes + self.encoded.bytes() >= MUCH
    }

    /// How many items were pulled from the input.
    pub(super) fn pulled(&self) -> u64 {
        self.pulled
    }

    /// How many more items the input has, if it knows that.
    pub(super) fn left_if_known(&self) -> Option<usize> {
        let (least, most) = self.source.size_hint();
        let left = (most == Some(least)).then_some(least as u64)?;
        usize::try_from(left.min(self.left)).ok()
    }

    /// Returns how many items the input has, once that is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.last.then_some(self.pulled)
    }

    /// Whether the engine has all items.
    pub(super) fn is_over(&self) -> bool {
        self.last && self.raw.is_empty()
    }

    /// Returns whether fewer items are at hand, and another pull may bring some.
    pub(super) fn lacks(&self, items: u64) -> bool {
        self.ahead() < items && !self.last
    }
}

/// Encodes items. One that cannot be encoded, or whose `Serialize` implementation panics, is added as failed.
pub(super) fn add_all<T: Task>(codec: Codec, items: &[T::Item<'_>], encoded: &mut Items) {
    let mut rest = items.iter();
    while rest.len() > 0 {
        let caught = unwind::catch(|| {
            for item in rest.by_ref() {
                encoded.add(|out| T::encode(codec, item, out));
            }
        });
        if caught.is_err() {
            encoded.add_failed("its `Serialize` implementation panicked".into());
        }
    }
}
