//! What the builder takes for CPUs.

use super::MOST_WORKERS;
use crate::sys::cpu::Mask;

/// What the builder's `cpu_ids` takes: CPUs, as in `[2, 3]` or `0..4`, or sets of CPUs, as in `[[0, 1], [2, 3]]` or
/// `[0..2, 2..4]`. One for all workers, or one for each.
pub trait CpuIds {
    /// One set for each element.
    fn into_sets(self) -> Vec<Vec<usize>>;
}

impl<I: IntoIterator<Item: CpuSet>> CpuIds for I {
    fn into_sets(self) -> Vec<Vec<usize>> {
        // One more than there can be is enough to be refused: a range may have no end to speak of.
        self.into_iter().take(MOST_WORKERS + 1).map(CpuSet::into_cpus).collect()
    }
}

/// The CPUs of one worker: a number, or several.
pub trait CpuSet {
    /// The CPUs' numbers.
    fn into_cpus(self) -> Vec<usize>;
}

impl CpuSet for usize {
    fn into_cpus(self) -> Vec<usize> {
        vec![self]
    }
}

impl CpuSet for &usize {
    fn into_cpus(self) -> Vec<usize> {
        vec![*self]
    }
}

impl CpuSet for Vec<usize> {
    fn into_cpus(self) -> Vec<usize> {
        self
    }
}

impl CpuSet for &Vec<usize> {
    fn into_cpus(self) -> Vec<usize> {
        self.clone()
    }
}

impl CpuSet for &[usize] {
    fn into_cpus(self) -> Vec<usize> {
        self.to_vec()
    }
}

impl<const N: usize> CpuSet for [usize; N] {
    fn into_cpus(self) -> Vec<usize> {
        self.to_vec()
    }
}

impl<const N: usize> CpuSet for &[usize; N] {
    fn into_cpus(self) -> Vec<usize> {
        self.to_vec()
    }
}

impl CpuSet for std::ops::Range<usize> {
    fn into_cpus(self) -> Vec<usize> {
        self.take(Mask::CPUS + 1).collect()
    }
}

impl CpuSet for std::ops::RangeInclusive<usize> {
    fn into_cpus(self) -> Vec<usize> {
        self.take(Mask::CPUS + 1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_ids_is_sets() {
        assert_eq!([2, 3].into_sets(), [[2], [3]]);
        assert_eq!(vec![0].into_sets(), [[0]]);
        assert_eq!((&[1, 2][..]).into_sets(), [[1], [2]]);
        assert_eq!((40..42).into_sets(), [[40], [41]]);
        assert_eq!([[0, 1], [2, 3]].into_sets(), [[0, 1], [2, 3]]);
        assert_eq!(vec![vec![4, 5, 6, 7]].into_sets(), [[4, 5, 6, 7]]);
        assert_eq!([vec![0], vec![1, 2]].into_sets(), [vec![0], vec![1, 2]]);
        assert_eq!([0..2, 2..4].into_sets(), [[0, 1], [2, 3]]);
        assert_eq!([&[0, 1][..]].into_sets(), [[0, 1]]);
        assert_eq!([0..=1].into_sets(), [[0, 1]]);
        assert_eq!((&vec![vec![1]]).into_sets(), [[1]]);
    }
}
