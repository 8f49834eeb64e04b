//! What workers are to have that a pool gets when it grows.

use super::Variables;

/// The CPUs and variables of workers that the pool never had before, from one number on.
#[derive(Debug, Default)]
pub(crate) struct MoreWorkers {
    /// The number of the first.
    pub(crate) from: usize,
    pub(crate) cpus: Vec<Vec<usize>>,
    /// Empty without the option.
    pub(crate) env: Vec<Variables>,
}

impl MoreWorkers {
    /// Those from this number on: another thread may have made the pool grow meanwhile.
    pub(crate) fn after(mut self, known: usize) -> Self {
        let there = known.saturating_sub(self.from);
        self.cpus.drain(..there.min(self.cpus.len()));
        self.env.drain(..there.min(self.env.len()));
        Self { from: known, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_is_left_out() {
        let more = || MoreWorkers { from: 2, cpus: vec![vec![2], vec![3], vec![4]], env: Vec::new() };
        for (known, cpus) in
            [(2, vec![vec![2], vec![3], vec![4]]), (4, vec![vec![4]]), (5, vec![]), (9, vec![])]
        {
            let MoreWorkers { from, cpus: left, .. } = more().after(known);
            assert_eq!((from, left), (known, cpus));
        }
    }
}
