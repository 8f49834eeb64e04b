//! A lane: the two-way channel between the parent and one worker.
//!
//! *Orders* go down to the worker, *replies* come up. Each direction has a memory file of its own: a page of words
//! and a [ring] of records. The worker can map the orders' file for reading only, so what the parent has sent stays
//! what it was: arguments are borrowed in place, and orders that a dying worker left behind can be read back. The
//! replies' file belongs to the worker, and the parent believes nothing in it: every word is copied out, then
//! checked, and what no worker writes is [`Corrupt`], the worker's death.
//!
//! **Counting.** Each order is one *unit*, a chunk of `n` tasks is `n` units, and each unit is answered by exactly one
//! reply, a record or a value of a run, in order. So the replies alone tell the parent which orders are done and which
//! part of the ring is free. `started` names the unit that the worker is at: a worker that dies with `started` past its
//! last reply died in that unit.
//!
//! **Recall.** A worker claims units before it runs them, by swapping a new bound into `claim`. The parent takes
//! unclaimed chunks back by setting the `RECALL` bit there: what the word held is what the worker keeps. A worker
//! that sees the bit skips chunks until it meets the `Resume` order, which answers the recall.
//!
//! **Memory.** The files are sparse: a page of theirs takes memory when it is touched first, and when there is none, that
//! is a SIGBUS. So each producer asks the system for the pages before it goes beyond those that it has
//! ([`BACKED_BYTES`] to begin with). Where it gets none, its ring stays as short as it is, and what does not fit there goes
//! in shorter parts.
//!
//! **Sleeping.** Who finds nothing to do says that it sleeps, looks once more, and sleeps: the worker on the futex
//! word `wakeups`, the parent on its poll set. Who has sent something looks whether the other sleeps, and only then
//! makes the system call that wakes it. A worker whose task has closed the descriptor for that says so in `waker_lost`, and
//! takes no more tasks; a parent that sleeps while workers are busy looks for that, and for replies, now and then. Between the store that one side makes and the load of the other's word
//! stands a full fence on both sides, so at least one of them sees the other: no wake-up is lost.
//!
//! All of this is tried by a model checker: see `models`.
#![allow(unsafe_code, reason = "places words and rings in memory that two processes share")]

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

#[cfg_attr(all(loom, test), expect(dead_code, reason = "a model's lane lies in no file"))]
mod memory;
#[cfg(all(loom, test))]
mod models;
mod parent;
mod ring;
mod spin;
mod sync;
mod worker;

pub(crate) use parent::{ParentEnd, Reply};
pub(crate) use ring::{Corrupt, Position, padded};
pub(crate) use spin::Spinner;
pub(crate) use worker::{Order, Responder, WorkerEnd};

use memory::Access;
use sync::{AtomicU32, AtomicU64, Half, fence, futex};

/// The page of words before the ring.
const CONTROL_BYTES: usize = 4096;
/// One direction's ring. Only pages that are used take memory. A model's holds three small records.
const RING_BYTES: u32 = if cfg!(all(loom, test)) { 56 } else { 8 << 20 };
const FILE_BYTES: usize = CONTROL_BYTES + RING_BYTES as usize;

/// What one part of a payload that is larger than a record holds at most. A mebibyte goes in one piece, with what a codec
/// puts around it.
pub(crate) const PART_BYTES: usize = (1 << 20) + (4 << 10);

/// The shortest part of such a payload but the last: a lane that gets no more memory has room for that.
pub(crate) const LEAST_PART: usize = 16 << 10;

/// So much of a ring has memory from the start: twice the hot part, so that a record of half of that fits whenever the
/// ring is empty. More of it is had before it is touched, or is not used.
const BACKED_BYTES: u32 = 128 << 10;

const RECALL: u64 = 1 << 63;

/// The kinds of orders.
pub(crate) mod order {
    pub(crate) const CHUNK: u8 = 1;
    pub(crate) const INIT: u8 = 2;
    pub(crate) const EXIT: u8 = 3;
    pub(crate) const PART: u8 = 4;
    pub(crate) const RESUME: u8 = 5;
}

/// The kinds of replies.
pub(crate) mod reply {
    /// The worker is up; the only reply to no order.
    pub(crate) const READY: u8 = 1;
    /// A task's result, in the parts that came before. Others are values of a run.
    pub(crate) const LARGE_VALUE: u8 = 2;
    /// A task or an init or exit function failed; the worker lives.
    pub(crate) const FAILED: u8 = 3;
    /// An order that gives no value is done.
    pub(crate) const DONE: u8 = 4;
    /// A part of a large value, which was announced; the reply to no order.
    pub(crate) const PART: u8 = 5;
    /// An exit function's value or failure; the reply to no order, the exit order is answered by `DONE`.
    pub(crate) const EXIT_VALUE: u8 = 6;
    pub(crate) const LARGE_EXIT_VALUE: u8 = 7;
    pub(crate) const EXIT_FAILED: u8 = 8;
    /// A part of a large item was taken: its room is free. No unit's reply.
    pub(crate) const PART_TAKEN: u8 = 9;
    /// The task whose answer follows took long. No unit's reply.
    pub(crate) const SLOW: u8 = 10;
    /// A large value comes next, of so many bytes. No unit's reply.
    pub(crate) const ANNOUNCED: u8 = 11;
}

/// What a worker sleeps for.
mod asleep {
    pub(super) const NOT: u32 = 0;
    pub(super) const FOR_ORDERS: u32 = 1;
    pub(super) const FOR_SPACE: u32 = 2;
}

/// The words that the parent writes.
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(all(loom, test), derive(Default))]
struct ParentControlBlock {
    /// Rises when the parent wakes the worker, which sleeps on it.
    wakeups: futex::Word,
    _line0: [u32; 15],
    /// Not zero while the parent sleeps: the number of this sleep.
    sleep_id: AtomicU32,
    /// The unit whose end the sleeping parent wants to hear of.
    wake_at: AtomicU32,
    /// Where the parent has read the replies up to.
    read: AtomicU64,
    /// How long the worker may spin for orders before it sleeps, in nanoseconds.
    spin_ns: AtomicU32,
    /// Not zero when the worker shall stop at once: threads, which can't be killed.
    closed: AtomicU32,
    /// How many bytes the worker may hold between tasks, over what it held after its init; 0 for any number.
    memory_limit: AtomicU64,
    _line1: [u32; 8],
}

/// The words that the worker writes. The parent trusts none of them.
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(all(loom, test), derive(Default))]
struct WorkerControlBlock {
    /// What the worker sleeps on the wakeups for.
    asleep: AtomicU32,
    /// Not zero when the worker can't wake the parent: a task has closed what it did that with.
    waker_lost: AtomicU32,
    _line0: [u32; 14],
    /// The bound of the units that the worker has claimed, and the parent's `RECALL` bit.
    claim: AtomicU64,
    _line1: [u64; 7],
    /// The unit that the worker is at, plus one.
    started: AtomicU32,
    /// The unit whose argument the worker has decoded, plus one.
    decoded: AtomicU32,
    /// When it started that unit, if the chunk asks for it: CLOCK_MONOTONIC in nanoseconds.
    started_at: AtomicU64,
    /// What a task has been taking lately, in nanoseconds.
    pace: AtomicU64,
    _line2: [u64; 5],
    spent: TimeSpent,
    /// How many bytes it held after its init, and how many more it holds now; 0 when nobody wants to know.
    baseline: AtomicU64,
    growth: AtomicU64,
    /// The unit that has panicked, plus one.
    panicked: AtomicU32,
    _line3: [u32; 3],
}

/// What the worker has spent its time on, in nanoseconds.
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(all(loom, test), derive(Default))]
struct TimeSpent {
    waiting: AtomicU64,
    working: AtomicU64,
    init: AtomicU64,
    exit: AtomicU64,
}

/// What a worker spends time on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Activity {
    Waiting,
    Working,
    Init,
    Exit,
}

impl TimeSpent {
    fn of(&self, what: Activity) -> &AtomicU64 {
        match what {
            Activity::Waiting => &self.waiting,
            Activity::Working => &self.working,
            Activity::Init => &self.init,
            Activity::Exit => &self.exit,
        }
    }
}

const _: () = assert!(
    cfg!(all(loom, test)) || size_of::<ParentControlBlock>() == 128 && size_of::<WorkerControlBlock>() == 256
);
const _: () = assert!(cfg!(all(loom, test)) || size_of::<WorkerControlBlock>() <= CONTROL_BYTES);
const _: () = assert!(RING_BYTES.is_multiple_of(ring::WORD));

/// Makes a lane: the parent's end, and the two files, orders first, that the worker's end is made from.
pub(crate) fn open() -> io::Result<(ParentEnd, OwnedFd, OwnedFd)> {
    let down = memory::create("pool orders", FILE_BYTES)?;
    let up = memory::create("pool replies", FILE_BYTES)?;
    for file in [&down, &up] {
        memory::allocate(file, CONTROL_BYTES + BACKED_BYTES as usize)?;
    }
    let end = ParentEnd::new(Half::map(&down, Access::ReadWrite)?, Half::map(&up, Access::ReadWrite)?);
    memory::seal_future_writes(&down)?;
    Ok((end, down, up))
}

/// For the fuzzer: the parent reads a lane whose worker has written this, from the start of its half.
#[cfg(fuzzing)]
pub fn read_any(half: &[u8]) {
    use std::os::unix::fs::FileExt;

    let (mut parent, _down, up) = open().expect("memory for a lane");
    let half = &half[..half.len().min(FILE_BYTES)];
    std::fs::File::from(up).write_all_at(half, 0).expect("the file is that long");
    let mut payloads = Vec::new();
    while let Ok(Some(reply)) = parent.next_reply(&mut payloads, 100) {
        match reply {
            Reply::Record { len, .. } => assert!(len <= payloads.len()),
            Reply::Values { count, len } => assert!(count <= 100 && count * padded(len) <= payloads.len()),
        }
        parent.publish_read();
    }
    let unit = parent.next_unit();
    let _ = (parent.has_reply(), parent.pace_ns(), parent.started_at(), parent.growth(), parent.baseline());
    let _ = (parent.is_running(unit), parent.has_started(unit), parent.has_decoded(unit));
    let _ = parent.has_panicked(unit);
    let _ =
        [Activity::Waiting, Activity::Working, Activity::Init, Activity::Exit].map(|what| parent.spent(what));
    if let Ok(recalled) = parent.recall(unit) {
        assert!(recalled.kept_up_to.wrapping_sub(unit) <= parent.next_unit().wrapping_sub(unit));
    }
}

/// The fence between this side's store and its load of the other side's word; see "Sleeping" above.
pub(crate) fn full_fence() {
    fence(Ordering::SeqCst);
}
