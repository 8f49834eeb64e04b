//! A job as the supervisor sees it: counts, never values.

use std::collections::{BTreeMap, VecDeque};

use crate::work::{Chunking, Plan, splits};

/// How much work a worker should have queued, and how long a chunk should last.
const WINDOW_NS: u64 = 2_000_000;
const CHUNK_NS: u64 = 100_000;
/// What a task is taken to take before that is known.
const UNKNOWN_PACE_NS: u64 = 400_000;
const LONGEST_WINDOW: u64 = 32768;
/// So many workers may die before a task that they had not started, and it is what they died of.
const MOST_SUSPICIONS: u32 = 3;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) plan: Box<Plan>,
    /// The index of the next item that was not handed out yet.
    pub(super) next: u64,
    /// The input has no more items.
    pub(super) ended: bool,
    /// Tasks with workers.
    pub(super) in_flight: u64,
    /// Results that the caller has not taken yet.
    pub(super) held: u64,
    /// Their bytes, where these are bounded.
    held_bytes: u64,
    /// What a result has had lately; 0 when that is not known.
    result_bytes: u64,
    /// Tasks that have an outcome.
    pub(super) done: u64,
    /// Tasks that came back from workers, with the number of the attempt that comes.
    pub(super) backlog: VecDeque<(u64, u32)>,
    /// The caller waits for it; otherwise its results are thrown away.
    pub(super) open: bool,
    pub(super) chunks: u64,
    pub(super) pace_ns: Option<u64>,
    /// Tasks that were next when workers died that said they were at none, and how many did so.
    exited: BTreeMap<u64, u32>,
}

impl Job {
    pub(super) fn new(plan: Box<Plan>) -> Self {
        Self {
            plan,
            next: 0,
            ended: false,
            in_flight: 0,
            held: 0,
            held_bytes: 0,
            result_bytes: 0,
            done: 0,
            backlog: VecDeque::new(),
            open: true,
            chunks: 0,
            pace_ns: None,
            exited: BTreeMap::new(),
        }
    }

    /// A worker has died with this task next, and says that it was not at it. Whether that is one time too many: who
    /// can write over the lane can lie.
    pub(super) fn suspect(&mut self, index: u64) -> bool {
        let times = self.exited.entry(index).or_default();
        *times += 1;
        *times >= MOST_SUSPICIONS
    }

    pub(super) fn is_complete(&self) -> bool {
        self.ended && self.done == self.next
    }

    /// Whether there is something to hand out.
    pub(super) fn has_work(&self) -> bool {
        self.open && (!self.ended || !self.backlog.is_empty())
    }

    /// Outcomes have come that wait for the caller.
    pub(super) fn hold(&mut self, count: u64, bytes: u64) {
        self.held += count;
        self.held_bytes += bytes;
    }

    /// The caller has taken some of them.
    pub(super) fn release(&mut self, count: u64, bytes: u64) {
        self.held = self.held.saturating_sub(count);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    pub(super) fn note_result_bytes(&mut self, bytes: u64) {
        self.result_bytes = if self.result_bytes == 0 { bytes } else { self.result_bytes.midpoint(bytes) };
    }

    /// How many of these new tasks may begin for what their results will take. Past the bound none; where they would come
    /// to be past it, a worker that is idle still gets a whole chunk, so that no worker waits for room alone.
    ///
    /// Tasks that came back are not asked for this: the caller may be waiting for one of them, and all they can bring was
    /// allowed for when they went out first. When the caller waits for a task that was never handed out, it has taken
    /// all that came before that, so nothing is held.
    pub(super) fn within_bytes(&self, tasks: u64, whole: u64, to_idle: bool) -> u64 {
        let Some(room) = self.plan.max_held_bytes.map(|most| most.saturating_sub(self.held_bytes)) else {
            return tasks;
        };
        if room == 0 {
            return 0;
        }
        let fitting = (room / self.result_bytes.max(1)).saturating_sub(self.in_flight);
        tasks.min(fitting.max(if to_idle { whole } else { 0 }))
    }

    /// How many more tasks may be under way.
    fn allowance(&self) -> u64 {
        self.plan.max_active.map_or(u64::MAX, |most| most.saturating_sub(self.in_flight + self.held))
    }

    /// The number of the chunk that is next; where chunks have no sizes of their own, how many were sent.
    pub(super) fn chunk(&self) -> u64 {
        let next = self.backlog.front().map_or(self.next, |(index, _)| *index);
        match self.plan.chunking {
            Chunking::Size(size) => next / size,
            Chunking::Splits { splits, total } => splits::number(splits, total, next),
            Chunking::Adaptive => self.chunks,
        }
    }

    /// How many tasks a worker should have queued, and how many it gets next: where `joins`, several chunks when tasks
    /// are short.
    pub(super) fn window(&self, workers: u64, joins: bool) -> Share {
        let pace = self.pace_ns.unwrap_or(UNKNOWN_PACE_NS).max(1);
        let window = (WINDOW_NS / pace).clamp(2, LONGEST_WINDOW);
        let left = self.plan.total.map_or(u64::MAX, |total| total.saturating_sub(self.next));
        let fair = (left / (2 * workers)).max(1);
        let adapted = (CHUNK_NS / pace).clamp(1, window / 2).min(fair);
        let whole = match self.plan.chunking {
            // What was too large to go at once ends its chunk with the rest.
            Chunking::Size(size) => size - self.next % size,
            Chunking::Splits { splits, total } => splits::end(splits, total, self.next) - self.next,
            Chunking::Adaptive => {
                return Share { window, chunk: adapted.min(self.allowance()), whole: 1 };
            }
        };
        let whole = whole.min(self.plan.max_active.unwrap_or(u64::MAX)).max(1);
        let is_alike = matches!(self.plan.chunking, Chunking::Size(size) if size == whole);
        let several = if joins && is_alike { adapted / whole } else { 1 };
        let chunk = (whole * several.max(1)).min(self.allowance());
        Share { window: window.max(whole.saturating_mul(2)), chunk, whole }
    }
}

/// What one worker gets of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) window: u64,
    /// The next chunk; 0 when the job may have no more under way.
    pub(super) chunk: u64,
    /// A chunk smaller than this waits until it can be whole.
    pub(super) whole: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_carry_as_in_mpire() {
        let sizes = |splits, total| {
            let next = |start: &u64| Some(splits::end(splits, total, *start)).filter(|_| *start < total);
            let ends = std::iter::successors(Some(0), next);
            ends.clone().skip(1).zip(ends).map(|(end, start)| end - start).collect::<Vec<_>>()
        };
        assert_eq!(sizes(6, 10), [2, 2, 1, 2, 2, 1]);
        assert_eq!(sizes(4, 10), [3, 2, 3, 2]);
        assert_eq!(sizes(3, 9), [3, 3, 3]);
    }
}
