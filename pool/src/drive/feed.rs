//! Sends the items of calls: written into the workers' lanes as they are encoded.

use super::state::State;
use crate::ids::{JobId, WorkerId};
use crate::supervise::Work;
use crate::wire::{ChunkHead, ITEM_HEAD};
use crate::work::{ChunkWriter, Feed, Halt};

/// A chunk of at least so many tasks is written in private memory first: a lane's lines are the worker's, and one copy
/// fetches them faster than many small writes do.
const MANY: u64 = 16;

/// So many bytes make an order a large one: the rest of the chunk goes with the next, and the worker hears of it at once.
const LARGE: usize = 256 << 10;

/// Where chunks of many tasks are written.
#[derive(Default)]
pub(super) struct Draft(Vec<u8>);

impl Draft {
    const BYTES: usize = 1 << 20;
    /// What lies in here is aligned as it will be in the lane.
    const ALIGNMENT: usize = 64;

    /// As much memory as there is in the lane, or as a draft has.
    fn area(&mut self, lane: &[u8]) -> &mut [u8] {
        self.0.resize(Self::BYTES, 0);
        let skew = (lane.as_ptr() as usize).wrapping_sub(self.0.as_ptr() as usize) % Self::ALIGNMENT;
        let len = lane.len().min(Self::BYTES - skew);
        &mut self.0[skew..skew + len]
    }
}

impl State {
    /// Sends items of the job as long as the supervisor grants chunks and items are in hand.
    pub(super) fn feed(&mut self, job: JobId, feed: &mut dyn Feed) {
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
            // Several chunks that go together go whole.
            let torn = if feed.is_last() && count == buffered { 0 } else { count % whole.max(1) };
            self.send_fresh(job, grant.worker, first, count - torn, feed);
        }
        if feed.buffered() == 0 && feed.is_last() {
            self.end_input(job);
        }
        self.note_items(job, feed.buffered() > 0);
    }

    /// Writes a chunk of fresh items, or what goes into one order of it, into the worker's lane.
    fn send_fresh(&mut self, job: JobId, worker: WorkerId, first: u64, most: u64, feed: &mut dyn Feed) {
        let Some((handle, slot, draft)) = self.outlet(worker, job) else { return };
        let mut head = slot.head(first, 0);
        // What finds no room is copied twice more, so room is asked for, and items for the room.
        let item = slot.item_bytes.max(8) + ITEM_HEAD;
        let mut least = (ChunkHead::BYTES + item).min(handle.longest_order());
        let most = most.min((LARGE / item).max(1) as u64);
        // All of the chunk shall find room. Where there is no memory for that, what does not fit goes alone, in parts.
        if !handle.takes(ChunkHead::BYTES + item * most as usize) && !handle.takes(least) {
            least = ChunkHead::BYTES + ITEM_HEAD;
        }
        let Some(mut room) = handle.reserve(least) else { return self.block(worker) };
        let record = room.position();
        let lane = room.bytes();
        let drafted = most >= MANY;
        let area = if drafted { draft.area(lane) } else { &mut *lane };
        let mut writer = ChunkWriter::new(area);
        let (count, halt) = feed.write(most, &mut writer);
        head.count = count;
        let (len, overflow) = writer.finish(head);
        slot.item_bytes = overflow.len().max(len / (count as usize).max(1));
        if drafted {
            let area = draft.area(lane);
            lane[..len].copy_from_slice(&area[..len]);
        }
        if count > 0 {
            let end = room.commit(crate::lane::order::CHUNK, len, count);
            handle.note_chunk(record, len, end, count);
            self.note_sent(job, worker, u64::from(count));
        }
        match halt {
            None => {}
            Some(Halt::Large) => {
                let head = ChunkHead { first: first + u64::from(count), count: 1, ..head };
                self.send_alone(job, worker, head, overflow);
            }
            Some(Halt::Failed(why)) => self.note_unsendable(job, worker, why),
        }
        // Last: what has come may end the job.
        if len >= LARGE {
            self.exchange(worker);
        }
    }
}
