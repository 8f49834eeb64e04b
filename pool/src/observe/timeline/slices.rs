//! What a worker did, as slices of time, in bounded memory.

/// So many slices are kept of a worker.
pub(crate) const MOST: usize = 1024;
/// Tasks that follow each other are one slice until it is this long, in nanoseconds, at first.
const FIRST_GRAIN_NS: u64 = 100_000;

/// A time in which a worker did one thing: a task, or many of one function that followed each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Slice {
    /// What: a task, by its index in the registry, or [`INIT`] or [`EXIT`].
    pub(crate) task: u32,
    /// How many tasks.
    pub(crate) count: u32,
    /// The index of the first of them.
    pub(crate) first: u64,
    /// From when to when: CLOCK_MONOTONIC in nanoseconds.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// How much longer than all else in it, in nanoseconds, that took which gives it its name.
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

    /// The same, of one task, as it is by now.
    pub(crate) fn until(self, now: u64) -> Self {
        let end = now.max(self.start);
        Self { end, lead: end - self.start, ..self }
    }

    /// Takes in the one that follows. What takes more than half of the time gives its name: a vote as by Boyer and Moore.
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

/// Slices, one after the other. When there are too many, those that are close are merged: the longer the time, the coarser
/// its picture.
#[derive(Debug, Clone)]
pub(crate) struct Slices {
    list: Vec<Slice>,
    grain: u64,
}

impl Default for Slices {
    fn default() -> Self {
        Self { list: Vec::new(), grain: FIRST_GRAIN_NS }
    }
}

impl Slices {
    pub(crate) fn list(&self) -> &[Slice] {
        &self.list
    }

    /// How long a slice of several tasks is at least, unless others follow late.
    pub(crate) fn grain(&self) -> u64 {
        self.grain
    }

    /// Adds one. True if others were merged to make room.
    pub(crate) fn push(&mut self, slice: Slice) -> bool {
        let full = self.list.len() >= MOST;
        while full && self.list.len() > MOST / 2 {
            self.grain = self.grain.saturating_mul(2);
            self.merge();
        }
        self.list.push(slice);
        full
    }

    fn merge(&mut self) {
        let grain = self.grain;
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

    /// Tasks of this length with such gaps.
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
            assert!((MOST / 8..=MOST).contains(&kept.list().len()), "{} of {len}", kept.list().len());
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
