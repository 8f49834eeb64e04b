//! How tasks that failed are tried again.

use crate::ids::TaskIndex;

/// What is to know about further attempts, beyond how many there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryPlan {
    /// How long the first of them waits. Each later one waits twice as long, up to `most_ns`.
    pub(crate) first_ns: u64,
    pub(crate) most_ns: u64,
    /// What the delays are varied by, if they are.
    pub(crate) jitter: Option<u64>,
    /// The caller is asked after each failure.
    pub(crate) asks: bool,
}

impl RetryPlan {
    /// How long the task waits after this many attempts. With jitter, between half of its time and all of it: so tasks
    /// that failed together come back apart, and none too early.
    pub(crate) fn delay_ns(&self, index: TaskIndex, attempts: u32) -> u64 {
        if self.first_ns == 0 {
            return 0;
        }
        let doublings = attempts.saturating_sub(1);
        let grown = self.first_ns.checked_shl(doublings).filter(|grown| grown >> doublings == self.first_ns);
        let whole = grown.unwrap_or(u64::MAX).min(self.most_ns);
        let Some(seed) = self.jitter else { return whole };
        let random = scatter(scatter(scatter(seed) ^ (index.number() + 1)) ^ u64::from(attempts));
        let half = whole / 2;
        whole - half + ((u128::from(half) * u128::from(random)) >> 64) as u64
    }
}

/// The output function of SplitMix64: flipping one bit of its input flips about half of the output's.
pub(crate) fn scatter(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(first_ns: u64, most_ns: u64, jitter: Option<u64>, index: u64) -> Vec<u64> {
        let plan = RetryPlan { first_ns, most_ns, jitter, asks: false };
        [1, 2, 3, 4, 5, 64, 65, 66, u32::MAX].map(|n| plan.delay_ns(TaskIndex::new(index), n)).to_vec()
    }

    #[test]
    fn delays_double_up_to_the_most() {
        assert_eq!(delays(10, 100, None, 7), [10, 20, 40, 80, 100, 100, 100, 100, 100]);
        assert_eq!(delays(0, 100, None, 7), [0; 9]);
        assert_eq!(delays(5, 5, None, 7), [5; 9]);
        assert_eq!(delays(1, u64::MAX, None, 0)[4..], [16, 1 << 63, u64::MAX, u64::MAX, u64::MAX]);
        assert_eq!(delays(u64::MAX, u64::MAX, None, 0), [u64::MAX; 9]);
    }

    #[test]
    fn jitter_takes_at_most_half_and_depends_on_its_seed_alone() {
        let of = |seed, index| delays(1000, 1_000_000, Some(seed), index);
        let whole = delays(1000, 1_000_000, None, 0);
        let all: Vec<Vec<u64>> =
            (0..50).flat_map(|seed| (0..50).map(move |index| (seed, index))).map(|(s, i)| of(s, i)).collect();
        for varied in &all {
            assert!(varied.iter().zip(&whole).all(|(varied, whole)| (whole / 2..=*whole).contains(varied)));
        }
        assert_eq!(of(3, 4), of(3, 4));
        let (least, most) = all.iter().map(|of| of[0]).fold((1000, 0), |(a, b), of| (a.min(of), b.max(of)));
        assert!(least < 520 && most > 980, "{least} to {most}");
    }
}
