//! How a worker replies: in a run of values, in one record, or in parts, as soon as there is space.

use std::sync::atomic::Ordering;

use super::responder::Responder;
use crate::lane::ring::{Position, WORD};
use crate::lane::{LEAST_PART, PART_BYTES, asleep, reply};

impl Responder<'_> {
    /// Sends the task's value that `write` encodes: in a run, or in parts. If `write` fails, sends nothing.
    #[inline]
    pub(crate) fn value<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.draft(write, |lane, value| match value.len() {
            len @ ..=PART_BYTES if lane.takes(len) => lane.push(value),
            _ => lane.send_large(reply::LARGE_VALUE, &[], value),
        })
    }

    /// Sends the value that `write` encodes, into which the results of the last `tasks` tasks are folded. If `write`
    /// fails, sends nothing.
    pub(crate) fn folded<E>(
        &mut self,
        tasks: u32,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let tasks = tasks.to_le_bytes();
        let with_tasks = |out: &mut Vec<u8>| {
            out.extend_from_slice(&tasks);
            write(out)
        };
        self.draft(with_tasks, |lane, payload| match payload.len() {
            len @ ..=PART_BYTES if lane.takes(len) => lane.send(reply::FOLDED, payload),
            _ => lane.send_large(reply::LARGE_FOLDED, &tasks, &payload[tasks.len()..]),
        })
    }

    /// Sends the reply that `write` encodes: as `tag` if it fits in one record, otherwise in parts with `large` after
    /// them. If `write` fails, sends nothing.
    #[inline]
    pub(crate) fn reply<E>(
        &mut self,
        tag: u8,
        large: u8,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.draft(write, |lane, payload| match payload.len() {
            len @ ..=PART_BYTES if tag == large || lane.takes(len) => lane.send(tag, payload),
            _ => lane.send_large(large, &[], payload),
        })
    }

    /// Encodes a reply in this process's private memory, from which the digest is made too. So a stray write of user
    /// code to the lane does not match the digest.
    #[inline]
    fn draft<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        send: impl FnOnce(&mut Self, &[u8]),
    ) -> Result<(), E> {
        let mut draft = std::mem::take(&mut self.state.draft);
        draft.clear();
        write(&mut draft)?;
        send(self, &draft);
        // The memory of a large reply is not kept.
        if draft.capacity() <= 2 * PART_BYTES {
            self.state.draft = draft;
        }
        Ok(())
    }

    /// Whether a reply of this length fits in one record, given the available memory.
    #[inline]
    pub(crate) fn takes(&mut self, len: usize) -> bool {
        self.state.replies.takes(len + 2 * WORD as usize)
    }

    /// Sends a task's value of at most [`PART_BYTES`] from this process's private memory. Always inlined, as
    /// [`Producer::push`](crate::lane::ring::Producer::push) is.
    #[inline(always)]
    pub(crate) fn push(&mut self, value: &[u8]) {
        if !self.state.replies.push(value) {
            self.push_later(value);
        }
    }

    /// Sends it once there is space.
    #[cold]
    #[inline(never)]
    fn push_later(&mut self, value: &[u8]) {
        self.wait_for_space(self.state.replies.least_run(value.len()));
        let pushed = self.state.replies.push(value);
        assert!(pushed, "space was there, and only this side fills it");
    }

    #[inline]
    fn send(&mut self, tag: u8, bytes: &[u8]) {
        if !self.has_space(bytes.len()) {
            self.wait_for_space(bytes.len());
        }
        let reservation = self.state.replies.reserve(bytes.len(), 0);
        reservation.expect("space was there, and only this side fills it").send(tag, bytes);
    }

    #[cold]
    fn send_large(&mut self, tag: u8, end: &[u8], bytes: &[u8]) {
        self.state.spare.note_large(self.clock_ns());
        self.send(reply::ANNOUNCED, &(bytes.len() as u64).to_le_bytes());
        let part_bytes = if self.takes(PART_BYTES) { PART_BYTES } else { LEAST_PART };
        for part in bytes.chunks(part_bytes) {
            self.send(reply::PART, part);
        }
        self.send(tag, end);
    }

    #[inline]
    fn has_space(&mut self, least: usize) -> bool {
        let replies = &mut self.state.replies;
        (!replies.is_stale() && replies.reserve(least, 0).is_some()) || {
            self.learn_read();
            let replies = &mut self.state.replies;
            replies.reserve(least, 0).is_some() || replies.grow_for(least, 0)
        }
    }

    /// Learns how far the parent has read the replies.
    pub(super) fn learn_read(&mut self) {
        // SYNC: replies read (acquire). The parent has copied everything before this position, so it may be
        // overwritten.
        let read = self.state.control.parent().read.load(Ordering::Acquire);
        self.state.replies.free_up_to(Position::unpack(read));
    }

    #[cold]
    fn wait_for_space(&mut self, least: usize) {
        loop {
            // Read before the check for space, so that anything that the parent publishes later ends the sleep.
            let read = self.state.control.parent().read.load(Ordering::Acquire);
            if self.has_space(least) {
                return;
            }
            self.notify();
            let control = &self.state.control;
            control.sleep(asleep::FOR_SPACE, None, || control.parent().read.load(Ordering::Acquire) != read);
        }
    }
}
