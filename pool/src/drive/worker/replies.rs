//! Takes a worker's replies out of its lane, checks them, and puts them into inboxes.

use std::time::Duration;

use super::WorkerHandle;
use crate::codec::decode_record;
use crate::ids::{TaskIndex, Unit, WorkerId};
use crate::lane::{Corrupt, Reply, Slots, padded, reply};
use crate::sys::clock::now_ns;
use crate::wire::{Failure, FoldFailure, Slow};
use crate::work::{FunctionRef, Inbox, no_memory};

/// The answers taken to the tasks at the head of a worker's queue.
#[derive(Default)]
pub(in crate::drive) struct Answers {
    /// The number of results put into the inbox.
    pub(in crate::drive) done: u64,
    /// The bytes of these results.
    pub(in crate::drive) bytes: u64,
    /// How many tasks after these have to run again, because their folded results are lost.
    pub(in crate::drive) unfolded: u64,
    /// The task after these has failed, with a report of this many bytes.
    pub(in crate::drive) failed: Option<u64>,
    /// The slow tasks, with their indices.
    pub(in crate::drive) slow: Vec<(TaskIndex, Slow)>,
    /// The next reply is one that no sound worker sends.
    pub(in crate::drive) is_corrupt: bool,
}

/// The tasks at the head of a worker's queue.
#[derive(Debug, Clone, Copy)]
pub(in crate::drive) struct Expected {
    pub(in crate::drive) unit: Unit,
    pub(in crate::drive) first: TaskIndex,
    pub(in crate::drive) count: u64,
    /// Their results are folded into values.
    pub(in crate::drive) folds: bool,
}

/// The reply to an order that returns no value.
pub(in crate::drive) enum OrderReply {
    Done,
    /// The worker has reported why.
    Failed,
}

/// A reply to an exit order.
pub(in crate::drive) enum ExitReply {
    /// The value of this exit function.
    Value(FunctionRef, Vec<u8>),
    Failed(FunctionRef, Failure),
    /// All exit functions have run.
    Done,
}

impl WorkerHandle {
    /// Whether there are replies to take.
    pub(in crate::drive) fn has_reply(&self) -> bool {
        !self.is_corrupt && self.is_started() && self.lane.has_reply()
    }

    /// Whether there are replies to take without following a run that the worker is still writing, value by value.
    pub(in crate::drive) fn has_waiting_reply(&self) -> bool {
        !self.is_corrupt && !self.lane.is_up_to_date() && self.lane.has_reply()
    }

    /// Kills the worker if the replies that were taken are corrupt.
    pub(in crate::drive) fn finish_taking(&mut self, taken: Result<(), Corrupt>) {
        if taken.is_err() {
            self.kill_corrupt();
        }
    }

    /// Tells the worker how far its replies were read, so that it can reuse their space.
    pub(in crate::drive) fn publish_read(&mut self) {
        self.lane.publish_read();
    }

    pub(in crate::drive) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Takes the first reply, which must be `READY`.
    pub(in crate::drive) fn take_ready(&mut self) -> Result<(), Corrupt> {
        match self.lane.next_reply(&mut Vec::new(), 0)?.ok_or(Corrupt)? {
            Reply::Record { tag: reply::READY, .. } => {}
            _ => return Err(Corrupt),
        }
        self.is_ready = true;
        self.stats.start_up = Duration::from_nanos(now_ns().saturating_sub(self.started));
        Ok(())
    }

    /// Takes the answers so far to these tasks.
    pub(in crate::drive) fn take_answers(
        &mut self,
        worker: WorkerId,
        tasks: Expected,
        inbox: &mut Inbox,
    ) -> Answers {
        let mut answers = Answers::default();
        answers.is_corrupt = self.take_into(worker, tasks, inbox, &mut answers).is_err();
        let Answers { done, bytes, failed, .. } = answers;
        self.stats.bytes_received += bytes;
        self.stats.tasks += done + u64::from(failed.is_some());
        if done > 0 || failed.is_some() {
            self.probes.note_answers();
        }
        if done > 0 {
            self.outbox.free_before(&mut self.lane, tasks.unit + done as u32);
        }
        answers
    }

    fn take_into(
        &mut self,
        worker: WorkerId,
        tasks: Expected,
        inbox: &mut Inbox,
        answers: &mut Answers,
    ) -> Result<(), Corrupt> {
        let Expected { first, count, folds, .. } = tasks;
        while answers.done < count {
            let start = inbox.tape.len();
            let at_most = usize::try_from(count - answers.done).unwrap_or(usize::MAX);
            let tag = match self.lane.next_reply(&mut inbox.tape, at_most)? {
                Some(Reply::Values { .. }) if folds => return Err(Corrupt),
                Some(Reply::Values { count, slots }) => {
                    answers.bytes += (count * slots.bytes_each()) as u64;
                    inbox.push(first + answers.done, worker, start, slots, count);
                    answers.done += count as u64;
                    if self.lane.is_up_to_date() {
                        return Ok(());
                    }
                    continue;
                }
                Some(Reply::Record { tag, .. }) => tag,
                Some(Reply::DiscardedPart { len }) => {
                    self.discard_part(len)?;
                    continue;
                }
                None => return Ok(()),
            };
            if folds && matches!(tag, reply::FOLDED | reply::LARGE_FOLDED) {
                self.take_folded(tag, start, worker, tasks, inbox, answers)?;
                if answers.failed.is_some() {
                    return Ok(());
                }
                continue;
            }
            if tag == reply::LARGE_VALUE && !folds {
                let put = |value: Vec<u8>| {
                    let len = value.len();
                    if inbox.put_on_tape(value, padded(len)) { Ok(len) } else { Err(no_memory(len)) }
                };
                let len = match self.parts.finish()?.and_then(put) {
                    Ok(len) => len,
                    Err(why) => {
                        self.reported = Some(Failure::Decode(why));
                        answers.failed = Some(0);
                        return Ok(());
                    }
                };
                answers.bytes += len as u64;
                inbox.push(first + answers.done, worker, start, Slots::Alike(len), 1);
                answers.done += 1;
                continue;
            }
            let tape = &mut inbox.tape;
            let taken = self.take_record_of_tasks(tag, &tape[start..], tasks, answers);
            // Only values stay on the tape.
            tape.truncate(start);
            taken?;
            if answers.failed.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes a value into which results are folded. On the tape, it follows the number of its tasks, which stands there
    /// from `start` on.
    fn take_folded(
        &mut self,
        tag: u8,
        start: usize,
        worker: WorkerId,
        Expected { first, count, .. }: Expected,
        inbox: &mut Inbox,
        answers: &mut Answers,
    ) -> Result<(), Corrupt> {
        let tasks = inbox.tape[start..].first_chunk().map(|tasks| u64::from(u32::from_le_bytes(*tasks)));
        let tasks = tasks.filter(|tasks| (1..=count - answers.done).contains(tasks)).ok_or(Corrupt)?;
        if tag == reply::LARGE_FOLDED {
            let value = self.parts.finish()?;
            let put = |value: Vec<u8>| {
                let len = value.len();
                if inbox.put_on_tape(value, len) { Ok(()) } else { Err(no_memory(len)) }
            };
            if let Err(why) = value.and_then(put) {
                inbox.tape.truncate(start);
                self.reported = Some(Failure::Decode(why));
                (answers.unfolded, answers.failed) = (tasks - 1, Some(0));
                return Ok(());
            }
        }
        let len = inbox.tape.len() - start;
        inbox.tape.resize(start + padded(len), 0);
        answers.bytes += len as u64;
        inbox.push(first + answers.done, worker, start, Slots::Alike(len), 1);
        answers.done += tasks;
        Ok(())
    }

    /// Takes a record other than a value, sent in answer to a task.
    fn take_record_of_tasks(
        &mut self,
        tag: u8,
        record: &[u8],
        Expected { unit, first, count, folds }: Expected,
        answers: &mut Answers,
    ) -> Result<(), Corrupt> {
        match tag {
            reply::PART => self.take_part(record),
            reply::ANNOUNCED => self.parts.announce(record),
            reply::PART_TAKEN => {
                let answered = unit + answers.done as u32;
                self.outbox.free_before(&mut self.lane, answered);
                self.outbox.free_part(&mut self.lane)
            }
            reply::SLOW => {
                let slow = decode_record(record).ok().filter(Slow::is_short).ok_or(Corrupt)?;
                let place = answers.done + u64::from(slow.place);
                let index = first + place;
                let is_second = answers.slow.last().is_some_and(|(last, _)| *last >= index);
                answers.slow.push((index, slow));
                if is_second || place >= count { Err(Corrupt) } else { Ok(()) }
            }
            reply::FAILED => {
                self.reported = Some(decode_record(record).map_err(|_| Corrupt)?);
                answers.failed = Some(record.len() as u64);
                Ok(())
            }
            reply::FOLD_FAILED => {
                let FoldFailure { tasks, failure } = decode_record(record).map_err(|_| Corrupt)?;
                if !folds || answers.done + u64::from(tasks) >= count {
                    return Err(Corrupt);
                }
                self.reported = Some(failure);
                (answers.unfolded, answers.failed) = (u64::from(tasks), Some(record.len() as u64));
                Ok(())
            }
            _ => Err(Corrupt),
        }
    }

    /// Frees the order of a failed task, which comes after `done` others, once its argument is no longer needed.
    pub(in crate::drive) fn free_failed(&mut self, unit: Unit, done: u64) {
        self.outbox.free_before(&mut self.lane, unit + done as u32 + 1);
    }

    /// Takes the reply to an order that returns no value, if there is one.
    pub(in crate::drive) fn take_order_reply(&mut self, unit: Unit) -> Result<Option<OrderReply>, Corrupt> {
        let Some((tag, record)) = self.take_record()? else { return Ok(None) };
        let reply = match tag {
            reply::PART_TAKEN => return self.outbox.free_part(&mut self.lane).map(|()| None),
            reply::DONE => OrderReply::Done,
            reply::FAILED => {
                self.reported = Some(decode_record(&record).map_err(|_| Corrupt)?);
                OrderReply::Failed
            }
            _ => return Err(Corrupt),
        };
        self.outbox.free_before(&mut self.lane, unit + 1);
        Ok(Some(reply))
    }

    /// Takes the reply to an init order, if it has arrived.
    pub(in crate::drive) fn take_init_reply(&mut self, unit: Unit) -> Result<Option<OrderReply>, Corrupt> {
        let reply = self.take_order_reply(unit)?;
        if let Some(reply) = &reply {
            self.exits.answered(matches!(reply, OrderReply::Done))?;
        }
        Ok(reply)
    }

    /// Takes a reply to no order that a worker without orders has sent.
    pub(in crate::drive) fn take_late_reply(&mut self) -> Result<(), Corrupt> {
        match self.take_record()? {
            Some((reply::PART_TAKEN, _)) => self.outbox.free_part(&mut self.lane),
            _ => Err(Corrupt),
        }
    }

    /// Takes the result of the next exit function, if it has arrived.
    pub(in crate::drive) fn take_exit_reply(&mut self, unit: Unit) -> Result<Option<ExitReply>, Corrupt> {
        let Some((tag, record)) = self.take_record()? else { return Ok(None) };
        let result = match tag {
            reply::ANNOUNCED => return self.parts.announce(&record).map(|()| None),
            reply::PART => return self.take_part(&record).map(|()| None),
            reply::PART_TAKEN => return self.outbox.free_part(&mut self.lane).map(|()| None),
            reply::EXIT_VALUE => Ok(record),
            reply::LARGE_EXIT_VALUE => self.parts.finish()?.map_err(Failure::Decode),
            reply::EXIT_FAILED => Err(decode_record(&record).map_err(|_| Corrupt)?),
            reply::DONE => {
                self.outbox.free_before(&mut self.lane, unit + 1);
                return Ok(Some(ExitReply::Done));
            }
            _ => return Err(Corrupt),
        };
        let exit = self.exits.take_next()?;
        Ok(Some(match result {
            Ok(record) => ExitReply::Value(exit, value_of(exit, record)?),
            Err(why) => ExitReply::Failed(exit, why),
        }))
    }

    fn take_part(&mut self, part: &[u8]) -> Result<(), Corrupt> {
        self.parts.add(part)?;
        self.free_reply();
        Ok(())
    }

    /// Notes that there was no memory for a part of this length.
    fn discard_part(&mut self, len: usize) -> Result<(), Corrupt> {
        self.parts.discard(len)?;
        self.free_reply();
        Ok(())
    }

    /// Frees the space of the replies so far. The worker may sleep for it.
    fn free_reply(&mut self) {
        self.lane.publish_read();
        self.lane.wake_worker();
    }

    /// Takes a reply, which must be a record. A part for which there was no memory is no reply to the caller.
    fn take_record(&mut self) -> Result<Option<(u8, Vec<u8>)>, Corrupt> {
        let mut record = Vec::new();
        match self.lane.next_reply(&mut record, 0)? {
            None => Ok(None),
            Some(Reply::Record { tag, .. }) => Ok(Some((tag, record))),
            Some(Reply::DiscardedPart { len }) => self.discard_part(len).map(|()| None),
            Some(Reply::Values { .. }) => Err(Corrupt),
        }
    }

    /// The recent duration of its tasks of this function, as it reports it; 0 if it does not.
    pub(in crate::drive) fn pace_ns(&self, task: u32) -> u64 {
        self.lane.pace_ns(task)
    }
}

/// The value of this exit function, which follows the function's index in the registry.
fn value_of(exit: FunctionRef, mut record: Vec<u8>) -> Result<Vec<u8>, Corrupt> {
    let index = record.first_chunk().copied().ok_or(Corrupt)?;
    record.drain(..size_of_val(&index));
    if u32::from_le_bytes(index) == exit.index { Ok(record) } else { Err(Corrupt) }
}
