//! The shapes in which the builder accepts CPUs.

use std::ops::{Range, RangeInclusive};

use core_affinity::CoreId;

use super::MOST_WORKERS;
use crate::sys::cpu::MOST_CPUS;

/// The argument of the builder's `cpu_ids`: CPUs, as in `[2, 3]` or `0..4`, or sets of CPUs, as in `[[0, 1], [2, 3]]`
/// or `[0..2, 2..4]`. It holds one for all workers, or one for each. `CoreId`s of the crate core_affinity may stand for
/// numbers, except in ranges.
pub trait CpuIds {
    /// Returns one set for each element.
    fn into_sets(self) -> Vec<Vec<usize>>;
}

impl<I: IntoIterator<Item: CpuSet>> CpuIds for I {
    fn into_sets(self) -> Vec<Vec<usize>> {
        // A range may be endless. One set more than the most workers is enough for the pool to refuse it.
        self.into_iter().take(MOST_WORKERS + 1).map(CpuSet::into_cpus).collect()
    }
}

/// One CPU.
pub trait Cpu: Copy {
    /// Returns its number.
    fn number(self) -> usize;
}

impl Cpu for usize {
    fn number(self) -> usize {
        self
    }
}

impl Cpu for CoreId {
    fn number(self) -> usize {
        self.id
    }
}

impl<C: Cpu> Cpu for &C {
    fn number(self) -> usize {
        (*self).number()
    }
}

/// The CPUs of one worker: one CPU, or several.
pub trait CpuSet {
    /// Returns the CPUs' numbers.
    fn into_cpus(self) -> Vec<usize>;
}

impl<C: Cpu> CpuSet for C {
    fn into_cpus(self) -> Vec<usize> {
        vec![self.number()]
    }
}

impl<C: Cpu> CpuSet for Vec<C> {
    fn into_cpus(self) -> Vec<usize> {
        self.as_slice().into_cpus()
    }
}

impl<C: Cpu> CpuSet for &Vec<C> {
    fn into_cpus(self) -> Vec<usize> {
        self.as_slice().into_cpus()
    }
}

impl<C: Cpu> CpuSet for &[C] {
    fn into_cpus(self) -> Vec<usize> {
        self.iter().map(Cpu::number).collect()
    }
}

impl<C: Cpu, const N: usize> CpuSet for [C; N] {
    fn into_cpus(self) -> Vec<usize> {
        self.as_slice().into_cpus()
    }
}

impl<C: Cpu, const N: usize> CpuSet for &[C; N] {
    fn into_cpus(self) -> Vec<usize> {
        self.as_slice().into_cpus()
    }
}

impl CpuSet for Range<usize> {
    fn into_cpus(self) -> Vec<usize> {
        self.take(MOST_CPUS + 1).collect()
    }
}

impl CpuSet for RangeInclusive<usize> {
    fn into_cpus(self) -> Vec<usize> {
        self.take(MOST_CPUS + 1).collect()
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

    #[test]
    fn core_ids_have_the_shapes_of_numbers() {
        let [a, b] = [2, 3].map(|id| CoreId { id });
        assert_eq!([a, b].into_sets(), [[2], [3]]);
        assert_eq!(vec![a, b].into_sets(), [[2], [3]]);
        assert_eq!((&vec![a, b]).into_sets(), [[2], [3]]);
        assert_eq!((&[a, b]).into_sets(), [[2], [3]]);
        assert_eq!((&[a, b][..]).into_sets(), [[2], [3]]);
        assert_eq!(Some(a).into_sets(), [[2]]);
        assert_eq!([[a, b], [b, a]].into_sets(), [[2, 3], [3, 2]]);
        assert_eq!([&[a, b]].into_sets(), [[2, 3]]);
        assert_eq!([vec![a], vec![a, b]].into_sets(), [vec![2], vec![2, 3]]);
        assert_eq!(vec![vec![a, b]].into_sets(), [[2, 3]]);
        assert_eq!((&vec![vec![a, b]]).into_sets(), [[2, 3]]);
        assert_eq!([&[a, b][..]].into_sets(), [[2, 3]]);
        assert_eq!([a, b, a].chunks(2).into_sets(), [vec![2, 3], vec![2]]);
    }
}
