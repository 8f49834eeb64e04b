//! What a worker did, as slices of time in bounded memory.

/// The most slices that are kept of a worker.
pub(crate) const MAX_SLICES: usize = 1024;
/// The grain of a short run: see [`Slices::grain_ns`].
const FIRST_GRAIN_NS: u64 = 100_000;

/// A time in which a worker did one thing: a task, or several of one function, one right after another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The index of the task's function in the registry, or [`INIT`] or [`EXIT`].
    pub(crate) task: u32,
    /// The number of tasks.
    pub(crate) count: u32,
    /// The index of the first of them.
    pub(crate) first: u64,
    /// CLOCK_MONOTONIC in nanoseconds, like `end`.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The votes by which `task` leads, in nanoseconds: see [`Slice::absorb`].
    pub(crate) lead: u64,
}

/// An init function.
pub(crate) const INIT: u32 = u32::MAX;
/// The exit functions.
pub(crate) const EXIT: u32 = u32::MAX - 1;

impl Slice {
    pub(crate) fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// The slice of a task that is still running.
    pub(crate) fn until(self, now: u64) -> Self {
        let end = now.max(self.start);
        Self { end, lead: end - self.start, ..self }
    }

    /// Merges the next slice into this one. `task` stays or becomes the function that took more than half of the time,
    /// if there is one: Boyer and Moore's majority vote, with nanoseconds as votes.
    fn absorb(&mut self, next: &Self) {
        if next.task == self.task {
            self.lead = self.lead.saturating_add(next.lead);
        } else if next.lead > self.lead {
            (self.task, self.first, self.lead) = (next.task, next.first, next.lead - self.lead);
        } else {
            self.lead -= next.lead;
        }
        self.end = next.end;
        self.count = self.count.saturating_add(next.count);
    }
}

/// The slices of a worker, in order. When there are too many, neighbours are merged: the longer the run, the coarser
/// its picture.
#[derive(Debug, Clone)]
pub(crate) struct Slices {
    list: Vec<Slice>,
    grain_ns: u64,
}

impl Default for Slices {
    fn default() -> Self {
        Self { list: Vec::new(), grain_ns: FIRST_GRAIN_NS }
    }
}

impl Slices {
    pub(crate) fn list(&self) -> &[Slice] {
        &self.list
    }

    /// Short tasks that follow each other are one slice until it is this long.
    pub(crate) fn grain_ns(&self) -> u64 {
        self.grain_ns
    }

    /// Adds a slice. Returns whether others were merged to make room.
    pub(crate) fn push(&mut self, slice: Slice) -> bool {
        let full = self.list.len() >= MAX_SLICES;
        while full && self.list.len() > MAX_SLICES / 2 {
            self.grain_ns = self.grain_ns.saturating_mul(2);
            self.merge();
        }
        self.list.push(slice);
        full
    }

    fn merge(&mut self) {
        let grain = self.grain_ns;
        self.list.dedup_by(|next, last| {
            let gap = next.start.saturating_sub(last.end);
            let close = gap <= grain / 4 && next.end.saturating_sub(last.start) <= grain;
            if close {
                last.absorb(next);
            }
            close
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks of length `len` with gaps between them.
    fn slices(count: u64, len: u64, gap: u64) -> Slices {
        let mut slices = Slices::default();
        for first in 0..count {
            let start = first * (len + gap);
            slices.push(Slice { task: 1, count: 1, first, start, end: start + len, lead: len });
        }
        slices
    }

    #[test]
    fn few_slices_stay_as_they_are() {
        let kept = slices(1000, 5_000_000, 1_000);
        assert_eq!(kept.list().len(), 1000);
        assert!(kept.list().iter().all(|slice| slice.count == 1 && slice.len() == 5_000_000));
    }

    #[test]
    fn any_number_takes_bounded_memory() {
        for (len, gap) in [(1, 0), (1_000, 1_000_000), (3_000_000_000, 7)] {
            let kept = slices(100_000, len, gap);
            assert!(
                (MAX_SLICES / 8..=MAX_SLICES).contains(&kept.list().len()),
                "{} of {len}",
                kept.list().len()
            );
            assert_eq!(kept.list().iter().map(|slice| u64::from(slice.count)).sum::<u64>(), 100_000);
            assert!(kept.list().is_sorted_by(|a, b| a.end <= b.start));
            assert_eq!(kept.list().last().unwrap().end, 99_999 * (len + gap) + len);
        }
    }

    #[test]
    fn a_slice_is_named_for_what_took_longest() {
        let slice = |task, first, start, end| Slice { task, count: 1, first, start, end, lead: end - start };
        let mut short = slice(1, 9, 0, 10);
        short.absorb(&slice(2, 4, 12, 50));
        assert_eq!(short, Slice { task: 2, count: 2, first: 4, start: 0, end: 50, lead: 28 });
        // An init function, and many tasks that are short beside it.
        let mut many = slice(INIT, 0, 0, 1000);
        (0..30).for_each(|first| many.absorb(&slice(1, first, 1000 + first * 100, 1100 + first * 100)));
        assert_eq!((many.task, many.len(), many.lead), (1, 4000, 2000));
    }
}
