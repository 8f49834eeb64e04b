//! The supply of a job: the caller's items, some of them in hand.

use std::collections::VecDeque;
use std::iter::Fuse;
use std::time::{Duration, Instant};

use crate::codec::Codec;
use crate::codec::ItemWriter;
use crate::task::Task;
use crate::unwind;
use crate::work::{ChunkWriter, Feed, Unwritten};

/// So many items are taken in hand at most, unless a chunk needs more.
const MOST_IN_HAND: usize = 2048;
/// Taking items in hand stops after about this time, so that a slow input delays nothing that is there.
const PULL_TIME: Duration = Duration::from_micros(50);

pub(super) struct InputBuffer<'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    items: Fuse<I>,
    hand: VecDeque<T::Item<'i>>,
    /// How many items to take in hand next time: it grows while the input is fast.
    batch: usize,
    /// How many items were taken from the input, and how many more may be.
    taken: u64,
    left: u64,
    last: bool,
    codec: Codec,
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> InputBuffer<'i, T, I> {
    pub(super) fn new(items: I, most: u64, codec: Codec) -> Self {
        Self {
            items: items.fuse(),
            hand: VecDeque::new(),
            batch: 1,
            taken: 0,
            left: most,
            last: most == 0,
            codec,
        }
    }

    /// Takes items in hand: as many as a chunk needs, more while that is quick. Says how long the input took.
    pub(super) fn pull(&mut self, chunk: u64) -> Duration {
        let least = usize::try_from(chunk).unwrap_or(usize::MAX);
        let enough = least.max(self.batch);
        if self.last || self.hand.len() >= enough {
            return Duration::ZERO;
        }
        let began = Instant::now();
        // A batch grows as long as its input is quick, so the clock is asked once for several items.
        let step = (self.batch / 32).max(1);
        let mut took = Duration::ZERO;
        while !self.last && self.hand.len() < enough && took <= PULL_TIME {
            let before = self.hand.len();
            let wanted = self.left.min(step.min(enough - before) as u64);
            self.hand.extend(self.items.by_ref().take(wanted as usize));
            let pulled = (self.hand.len() - before) as u64;
            self.taken += pulled;
            self.left = if pulled < wanted { 0 } else { self.left - pulled };
            self.last = self.left == 0;
            took = began.elapsed();
        }
        self.batch =
            if took < PULL_TIME { (self.batch * 2).min(MOST_IN_HAND) } else { (self.batch / 2).max(1) };
        took
    }

    /// How many items there are, once that is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.last.then_some(self.taken)
    }

    /// Whether another pull could bring something.
    pub(super) fn is_short(&self) -> bool {
        self.hand.is_empty() && !self.last
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Feed for InputBuffer<'i, T, I> {
    fn buffered(&self) -> u64 {
        self.hand.len() as u64
    }

    fn is_last(&self) -> bool {
        self.last
    }

    fn write(&mut self, most: u64, out: &mut ChunkWriter<'_>) -> (u32, Option<Unwritten>) {
        let Self { hand, codec, .. } = self;
        let (front, back) = hand.as_slices();
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(hand.len());
        let mut count = 0;
        if let (Some(front), Some(back)) = (codec.plain_all(front), codec.plain_all(back)) {
            let len = size_of::<T::Item<'i>>();
            for numbers in [front, back] {
                let wanted = numbers.len().min((most - count) * len);
                count += out.numbers(len as u8, &numbers[..wanted]);
            }
            hand.drain(..count);
            return (count as u32, None);
        }
        let written = catching(|| {
            for item in front.iter().chain(back).take(most) {
                if !out.item(|out| T::encode(*codec, item, out))? {
                    return Ok(Some(Unwritten::TooLarge));
                }
                count += 1;
            }
            Ok(None)
        });
        let halt = written.unwrap_or_else(|why| Some(Unwritten::Failed(why)));
        // One that ended the chunk is out of hand, too.
        hand.drain(..count + usize::from(halt.is_some()));
        (count as u32, halt)
    }
}

/// Encodes an item by itself.
pub(super) fn encode<T: Task>(
    codec: Codec,
    item: &T::Item<'_>,
    out: &mut impl ItemWriter,
) -> Result<(), String> {
    catching(|| T::encode(codec, item, out))
}

/// A panic of an item's `Serialize` is an error like any other.
fn catching<R>(encode: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    unwind::catch(encode).unwrap_or_else(|_| Err("its `Serialize` implementation panicked".into()))
}
