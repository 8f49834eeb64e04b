//! The items of a call on their way to workers. The caller encodes them, into memory of the call's own and outside any
//! lock, because that runs the user's code. From then on they are bytes, which whoever drives the pool copies into
//! lanes.

use std::collections::VecDeque;
use std::io::{self, Write};

use crate::codec::{ItemWriter, try_grow};
use crate::wire::{ChunkHead, ITEM_HEAD, Packing};

use super::lent::LentItem;

/// An item longer than this is kept in a vector of its own and sent alone. A copy of it between vectors would cost more
/// than the order.
pub(super) const LARGE_ITEM: usize = 64 << 10;
/// From this many bytes on, a call waits with more items: enough for several large orders to each of many workers.
pub(crate) const MUCH: usize = 4 << 20;
/// At most this much memory is kept for later items once all are sent.
const MOST_SPARE: usize = 1 << 20;

/// Encoded items, in input order.
#[derive(Debug, Default)]
pub(crate) struct Items {
    /// Items one after the other, packed as in a chunk.
    tape: Vec<u8>,
    packing: Packing,
    /// Where the first item that was not taken begins on the tape, and where the last complete one ends.
    start: usize,
    end: usize,
    /// How many items were ever added, and how many were taken again.
    added: u64,
    taken: u64,
    /// The items that are not on the tape, each with the number of items that were added before it.
    apart: VecDeque<(u64, Apart)>,
    apart_bytes: usize,
    /// The last item was large.
    are_large: bool,
}

/// An item that is not on the tape.
#[derive(Debug)]
pub(crate) enum Apart {
    /// A large one.
    Large(Vec<u8>),
    /// One that could not be encoded, and why.
    Failed(String),
}

/// How much of what a call has submitted was not sent yet.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unsent {
    pub(crate) items: u64,
    pub(crate) bytes: usize,
}

impl Items {
    pub(crate) fn len(&self) -> u64 {
        self.added - self.taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.added == self.taken
    }

    /// How many bytes the items take.
    pub(crate) fn bytes(&self) -> usize {
        self.end - self.start + self.apart_bytes
    }

    // ---- adding ----

    /// Adds numbers that follow each other, each `len` bytes long. A call of numbers has no other items.
    pub(crate) fn add_numbers(&mut self, len: u8, numbers: &[u8]) {
        let count = (numbers.len() / usize::from(len)) as u64;
        self.packing = Packing::Uniform(len);
        match try_grow(&mut self.tape, numbers.len()) {
            Ok(()) => {
                self.tape.extend_from_slice(numbers);
                self.end = self.tape.len();
                self.added += count;
            }
            Err(why) => (0..count).for_each(|_| self.add_failed(why.clone())),
        }
    }

    /// Adds the item that `write` encodes. One that cannot be encoded is added, too, with the reason. If `write`
    /// panics, nothing is added.
    #[inline]
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut ItemBuffer<'_>) -> Result<(), String>) {
        if self.are_large {
            return self.add_large(write);
        }
        let head = self.end;
        let start = head + ITEM_HEAD;
        self.tape.truncate(head);
        let mut out = ItemBuffer::at_end(&mut self.tape, start);
        let written = match out.append(&[0; ITEM_HEAD]) {
            Ok(()) => write(&mut out),
            Err(error) => Err(error.to_string()),
        };
        match out.finish(written) {
            Ok(None) => {}
            Ok(Some(item)) => return self.add_apart(Ok(item)),
            Err(why) => return self.add_failed(why),
        }
        let len = self.tape.len() - start;
        if len > LARGE_ITEM {
            let item = copied(&self.tape[start..]);
            return self.add_apart(item);
        }
        self.tape[head..start].copy_from_slice(&(len as u32).to_le_bytes());
        self.end = self.tape.len();
        self.added += 1;
    }

    /// Like [`add`](Self::add), after a large item: the next one is likely large, too.
    #[cold]
    fn add_large(&mut self, write: impl FnOnce(&mut ItemBuffer<'_>) -> Result<(), String>) {
        self.tape.truncate(self.end);
        let mut out = ItemBuffer::at_end(&mut self.tape, self.end);
        let item = out.leave_tape(0).map_err(|error| error.to_string()).and_then(|()| {
            let written = write(&mut out);
            out.finish(written)
        });
        self.add_apart(item.map(Option::unwrap_or_default));
    }

    /// Adds a lent item.
    pub(crate) fn add_lent(&mut self, item: &LentItem<'_>) {
        self.add_apart(item.encode_apart());
    }

    fn add_apart(&mut self, item: Result<Vec<u8>, String>) {
        match item {
            Ok(item) => {
                self.are_large = item.len() > LARGE_ITEM;
                self.apart_bytes += item.len();
                self.apart.push_back((self.added, Apart::Large(item)));
                self.added += 1;
            }
            Err(why) => self.add_failed(why),
        }
    }

    /// Adds an item that could not be encoded.
    pub(crate) fn add_failed(&mut self, why: String) {
        self.apart.push_back((self.added, Apart::Failed(why)));
        self.added += 1;
    }

    /// Appends all items of `later` and leaves it empty. Without memory for that, does nothing.
    pub(crate) fn append(&mut self, later: &mut Self) {
        if later.is_empty() {
            return;
        }
        if self.is_empty() {
            self.clear();
            return std::mem::swap(self, later);
        }
        let bytes = &later.tape[later.start..later.end];
        self.tape.truncate(self.end);
        if try_grow(&mut self.tape, bytes.len()).is_err() {
            return;
        }
        self.tape.extend_from_slice(bytes);
        (self.end, self.packing) = (self.tape.len(), later.packing);
        let before = self.added - later.taken;
        self.apart.extend(later.apart.drain(..).map(|(at, apart)| (before + at, apart)));
        self.apart_bytes += later.apart_bytes;
        self.added += later.len();
        later.clear();
    }

    /// Removes all items, and frees the memory of many.
    pub(crate) fn clear(&mut self) {
        self.tape.clear();
        self.tape.shrink_to(MOST_SPARE);
        self.apart.clear();
        (self.start, self.end, self.apart_bytes) = (0, 0, 0);
        (self.added, self.taken) = (0, 0);
    }

    // ---- taking ----

    /// The length of the next item if that is a large one.
    pub(crate) fn large_len(&self) -> Option<usize> {
        match self.apart.front()? {
            (at, Apart::Large(item)) if *at == self.taken => Some(item.len()),
            _ => None,
        }
    }

    /// The next item, if it is not on the tape.
    pub(crate) fn take_apart(&mut self) -> Option<Apart> {
        self.apart.front().filter(|(at, _)| *at == self.taken)?;
        let (_, apart) = self.apart.pop_front()?;
        if let Apart::Large(item) = &apart {
            self.apart_bytes -= item.len();
        }
        self.finish_taking(0, 1);
        Some(apart)
    }

    /// How many bytes the next item takes in a chunk; 0 if it is not on the tape.
    pub(crate) fn next_len(&self) -> usize {
        self.run(1).1
    }

    /// How many bytes the next `count` items take in a chunk, as far as they are on the tape.
    pub(crate) fn len_of(&self, count: u64) -> usize {
        self.run(count).1
    }

    /// Copies the next items on the tape into a chunk with this head, at most `most` of them and only those that fit
    /// into `out`. Returns how many were copied, and how long the chunk is.
    pub(crate) fn take_run(&mut self, most: u64, head: ChunkHead, out: &mut [u8]) -> (u32, usize) {
        let (mut count, mut len) = self.run(most);
        let room = out.len() - ChunkHead::BYTES;
        if len > room {
            (count, len) = self.run_within(count, room);
        }
        let head = ChunkHead { count: count as u32, packing: self.packing, ..head };
        let end = ChunkHead::BYTES + len;
        out[..ChunkHead::BYTES].copy_from_slice(&head.to_bytes());
        out[ChunkHead::BYTES..end].copy_from_slice(&self.tape[self.start..][..len]);
        self.finish_taking(len, count);
        (count as u32, end)
    }

    /// Removes the next item on the tape and returns a copy; an error if there is no memory for it.
    pub(crate) fn take_alone(&mut self) -> Result<Vec<u8>, String> {
        let len = self.next_len();
        let head = if self.packing == Packing::Prefixed { ITEM_HEAD } else { 0 };
        let item = copied(&self.tape[self.start..][head..len]);
        self.finish_taking(len, 1);
        item
    }

    /// The number and the length of the next items on the tape: at most `most`, and none after one that is not there.
    fn run(&self, most: u64) -> (u64, usize) {
        let until = self.apart.front().map_or(self.added, |(at, _)| *at);
        let most = most.min(until - self.taken).min(u64::from(u32::MAX));
        match self.packing {
            Packing::Uniform(len) => (most, most as usize * usize::from(len)),
            _ => self.walk(most, usize::MAX),
        }
    }

    /// Like [`run`](Self::run), with at most `room` bytes.
    fn run_within(&self, most: u64, room: usize) -> (u64, usize) {
        match self.packing {
            Packing::Uniform(len) => {
                let count = most.min((room / usize::from(len)) as u64);
                (count, count as usize * usize::from(len))
            }
            _ => self.walk(most, room),
        }
    }

    fn walk(&self, most: u64, room: usize) -> (u64, usize) {
        let tape = &self.tape[self.start..self.end];
        let (mut count, mut end) = (0, 0);
        while count < most {
            let Some(head) = tape[end..].first_chunk::<ITEM_HEAD>() else { break };
            let next = end + ITEM_HEAD + u32::from_le_bytes(*head) as usize;
            if next > room {
                break;
            }
            (count, end) = (count + 1, next);
        }
        (count, end)
    }

    fn finish_taking(&mut self, len: usize, count: u64) {
        self.start += len;
        self.taken += count;
        if self.is_empty() {
            self.clear();
        }
    }
}

/// A copy, if there is memory for it.
fn copied(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut copy = Vec::new();
    try_grow(&mut copy, bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// The end of the tape, where an item is encoded. One that outgrows the tape goes on in a vector of its own.
pub(crate) struct ItemBuffer<'t> {
    /// The tape, or the item's vector.
    bytes: &'t mut Vec<u8>,
    /// Where the item begins.
    start: usize,
    /// The tape, while the item is in a vector of its own.
    tape: Option<Vec<u8>>,
    /// Why a write has failed, if one has.
    refusal: Option<String>,
}

impl<'t> ItemBuffer<'t> {
    fn at_end(tape: &'t mut Vec<u8>, start: usize) -> Self {
        Self { bytes: tape, start, tape: None, refusal: None }
    }

    /// What became of the item: it is on the tape, or in this vector. A `Serialize` impl, or a codec, may have replaced
    /// the error of a write.
    fn finish(mut self, written: Result<(), String>) -> Result<Option<Vec<u8>>, String> {
        match self.refusal.take() {
            Some(why) => Err(why),
            None => written.map(|()| self.return_to_tape()),
        }
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.bytes.capacity() - self.bytes.len() {
            self.grow(bytes.len())?;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    #[cold]
    fn grow(&mut self, by: usize) -> io::Result<()> {
        if self.tape.is_none() && self.bytes.len() - self.start.min(self.bytes.len()) + by > LARGE_ITEM {
            return self.leave_tape(by);
        }
        try_grow(self.bytes, by).map_err(|why| self.refuse(why))
    }

    /// Goes on in a vector with room for `by` more bytes.
    fn leave_tape(&mut self, by: usize) -> io::Result<()> {
        let mut item = Vec::new();
        try_grow(&mut item, self.bytes.len() - self.start + by).map_err(|why| self.refuse(why))?;
        item.extend_from_slice(&self.bytes[self.start..]);
        self.tape = Some(std::mem::replace(self.bytes, item));
        self.start = 0;
        Ok(())
    }

    /// Puts the tape back, and returns the item if it is not on that.
    fn return_to_tape(&mut self) -> Option<Vec<u8>> {
        self.tape.take().map(|tape| std::mem::replace(self.bytes, tape))
    }

    fn refuse(&mut self, why: String) -> io::Error {
        self.refusal = Some(why.clone());
        io::Error::new(io::ErrorKind::OutOfMemory, why)
    }
}

impl Drop for ItemBuffer<'_> {
    fn drop(&mut self) {
        self.return_to_tape();
    }
}

impl ItemWriter for ItemBuffer<'_> {
    fn address_of_next(&self, len: usize) -> usize {
        let written = self.bytes.len() - self.start;
        // The address in a chunk if the item is the first one, or in a vector of its own.
        let is_on_tape = self.tape.is_none() && len <= LARGE_ITEM;
        if is_on_tape { ChunkHead::BYTES + ITEM_HEAD + written } else { written }
    }
}

impl Write for ItemBuffer<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TaskIndex;
    use crate::wire::{ExecFlags, Folding};

    const HEAD: ChunkHead = ChunkHead {
        task: 1,
        profile: None,
        first: TaskIndex::new(0),
        count: 0,
        flags: ExecFlags {
            timed: false,
            watched: false,
            folding: Folding::Off,
            claim: 0,
            seed: 0,
            constant: false,
        },
        packing: Packing::Prefixed,
    };

    fn add(items: &mut Items, bytes: &[u8]) {
        items.add(|out| out.write_all(bytes).map_err(|error| error.to_string()));
    }

    fn of(all: &[&[u8]]) -> Items {
        let mut items = Items::default();
        all.iter().for_each(|bytes| add(&mut items, bytes));
        items
    }

    /// Takes at most `most` items that fit into a chunk of `len` bytes.
    fn run(items: &mut Items, most: u64, len: usize) -> Vec<Vec<u8>> {
        let mut chunk = vec![0; len];
        let (count, len) = items.take_run(most, HEAD, &mut chunk);
        let (head, items) = ChunkHead::split(&chunk[..len]).unwrap();
        assert_eq!(head.count, count);
        items.take(count as usize).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn items_come_in_order_and_only_those_that_fit() {
        let mut items = of(&[b"a", b"", b"bcd", b"e"]);
        add(&mut items, b"f");
        assert_eq!((items.len(), items.bytes()), (5, 5 * ITEM_HEAD + 6));
        assert_eq!(run(&mut items, 2, 1000), [&b"a"[..], b""]);
        assert_eq!(items.next_len(), ITEM_HEAD + 3);
        assert_eq!(run(&mut items, 9, ChunkHead::BYTES + 2 * ITEM_HEAD + 4), [&b"bcd"[..], b"e"]);
        assert_eq!(items.take_alone().unwrap(), b"f");
        assert!(items.is_empty() && items.bytes() == 0);
    }

    #[test]
    fn numbers_have_no_lengths() {
        let mut items = Items::default();
        items.add_numbers(2, &[1, 0, 2, 0, 3, 0]);
        assert_eq!(items.len_of(2), 4);
        assert_eq!(run(&mut items, 9, ChunkHead::BYTES + 5), [[1, 0], [2, 0]]);
        assert_eq!(items.take_alone().unwrap(), [3, 0]);
    }

    #[test]
    fn what_is_apart_keeps_its_place() {
        let large = vec![7; LARGE_ITEM + 1];
        let mut items = of(&[b"a", &large, &large, b"b"]);
        items.add(|_| Err("no".into()));
        add(&mut items, b"c");
        let mut all = of(&[b"0"]);
        all.append(&mut items);
        assert!(items.is_empty() && all.len() == 7);
        assert!(all.take_apart().is_none());
        assert_eq!(run(&mut all, 9, 1000), [b"0", b"a"]);
        for _ in 0..2 {
            assert_eq!(all.next_len(), 0);
            assert!(matches!(all.take_apart(), Some(Apart::Large(item)) if item == large));
        }
        // After large ones, a small one is apart, too.
        assert!(matches!(all.take_apart(), Some(Apart::Large(item)) if item == b"b"));
        assert!(matches!(all.take_apart(), Some(Apart::Failed(why)) if why == "no"));
        assert_eq!(run(&mut all, 9, 1000), [b"c"]);
        assert!(all.is_empty() && all.bytes() == 0);
    }

    #[test]
    fn a_panic_leaves_nothing_of_its_item() {
        let mut items = of(&[b"a"]);
        let panics = |out: &mut ItemBuffer<'_>| -> Result<(), String> {
            out.write_all(b"half").unwrap();
            panic!("in `Serialize`")
        };
        assert!(crate::unwind::catch(|| items.add(panics)).is_err());
        let panics = |out: &mut ItemBuffer<'_>| -> Result<(), String> {
            out.write_all(&vec![7; LARGE_ITEM + 1]).unwrap();
            panic!("in `Serialize`")
        };
        assert!(crate::unwind::catch(|| items.add(panics)).is_err());
        assert_eq!(items.len(), 1);
        items.add_failed("it panicked".into());
        add(&mut items, b"b");
        assert_eq!(run(&mut items, 9, 1000), [b"a"]);
        assert!(matches!(items.take_apart(), Some(Apart::Failed(why)) if why == "it panicked"));
        assert_eq!(run(&mut items, 9, 1000), [b"b"]);
    }
}
