//! The input of a call: the caller's iterator, and items that were pulled from it ahead of time.

use std::collections::VecDeque;
use std::iter::Fuse;
use std::time::{Duration, Instant};

use crate::codec::Codec;
use crate::codec::ItemWriter;
use crate::task::Task;
use crate::unwind;
use crate::work::{ChunkWriter, Feed, Unwritten};

/// At most this many items are buffered, unless a chunk needs more.
const MOST_BUFFERED: usize = 2048;
/// Pulling stops after about this time, so that a slow input does not delay work and results that are there already.
const PULL_TIME: Duration = Duration::from_micros(50);

pub(super) struct InputBuffer<'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    items: Fuse<I>,
    buffer: VecDeque<T::Item<'i>>,
    /// How many items to buffer at the next pull: grows while the input is fast.
    batch: usize,
    /// How many items were pulled from the input, and how many more may be.
    pulled: u64,
    left: u64,
    last: bool,
    codec: Codec,
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> InputBuffer<'i, T, I> {
    pub(super) fn new(items: I, most: u64, codec: Codec) -> Self {
        Self {
            items: items.fuse(),
            buffer: VecDeque::new(),
            batch: 1,
            pulled: 0,
            left: most,
            last: most == 0,
            codec,
        }
    }

    /// Buffers items: at least a chunk of them, more while the input is fast. Returns how long the input took.
    pub(super) fn pull(&mut self, chunk: u64) -> Duration {
        let least = usize::try_from(chunk).unwrap_or(usize::MAX);
        let enough = least.max(self.batch);
        if self.last || self.buffer.len() >= enough {
            return Duration::ZERO;
        }
        let began = Instant::now();
        // Batches are large only while the input is fast: then one look at the clock does for several items.
        let step = (self.batch / 32).max(1);
        let mut took = Duration::ZERO;
        while !self.last && self.buffer.len() < enough && took <= PULL_TIME {
            let before = self.buffer.len();
            let wanted = self.left.min(step.min(enough - before) as u64);
            self.buffer.extend(self.items.by_ref().take(wanted as usize));
            let got = (self.buffer.len() - before) as u64;
            self.pulled += got;
            self.left = if got < wanted { 0 } else { self.left - got };
            self.last = self.left == 0;
            took = began.elapsed();
        }
        self.batch =
            if took < PULL_TIME { (self.batch * 2).min(MOST_BUFFERED) } else { (self.batch / 2).max(1) };
        took
    }

    /// Returns how many items the input has, once that is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.last.then_some(self.pulled)
    }

    /// Returns whether the buffer is empty and another pull may bring items.
    pub(super) fn needs_pull(&self) -> bool {
        self.buffer.is_empty() && !self.last
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Feed for InputBuffer<'i, T, I> {
    fn buffered(&self) -> u64 {
        self.buffer.len() as u64
    }

    fn is_last(&self) -> bool {
        self.last
    }

    fn write(&mut self, most: u64, out: &mut ChunkWriter<'_>) -> (u32, Option<Unwritten>) {
        let Self { buffer, codec, .. } = self;
        let (front, back) = buffer.as_slices();
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let mut count = 0;
        if let (Some(front), Some(back)) = (codec.plain_all(front), codec.plain_all(back)) {
            let len = size_of::<T::Item<'i>>();
            for numbers in [front, back] {
                let wanted = numbers.len().min((most - count) * len);
                count += out.numbers(len as u8, &numbers[..wanted]);
            }
            buffer.drain(..count);
            return (count as u32, None);
        }
        let written = catch_panic(|| {
            for item in front.iter().chain(back).take(most) {
                if !out.item(|out| T::encode(*codec, item, out))? {
                    return Ok(Some(Unwritten::TooLarge));
                }
                count += 1;
            }
            Ok(None)
        });
        let halt = written.unwrap_or_else(|why| Some(Unwritten::Failed(why)));
        // An item that ended the chunk leaves the buffer, too.
        buffer.drain(..count + usize::from(halt.is_some()));
        (count as u32, halt)
    }
}

/// Encodes a single item.
pub(super) fn encode<T: Task>(
    codec: Codec,
    item: &T::Item<'_>,
    out: &mut impl ItemWriter,
) -> Result<(), String> {
    catch_panic(|| T::encode(codec, item, out))
}

/// Turns a panic of `Serialize` into an error like any other.
fn catch_panic<R>(encode: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    unwind::catch(encode).unwrap_or_else(|_| Err("its `Serialize` implementation panicked".into()))
}
