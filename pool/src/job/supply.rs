//! The supply of a job: the caller's items, some of them in hand.

use std::collections::VecDeque;
use std::iter::Fuse;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::chunk::ItemWriter;
use crate::codec::Codec;
use crate::drive::{ChunkWriter, Feed};
use crate::task::Task;
use crate::wire::Carriage;

/// So many items are taken in hand at most, unless a chunk needs more.
const MOST_IN_HAND: usize = 2048;
/// Taking items in hand stops after about this time, so that a slow input delays nothing that is there.
const PULL_TIME: Duration = Duration::from_micros(50);

pub(super) struct Supply<'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    items: Fuse<I>,
    hand: VecDeque<T::Item<'i>>,
    /// How many items to take in hand next time: it grows while the input is fast.
    batch: usize,
    /// How many items may still be taken from the input.
    left: u64,
    last: bool,
    codec: Codec,
    carriage: Carriage,
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Supply<'i, T, I> {
    pub(super) fn new(items: I, most: u64, codec: Codec, carriage: Carriage) -> Self {
        Self {
            items: items.fuse(),
            hand: VecDeque::new(),
            batch: 1,
            left: most,
            last: most == 0,
            codec,
            carriage,
        }
    }

    /// Takes items in hand: as many as a chunk needs, more while that is quick. Says how long the input took.
    pub(super) fn pull(&mut self, chunk: u64) -> Duration {
        let least = usize::try_from(chunk).unwrap_or(usize::MAX);
        if self.last || self.hand.len() >= least.max(self.batch) {
            return Duration::ZERO;
        }
        let began = Instant::now();
        while !self.last && self.hand.len() < least.max(self.batch) {
            match self.items.next() {
                Some(item) => {
                    self.hand.push_back(item);
                    self.left -= 1;
                }
                None => self.left = 0,
            }
            self.last = self.left == 0;
            if self.hand.len().is_multiple_of(16) && began.elapsed() > PULL_TIME {
                break;
            }
        }
        let took = began.elapsed();
        self.batch =
            if took < PULL_TIME { (self.batch * 2).min(MOST_IN_HAND) } else { (self.batch / 2).max(1) };
        took
    }

    /// Whether another pull could bring something.
    pub(super) fn is_short(&self) -> bool {
        self.hand.is_empty() && !self.last
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Feed for Supply<'i, T, I> {
    fn in_hand(&self) -> u64 {
        self.hand.len() as u64
    }

    fn is_last(&self) -> bool {
        self.last
    }

    fn write_next(&mut self, out: &mut ChunkWriter<'_>) -> Result<(), String> {
        let Some(item) = self.hand.pop_front() else { return Err("there is no item".into()) };
        encode::<T>(self.codec, self.carriage, &item, out)
    }
}

/// Writes an item. A panic of its `Serialize` is an error like any other.
pub(super) fn encode<T: Task>(
    codec: Codec,
    _carriage: Carriage,
    item: &T::Item<'_>,
    out: &mut impl ItemWriter,
) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| T::encode(codec, item, out))) {
        Ok(encoded) => encoded,
        Err(_) => Err("its `Serialize` implementation panicked".into()),
    }
}
