//! The orders that a worker has not answered yet.

use std::collections::VecDeque;

use crate::ids::{JobId, ProfileId, TaskIndex, Unit};

/// Orders, in the sequence in which they will be answered, and the number of tasks among them.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batches: VecDeque<Batch>,
    /// The number of the next unit in the worker's lane.
    next_unit: Unit,
    tasks: u64,
}

/// An unanswered order, or several chunks of one job with consecutive tasks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    /// The first unit that is not answered.
    pub(super) unit: Unit,
    pub(super) kind: OrderKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderKind {
    Tasks { job: JobId, first: TaskIndex, count: u64, attempt: u32 },
    Init { profile: ProfileId },
    Exit,
    Resume,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The order that will be answered next.
    pub(super) fn head(&self) -> Option<Batch> {
        self.batches.front().copied()
    }

    /// Whether it has this task.
    pub(super) fn has(&self, wanted: JobId, index: TaskIndex) -> bool {
        self.batches.iter().any(|batch| match batch.kind {
            OrderKind::Tasks { job, first, count, .. } => {
                job == wanted && first <= index && index < first + count
            }
            OrderKind::Init { .. } | OrderKind::Exit | OrderKind::Resume => false,
        })
    }

    /// Whether it has the order to make the state of this profile.
    pub(super) fn has_init(&self, wanted: ProfileId) -> bool {
        let is_it = |batch: &Batch| matches!(batch.kind, OrderKind::Init { profile } if profile == wanted);
        self.batches.iter().any(is_it)
    }

    pub(super) fn next_unit(&self) -> Unit {
        self.next_unit
    }

    pub(super) fn push(&mut self, kind: OrderKind) {
        let unit = self.next_unit;
        let OrderKind::Tasks { job, first, count, attempt } = kind else {
            self.next_unit = unit + 1;
            return self.batches.push_back(Batch { unit, kind });
        };
        self.next_unit = unit + count as u32;
        self.tasks += count;
        match self.batches.back_mut().map(|last| &mut last.kind) {
            Some(OrderKind::Tasks { job: of, first: from, count: so_far, attempt: at })
                if (*of, *from + *so_far, *at) == (job, first, attempt) =>
            {
                *so_far += count;
            }
            _ => self.batches.push_back(Batch { unit, kind }),
        }
    }

    /// Removes the answered head: `count` tasks, or one order of another kind.
    pub(super) fn pop(&mut self, count: u64) {
        let Some(head) = self.batches.front_mut() else { return };
        let OrderKind::Tasks { first, count: left, .. } = &mut head.kind else {
            self.batches.pop_front();
            return;
        };
        debug_assert!(count <= *left);
        *first += count;
        *left -= count;
        head.unit = head.unit + count as u32;
        if *left == 0 {
            self.batches.pop_front();
        }
        self.tasks -= count;
    }

    /// Removes and returns all tasks from this unit on, or everything.
    pub(super) fn take(&mut self, from: Option<Unit>) -> Vec<Batch> {
        let mut taken = Vec::new();
        for batch in std::mem::take(&mut self.batches) {
            let (stays, goes) = from.map_or((None, Some(batch)), |unit| batch.split_at(unit));
            self.batches.extend(stays);
            if let Some(Batch { kind: OrderKind::Tasks { count, .. }, .. }) = goes {
                self.tasks -= count;
            }
            taken.extend(goes);
        }
        taken
    }

    /// The number of tasks in the queue.
    pub(super) fn tasks(&self) -> u64 {
        self.tasks
    }

    /// The last batches, at most this many, the last one first.
    pub(super) fn last(&self, most: usize) -> impl Iterator<Item = &Batch> {
        self.batches.iter().rev().take(most)
    }

    #[cfg(test)]
    pub(super) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter()
    }

    /// The number of batches in the queue.
    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }
}

impl Batch {
    /// Splits the batch at `unit`: the tasks before it stay, the others are removed. Orders of other kinds stay.
    fn split_at(self, unit: Unit) -> (Option<Self>, Option<Self>) {
        let OrderKind::Tasks { job, first, count, attempt } = self.kind else { return (Some(self), None) };
        let kept = if unit.is_before(self.unit) { 0 } else { u64::from(unit - self.unit).min(count) };
        let part = |first: TaskIndex, count, unit| {
            (count > 0).then_some(Self { unit, kind: OrderKind::Tasks { job, first, count, attempt } })
        };
        (part(first, kept, self.unit), part(first + kept, count - kept, self.unit + kept as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(job: u32, first: u64, count: u64) -> OrderKind {
        OrderKind::Tasks { job: JobId::new(job), first: TaskIndex::new(first), count, attempt: 1 }
    }

    #[test]
    fn tasks_that_follow_each_other_are_one_batch() {
        let mut queue = Queue::default();
        for kind in [
            tasks(1, 0, 3),
            tasks(1, 3, 2),
            tasks(1, 7, 1),
            tasks(2, 8, 1),
            OrderKind::Resume,
            tasks(2, 9, 1),
        ] {
            queue.push(kind);
        }
        let units: Vec<u32> = queue.batches.iter().map(|batch| batch.unit.number()).collect();
        assert_eq!(units, [0, 5, 6, 7, 8]);
        assert_eq!(queue.tasks(), 8);
        queue.pop(4);
        assert_eq!(queue.head().map(|head| (head.unit.number(), head.kind)), Some((4, tasks(1, 4, 1))));
    }

    #[test]
    fn a_batch_is_split_where_it_was_claimed() {
        let mut queue = Queue::default();
        queue.push(tasks(1, 0, 4));
        queue.push(OrderKind::Exit);
        queue.push(tasks(1, 9, 2));
        let taken: Vec<(u32, OrderKind)> =
            queue.take(Some(Unit::new(3))).iter().map(|batch| (batch.unit.number(), batch.kind)).collect();
        assert_eq!(taken, [(3, tasks(1, 3, 1)), (5, tasks(1, 9, 2))]);
        assert_eq!((queue.tasks(), queue.next_unit().number()), (3, 7));
        assert_eq!(queue.take(None).len(), 2);
        assert!(queue.is_empty() && queue.tasks() == 0);
    }
}
