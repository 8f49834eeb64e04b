//! Sends the items of calls. The caller encodes them straight into the workers' lanes.

use super::state::State;
use crate::ids::{JobId, TaskIndex, WorkerId};
use crate::supervise::Work;
use crate::wire::{ChunkHead, ITEM_HEAD};
use crate::work::{ChunkWriter, Feed, Unwritten};

/// A chunk of at least this many tasks is encoded into scratch memory and then copied. The lane's cache lines were last
/// used by the worker's core, and one copy fetches them faster than many small writes do.
const MIN_SCRATCH_TASKS: u64 = 16;

/// An order that reaches this size is sent at once, and the rest of its chunk goes into the next order. So the worker
/// decodes and runs the first items while the parent encodes more.
const LARGE_ORDER_BYTES: usize = 256 << 10;

/// The same where results are folded. Each order gives one value, so orders are longer: an eighth of the lane, so that
/// several fit.
const LARGE_FOLD_BYTES: usize = 1 << 20;

/// Scratch memory in which chunks of many tasks are encoded.
#[derive(Default)]
pub(super) struct Scratch(Vec<u8>);

impl Scratch {
    /// Several large orders, so the scratch memory hardly ever shortens a chunk.
    const BYTES: usize = 1 << 20;
    /// Items are aligned for the address that they will have in the lane, so the scratch buffer has the lane's address
    /// modulo this: the size of a cache line, and no smaller than the alignment of any number.
    const ALIGNMENT: usize = 64;

    /// Makes the scratch memory if there is none yet. False if the system has no memory for it.
    fn is_there(&mut self) -> bool {
        let missing = Self::BYTES - self.0.len();
        let is_there = self.0.try_reserve_exact(missing).is_ok();
        if is_there {
            self.0.resize(Self::BYTES, 0);
        }
        is_there
    }

    /// A buffer as long as this part of the lane, or as the scratch memory, whichever is shorter. The scratch memory
    /// must be there.
    fn buffer_for(&mut self, lane: &[u8]) -> &mut [u8] {
        let skew = (lane.as_ptr() as usize).wrapping_sub(self.0.as_ptr() as usize) % Self::ALIGNMENT;
        let len = lane.len().min(Self::BYTES - skew);
        &mut self.0[skew..skew + len]
    }
}

impl State {
    /// Sends items of the job while the supervisor grants chunks and items are buffered.
    pub(super) fn feed(&mut self, job: JobId, feed: &mut dyn Feed) {
        self.set_waiting(job, feed.buffered());
        while let Some(grant) = self.grant(job) {
            let (first, most, whole) = match grant.work {
                Work::Fresh { first, most, whole } => (first, most, whole),
                Work::Again { index, .. } => {
                    self.send_retained(job, grant.worker, index);
                    continue;
                }
            };
            let buffered = feed.buffered();
            if buffered == 0 || (buffered < whole && !feed.is_last()) {
                break;
            }
            let count = most.min(buffered);
            // A grant of several chunks must not end within one.
            let partial = if feed.is_last() && count == buffered { 0 } else { count % whole.max(1) };
            self.send_fresh(job, grant.worker, first, count - partial, feed);
        }
        if feed.buffered() == 0 && feed.is_last() {
            self.end_input(job);
        }
        self.set_has_items(job, feed.buffered() > 0);
    }

    /// Writes a chunk of new items into the worker's lane, or as much of it as goes into one order.
    fn send_fresh(&mut self, job: JobId, worker: WorkerId, first: TaskIndex, most: u64, feed: &mut dyn Feed) {
        let Some((handle, open_job, scratch)) = self.parts_to_send(worker, job) else { return };
        let mut head = open_job.head(first, 0);
        // An item that does not fit is copied two more times. So ask for space for an item of the usual size first.
        let item = open_job.item_bytes.max(8) + ITEM_HEAD;
        let mut least = (ChunkHead::BYTES + item).min(handle.longest_order());
        let large = if open_job.folds() { LARGE_FOLD_BYTES } else { LARGE_ORDER_BYTES };
        let most = most.min((large / item).max(1) as u64);
        // The lane may grow to take the whole chunk. Without memory for that, an item that does not fit is sent alone,
        // in parts.
        if !handle.takes(ChunkHead::BYTES + item * most as usize) && !handle.takes(least) {
            least = ChunkHead::BYTES + ITEM_HEAD;
        }
        let Some(mut reservation) = handle.reserve(least) else { return self.block(worker) };
        let record = reservation.position();
        let lane = reservation.bytes();
        // An item that does not fit into the scratch memory would be folded with no other.
        let fits_scratch = item * (most as usize) <= LARGE_ORDER_BYTES;
        let uses_scratch = most >= MIN_SCRATCH_TASKS && fits_scratch && scratch.is_there();
        let buffer = if uses_scratch { scratch.buffer_for(lane) } else { &mut *lane };
        let mut writer = ChunkWriter::new(buffer);
        let (count, unwritten) = feed.write(most, &mut writer);
        head.count = count;
        let (len, overflow) = writer.finish(head);
        open_job.item_bytes = overflow.len().max(len / (count as usize).max(1));
        if uses_scratch {
            let buffer = scratch.buffer_for(lane);
            lane[..len].copy_from_slice(&buffer[..len]);
        }
        if count > 0 {
            let end = reservation.commit(crate::lane::order::CHUNK, len, count);
            handle.record_chunk(record, len, end, count);
            self.report_sent(job, worker, u64::from(count));
        }
        match unwritten {
            None => {}
            Some(Unwritten::TooLarge) => {
                let head = ChunkHead { first: first + u64::from(count), count: 1, ..head };
                self.send_alone(job, worker, head, overflow);
            }
            Some(Unwritten::Failed(why)) => self.report_unsendable(job, worker, why),
        }
        // This comes last, because a reply may end the job.
        if len >= LARGE_ORDER_BYTES {
            self.exchange(worker);
        }
    }
}
