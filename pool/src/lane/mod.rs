#![doc = include_str!("README.md")]
#![allow(unsafe_code, reason = "places atomics and rings in memory that two processes share")]

use std::io;
use std::sync::atomic::Ordering;

#[cfg(all(loom, test))]
mod models;
mod pace;
mod parent;
mod ring;
mod spin;
mod sync;
mod worker;

pub(crate) use parent::{OrderReservation, ParentEnd, Reply};
pub(crate) use ring::{Corrupt, Position, Slots, padded};
pub(crate) use spin::Spinner;
pub(crate) use worker::{Order, Responder, WorkerEnd, WorkerSide};

use crate::sys::mapping::{Access, Memory};
use crate::sys::waker::SentWaker;
use sync::{AtomicU32, AtomicU64, Half, fence, futex};

/// The bytes of a half that hold its control block: one page. The ring follows.
const CONTROL_BYTES: usize = 4096;
/// The length of a ring. A record may take half of it, which is ample for a part of [`PART_BYTES`], and unused pages
/// take no memory. A ring of orders keeps its pages, so that it should not be long; with 8 MiB, no job was faster. In a
/// model the ring holds three small records.
const RING_BYTES: u32 = if cfg!(all(loom, test)) { 56 } else { 3 << 20 };
const HALF_BYTES: usize = CONTROL_BYTES + RING_BYTES as usize;

/// The longest part of a payload that is sent in parts, and so the longest payload in one piece: a mebibyte, and some
/// space for the codec's framing.
pub(crate) const PART_BYTES: usize = (1 << 20) + (4 << 10);

/// The length of the parts if the ring cannot grow: it is within [`ALWAYS_FITS`].
pub(crate) const LEAST_PART: usize = 4 << 10;

/// How much of a ring has memory from the start: enough for two records of [`ALWAYS_FITS`] with their headers. A
/// producer asks for more before it touches more. Each start pays for this memory: at 128 KiB, it was a tenth of the
/// cost of starting a pool.
const BACKED_BYTES: u32 = 16 << 10;

/// A record of this length fits into an empty ring even if no more memory can be had.
pub(crate) const ALWAYS_FITS: usize = BACKED_BYTES as usize / 2 - (1 << 10);
const _: () = assert!(LEAST_PART <= ALWAYS_FITS);

/// The bit of `claim` with which the parent recalls the units that are not claimed.
const RECALL: u64 = 1 << 63;

/// The kinds of orders.
pub(crate) mod order {
    pub(crate) const CHUNK: u8 = 1;
    pub(crate) const INIT: u8 = 2;
    pub(crate) const EXIT: u8 = 3;
    pub(crate) const PART: u8 = 4;
    pub(crate) const RESUME: u8 = 5;
    pub(crate) const CONSTANT: u8 = 6;
}

/// The kinds of replies.
pub(crate) mod reply {
    /// The worker is up; the only reply to no order.
    pub(crate) const READY: u8 = 1;
    /// The end of a task's result that came in parts. A shorter result is a value of a run.
    pub(crate) const LARGE_VALUE: u8 = 2;
    /// A task, init or exit function failed; the worker lives on.
    pub(crate) const FAILED: u8 = 3;
    /// An order that returns no value is done.
    pub(crate) const DONE: u8 = 4;
    /// A part of a large value that was announced. The reply to no order.
    pub(crate) const PART: u8 = 5;
    /// An exit function's value. The reply to no order, because `DONE` answers the exit order; likewise the two below.
    pub(crate) const EXIT_VALUE: u8 = 6;
    pub(crate) const LARGE_EXIT_VALUE: u8 = 7;
    pub(crate) const EXIT_FAILED: u8 = 8;
    /// The worker has copied a part of a large item, or carried out an order about a constant, whose space is now free.
    /// The reply to no order.
    pub(crate) const PART_TAKEN: u8 = 9;
    /// The task whose answer follows was slow. The reply to no order.
    pub(crate) const SLOW: u8 = 10;
    /// The length of the large value whose parts follow. The reply to no order.
    pub(crate) const ANNOUNCED: u8 = 11;
    /// A value into which the results of several tasks are folded: their number, then the value. It answers all of
    /// them.
    pub(crate) const FOLDED: u8 = 12;
    /// The end of such a value that came in parts: the number of tasks.
    pub(crate) const LARGE_FOLDED: u8 = 13;
    /// A task failed, and the fold of the results before it is lost with it.
    pub(crate) const FOLD_FAILED: u8 = 14;
}

/// What a sleeping worker waits for.
mod asleep {
    pub(super) const NOT: u32 = 0;
    pub(super) const FOR_ORDERS: u32 = 1;
    pub(super) const FOR_SPACE: u32 = 2;
}

/// The fields that the parent writes, beside the orders. Fields that are polled together share a cache line.
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(all(loom, test), derive(Default))]
struct ParentControlBlock {
    /// Counts the wake-ups of the worker, which sleeps on it.
    wakeups: futex::Word,
    _line0: [u32; 15],
    /// The number of the parent's current sleep; 0 while it is awake.
    sleep_id: AtomicU32,
    /// The unit whose end must wake a sleeping parent.
    wake_at: AtomicU32,
    /// How far the parent has read the replies: a packed [`Position`].
    read: AtomicU64,
    /// How long the worker may spin for orders before it sleeps, in nanoseconds.
    spin_ns: AtomicU32,
    /// Not zero if the worker must stop after its task: set for threads, which can't be killed.
    closed: AtomicU32,
    /// By how many bytes the worker may have grown since its init when it is between tasks; 0 for no limit.
    memory_limit: AtomicU64,
    _line1: [u32; 8],
}

/// The fields that the worker writes, beside the replies. The parent trusts none of them.
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(all(loom, test), derive(Default))]
struct WorkerControlBlock {
    /// One of the constants of [`asleep`](mod@asleep).
    asleep: AtomicU32,
    /// Not zero if the worker can't wake the parent any more, because a task has closed the descriptor of the eventfd.
    waker_lost: AtomicU32,
    _line0: [u32; 14],
    /// The end of the units that the worker has claimed, and the [`RECALL`] bit, which the parent sets.
    claim: AtomicU64,
    _line1: [u64; 7],
    /// The last unit that the worker has started, plus one.
    started: AtomicU32,
    /// The last unit whose argument the worker has decoded, plus one.
    decoded: AtomicU32,
    /// When the worker last started a unit, if the chunk asks for that: CLOCK_MONOTONIC in nanoseconds.
    started_at: AtomicU64,
    /// The recent duration of a task, and of which function it was: see [`pace`].
    pace: AtomicU64,
    _line2: [u64; 5],
    spent: TimeSpent,
    /// How many bytes the worker held after its init, and how many more it holds now; 0 without a memory limit.
    baseline: AtomicU64,
    growth: AtomicU64,
    /// The last unit that has panicked, plus one.
    panicked: AtomicU32,
    _line3: [u32; 3],
}

/// How long the worker has been at each activity, in nanoseconds.
#[repr(C)]
#[derive(Debug)]
#[cfg_attr(all(loom, test), derive(Default))]
struct TimeSpent {
    waiting: AtomicU64,
    working: AtomicU64,
    init: AtomicU64,
    exit: AtomicU64,
}

/// How a worker spends its time.
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

/// Makes a lane: the parent's end, and the parts from which the worker makes its end. `waker` ends the parent's sleep.
pub(crate) fn open(waker: SentWaker) -> io::Result<(ParentEnd, WorkerSide)> {
    let down = Memory::create("pool orders", HALF_BYTES)?;
    let up = Memory::create("pool replies", HALF_BYTES)?;
    for memory in [&down, &up] {
        memory.allocate(CONTROL_BYTES + BACKED_BYTES as usize)?;
    }
    let map = |memory: &Memory| Ok::<_, io::Error>(Half::over(memory.map(HALF_BYTES, Access::ReadWrite)?));
    let end = ParentEnd::new(map(&down)?, map(&up)?);
    down.seal_future_writes()?;
    Ok((end, WorkerSide { orders: down.send()?, replies: up.send()?, waker }))
}

/// For the fuzzer: reads, as the parent, a lane whose worker has filled its half with these bytes.
#[cfg(fuzzing)]
pub fn read_any(half: &[u8]) {
    let waker = crate::sys::poll::PollSet::new().and_then(|set| set.waker()).expect("descriptors");
    let (mut parent, worker) = open(waker).expect("memory for a lane");
    let half = &half[..half.len().min(HALF_BYTES)];
    worker.replies.fill(half);
    let mut payloads = Vec::new();
    while let Ok(Some(reply)) = parent.next_reply(&mut payloads, 100) {
        match reply {
            Reply::Record { len, .. } => assert!(len <= payloads.len()),
            Reply::DiscardedPart { .. } => {}
            Reply::Values { count, slots } => {
                assert!(count <= 100 && count * slots.stride() <= payloads.len());
            }
        }
        parent.publish_read();
    }
    let unit = parent.next_unit();
    let _ = (parent.has_reply(), parent.pace_ns(7), parent.started_at(), parent.growth(), parent.baseline());
    let _ = (parent.is_running(unit), parent.has_started(unit), parent.has_decoded(unit));
    let _ = parent.has_panicked(unit);
    let _ =
        [Activity::Waiting, Activity::Working, Activity::Init, Activity::Exit].map(|what| parent.spent(what));
    if let Ok(recalled) = parent.recall(unit) {
        assert!(recalled.kept_up_to - unit <= parent.next_unit() - unit);
    }
}

/// The fence of "Falling asleep and waking" above, between this side's store and its load of the other side's.
pub(crate) fn full_fence() {
    fence(Ordering::SeqCst);
}
