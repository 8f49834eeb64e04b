//! The primitives of a lane while the model checker runs it: one thread at a time, in every possible order.
#![allow(unsafe_code, reason = "models memory that two processes share")]

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::sync::atomic::AtomicU64;
use loom::sync::{Condvar, Mutex};

use crate::lane::{RING_BYTES, ring};
use crate::sys::mapping::Mapping;
use crate::sys::waker;

/// The memory of one direction, as one end sees it.
#[derive(Debug, Clone)]
pub(in crate::lane) struct Half {
    control: Arc<dyn Any + Send + Sync>,
    ring: Span,
}

impl Half {
    /// Memory that begins with this control block.
    pub(in crate::lane) fn new(control: impl Any + Send + Sync) -> Self {
        Self { control: Arc::new(control), ring: Span::new(RING_BYTES) }
    }

    /// The same memory, as a side with this life sees it.
    pub(in crate::lane) fn seen_by(&self, life: &Life) -> Self {
        Self { control: self.control.clone(), ring: self.ring.seen_by(life) }
    }

    /// A model's memory is not a mapping.
    pub(in crate::lane) fn over(_mapping: Mapping) -> Self {
        unreachable!("no model opens a lane")
    }

    /// # Safety
    /// None: the type of the control block is checked.
    pub(in crate::lane) unsafe fn control_block<Block: 'static>(&self) -> &Block {
        self.ring.life.step();
        self.control.downcast_ref().expect("the half begins with another control block")
    }

    /// # Safety
    /// None: the span shares the half's memory.
    pub(in crate::lane) unsafe fn ring(&self) -> Span {
        self.ring.clone()
    }
}

/// The memory of a ring, twice: its words as atomics that the checker knows, and its bytes.
///
/// The checker is told of plain accesses too. A plain write is an exclusive access to each of its words, and leaves a
/// value there that is no header. A plain read is an access with which no store may race. So the checker finds two
/// sides that use one place at once, and a side that reads a header where a payload was.
#[derive(Debug)]
struct Memory {
    words: Vec<UnsafeCell<AtomicU64>>,
    bytes: Vec<UnsafeCell<u64>>,
}

// SAFETY: the checker runs its threads one at a time.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// The value that a side finds if it takes a payload for a header.
const NO_HEADER: u64 = u64::MAX;

#[derive(Debug, Clone)]
pub(in crate::lane) struct Span {
    memory: Arc<Memory>,
    pub(in crate::lane) len: u32,
    life: Life,
}

impl Span {
    pub(in crate::lane) fn new(len: u32) -> Self {
        let words = (0..len / ring::WORD).map(|_| UnsafeCell::new(AtomicU64::new(0))).collect();
        let bytes = (0..len / ring::WORD).map(|_| UnsafeCell::new(0)).collect();
        Self { memory: Arc::new(Memory { words, bytes }), len, life: Life::endless() }
    }

    /// All of it has memory.
    pub(in crate::lane) fn backed(&self) -> u32 {
        self.len
    }

    pub(in crate::lane) fn back(&self, _from: u32, _to: u32) -> bool {
        true
    }

    /// The bytes become zeros, which no other side may see happen.
    pub(in crate::lane) fn give_back(&self, from: u32, to: u32) {
        self.life.step();
        for word in self.plain(from.min(to), to.saturating_sub(from)) {
            // SAFETY: no other thread runs meanwhile; the checker fails if one is about to access this word.
            unsafe { (*word.get()).with_mut(|word| *word = 0) };
        }
    }

    /// The same memory, as a side with this life sees it.
    pub(in crate::lane) fn seen_by(&self, life: &Life) -> Self {
        Self { life: life.clone(), ..self.clone() }
    }

    pub(in crate::lane) fn header(&self, offset: u32) -> &AtomicU64 {
        assert!(offset.is_multiple_of(ring::WORD));
        self.life.step();
        // SAFETY: the only exclusive references are those of `note_write`. Each lasts for one call of the checker,
        // during which no other thread runs.
        unsafe { &*self.memory.words[(offset / ring::WORD) as usize].get() }
    }

    pub(in crate::lane) fn put_word(&self, offset: u32, word: u64) {
        self.note_write(offset, ring::WORD);
        // SAFETY: the word lies within the bytes, and no other thread runs meanwhile; the checker fails if one is about
        // to access it.
        unsafe { *self.memory.bytes[(offset / ring::WORD) as usize].get() = word.to_le() };
    }

    pub(in crate::lane) fn at(&self, offset: u32) -> *mut u8 {
        assert!(offset <= self.len);
        // SAFETY: the offset lies within the bytes.
        unsafe { self.memory.bytes.as_ptr().cast::<u8>().add(offset as usize).cast_mut() }
    }

    pub(in crate::lane) fn note_read(&self, offset: u32, len: u32) {
        self.life.step();
        for word in self.plain(offset, len) {
            // SAFETY: no other thread runs meanwhile; the checker fails if one is about to store here.
            unsafe { (*word.get()).unsync_load() };
        }
    }

    pub(in crate::lane) fn note_write(&self, offset: u32, len: u32) {
        self.life.step();
        for word in self.plain(offset, len) {
            // SAFETY: no other thread runs meanwhile; the checker fails if one is about to access this word.
            unsafe { (*word.get()).with_mut(|word| *word = NO_HEADER) };
        }
    }

    fn plain(&self, offset: u32, len: u32) -> &[UnsafeCell<AtomicU64>] {
        &self.memory.words[(offset / ring::WORD) as usize..(offset + len).div_ceil(ring::WORD) as usize]
    }
}

/// How many accesses to shared memory a side has left. After the last it dies before the next one, by a panic that the
/// model catches, and cleans nothing up.
#[derive(Debug, Clone)]
pub(in crate::lane) struct Life(Arc<AtomicUsize>);

/// The panic that is a death.
struct Died;

impl Life {
    pub(in crate::lane) fn of(accesses: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(accesses)))
    }

    pub(in crate::lane) fn endless() -> Self {
        Self::of(usize::MAX)
    }

    /// Does this work, or dies on the way. Returns whether it died.
    pub(in crate::lane) fn ends_in(work: impl FnOnce()) -> bool {
        let worked = catch_unwind(AssertUnwindSafe(work));
        worked.is_err_and(|panic| panic.is::<Died>() || resume_unwind(panic))
    }

    fn step(&self) {
        let left = self.0.load(Ordering::Relaxed);
        if left == 0 {
            resume_unwind(Box::new(Died));
        }
        self.0.store(left - 1, Ordering::Relaxed);
    }
}

/// The parent's poll set: its eventfd, which stays readable until the sleeper reads it, and the worker's end, which
/// stays.
#[derive(Debug, Clone)]
pub(in crate::lane) struct ParentWaker(Arc<(Mutex<Poll>, Condvar)>);

#[derive(Debug, Default, Clone, Copy)]
struct Poll {
    woken: bool,
    ended: bool,
}

impl From<waker::ParentWaker> for ParentWaker {
    fn from(_: waker::ParentWaker) -> Self {
        unreachable!("no model opens a lane")
    }
}

impl ParentWaker {
    pub(in crate::lane) fn new_model() -> Self {
        Self(Arc::new((Mutex::new(Poll::default()), Condvar::new())))
    }

    #[must_use]
    pub(in crate::lane) fn wake(&self) -> bool {
        self.change(|poll| poll.woken = true);
        true
    }

    /// The worker has ended: its pidfd is readable.
    pub(in crate::lane) fn end(&self) {
        self.change(|poll| poll.ended = true);
    }

    fn change(&self, change: impl FnOnce(&mut Poll)) {
        let (poll, changed) = &*self.0;
        change(&mut poll.lock().expect("no thread of a model panics with it"));
        changed.notify_one();
    }

    /// Sleeps until it is woken or the worker has ended. Returns whether the worker has ended. There is no time limit,
    /// so a lost wake-up is a deadlock.
    pub(in crate::lane) fn sleep(&self) -> bool {
        let (poll, changed) = &*self.0;
        let mut poll = poll.lock().expect("no thread of a model panics with it");
        while !poll.woken && !poll.ended {
            poll = changed.wait(poll).expect("no thread of a model panics with it");
        }
        poll.woken = false;
        poll.ended
    }
}

/// The futex. As in the kernel, one lock covers the comparison of the word and falling asleep.
pub(in crate::lane) mod futex {
    use std::ops::Deref;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use loom::sync::atomic::AtomicU32;
    use loom::sync::{Condvar, Mutex};

    #[derive(Debug, Default)]
    pub(in crate::lane) struct Word {
        word: AtomicU32,
        queue: Mutex<()>,
        woken: Condvar,
    }

    impl Deref for Word {
        type Target = AtomicU32;

        fn deref(&self) -> &AtomicU32 {
            &self.word
        }
    }

    /// Sleeps while the word is `seen`. There is no time limit, so a lost wake-up is a deadlock.
    pub(in crate::lane) fn wait(word: &Word, seen: u32, _limit: Option<Duration>) {
        let queue = word.queue.lock().expect("no thread of a model panics with it");
        if word.load(Ordering::Relaxed) == seen {
            drop(word.woken.wait(queue).expect("no thread of a model panics with it"));
        }
    }

    /// Wakes a sleeper on the word.
    pub(in crate::lane) fn wake_one(word: &Word) {
        let queue = word.queue.lock().expect("no thread of a model panics with it");
        word.woken.notify_one();
        drop(queue);
    }
}
