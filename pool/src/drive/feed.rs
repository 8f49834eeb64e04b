//! Sends the items of calls: copies them from the calls' memory into the workers' lanes.

use super::state::{DROPPED, State};
use super::worker::SentLent;
use crate::ids::{JobId, TaskIndex, WorkerId};
use crate::supervise::{Grant, Work};
use crate::wire::{ChunkHead, ITEM_HEAD};
use crate::work::{Apart, Items, LentItem, MUCH};

/// An order that reaches this size is sent at once, and the rest of its chunk goes into the next order. So the worker
/// decodes and runs the first items while the parent copies more.
const LARGE_ORDER_BYTES: usize = 256 << 10;

/// The same where results are folded. Each order gives one value, so orders are longer: an eighth of the lane, so that
/// several fit.
const LARGE_FOLD_BYTES: usize = 1 << 20;

/// Items that a caller hands to the engine in one turn.
pub(crate) struct Submission<'a> {
    /// What the engine takes over. It may leave some, if there is no memory.
    pub(crate) items: &'a mut Items,
    /// The item after these, if it is large and was not encoded. None once the engine has it.
    pub(crate) lent: Option<LentItem<'a>>,
    /// No items will follow.
    pub(crate) is_last: bool,
    /// None has come for a while: what is there is sent though it makes no whole chunk.
    pub(crate) is_silent: bool,
}

impl State {
    /// Takes over items of the call, and sends what workers can take.
    pub(super) fn submit(&mut self, job: JobId, submission: &mut Submission<'_>) {
        let Submission { items, lent, is_last, is_silent } = submission;
        let Some(open) = self.job_mut(job) else {
            *lent = None;
            return items.clear();
        };
        let had_all = open.has_all_items;
        open.items.append(items);
        open.has_lent = lent.is_some();
        open.is_silent = *is_silent;
        open.has_all_items |= *is_last && items.is_empty() && !open.has_lent;
        if had_all && open.items.is_empty() {
            return;
        }
        self.feed(job);
        if items.is_empty()
            && let Some(item) = lent
            && self.submit_lent(job, item)
        {
            *lent = None;
            if let Some(open) = self.job_mut(job) {
                open.has_lent = false;
                open.has_all_items = *is_last;
            }
            self.feed(job);
        }
    }

    /// Sends a lent item straight from its caller's memory. False if it must wait for space in a lane, or for a worker.
    /// Takes the item over if it can't be sent in this way.
    fn submit_lent(&mut self, job: JobId, item: &LentItem<'_>) -> bool {
        while let Some(Grant { worker, work: Work::Fresh { first, .. } }) = self.grant(job) {
            let Some((handle, open)) = self.parts_to_send(worker, job) else { return false };
            if !open.items.is_empty() {
                return false;
            }
            // An item is not lent behind a constant, which may have to wait for space.
            let is_provided = handle.is_provided(job, open.constant());
            let sent = match !is_provided || open.is_dropped(first) {
                true => SentLent::Never,
                false => handle.send_lent(open.head(first, 1), item),
            };
            match sent {
                SentLent::Now => self.report_sent(job, worker, 1),
                SentLent::Later => {
                    self.block(worker);
                    continue;
                }
                SentLent::Never => open.items.add_lent(item),
            }
            return true;
        }
        false
    }

    /// Sends items of the call while the supervisor grants chunks and there are items.
    pub(super) fn feed(&mut self, job: JobId) {
        self.set_waiting(job);
        while let Some(grant) = self.grant(job) {
            let (first, most, whole) = match grant.work {
                Work::Fresh { first, most, whole } => (first, most, whole),
                Work::Again { index, .. } => {
                    self.send_retained(job, grant.worker, index);
                    continue;
                }
            };
            let Some(open) = self.job_mut(job) else { return };
            let (there, is_all) = (open.items.len(), open.has_all_items);
            let may_be_short = is_all || open.is_silent || open.items.bytes() >= MUCH;
            if there == 0 || (there < whole && !may_be_short) {
                break;
            }
            let dropped = open.next_dropped(first);
            if dropped == Some(first) {
                if open.items.take_apart().is_none() {
                    drop(open.items.take_alone());
                }
                self.report_unsendable(job, grant.worker, DROPPED.into());
                continue;
            }
            let most = dropped.map_or(most, |next| most.min(next - first));
            let count = most.min(there);
            // A grant of several chunks must not end within one.
            let partial = if is_all && count == there { 0 } else { count % whole.max(1) };
            let count = if count > partial { count - partial } else { count };
            self.send_fresh(job, grant.worker, first, count);
        }
        self.note_items(job);
        if self.job_mut(job).is_some_and(|open| open.has_all_items && open.items.is_empty()) {
            self.end_input(job);
        }
    }

    /// Copies a chunk of new items into the worker's lane, or as much of it as goes into one order.
    fn send_fresh(&mut self, job: JobId, worker: WorkerId, first: TaskIndex, most: u64) {
        let Some((handle, open)) = self.parts_to_send(worker, job) else { return };
        if open.items.large_len().is_some_and(|len| !handle.has_space_for_item(len)) {
            return self.block(worker);
        }
        let mut head = open.head(first, 0);
        match open.items.take_apart() {
            Some(Apart::Large(item)) => {
                handle.provide(job, open.constant());
                head.count = 1;
                return self.send_alone(job, worker, head, item);
            }
            Some(Apart::Failed(why)) => return self.report_unsendable(job, worker, why),
            None => handle.provide(job, open.constant()),
        }
        let least = ChunkHead::BYTES + open.items.next_len().max(ITEM_HEAD);
        let large = if open.folds() { LARGE_FOLD_BYTES } else { LARGE_ORDER_BYTES };
        let wanted = ChunkHead::BYTES + open.items.len_of(most).min(large);
        // The lane may grow to take the whole chunk.
        let is_held_up = open.constant().is_some() && handle.reserve(least).is_none();
        if is_held_up || !handle.takes(wanted.max(least)) && !handle.takes(least) {
            // Without memory for that, an item that does not fit is sent alone, in parts. So is one that waits behind
            // the call's constant.
            head.count = 1;
            return match open.items.take_alone() {
                Ok(item) => self.send_alone(job, worker, head, item),
                Err(why) => self.report_unsendable(job, worker, why),
            };
        }
        let Some(mut reservation) = handle.reserve(least) else { return self.block(worker) };
        let record = reservation.position();
        let lane = reservation.bytes();
        let end = lane.len().min(wanted.max(least));
        let (count, len) = open.items.take_run(most, head, &mut lane[..end]);
        let end = reservation.commit(crate::lane::order::CHUNK, len, count);
        handle.record_chunk(record, len, end, count);
        self.report_sent(job, worker, u64::from(count));
        // This comes last, because a reply may end the job.
        if len >= LARGE_ORDER_BYTES {
            self.exchange(worker);
        }
    }
}
