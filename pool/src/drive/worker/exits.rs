//! The exit functions that a worker is to run.

use std::collections::VecDeque;

use crate::lane::Corrupt;
use crate::work::FunctionRef;

/// The exit functions of a worker's states. It runs them in the order in which it made the states, so the parent knows
/// which one an answer is about without trusting the worker.
#[derive(Debug, Default)]
pub(super) struct ExitFunctions {
    /// The functions of states that were ordered and are not made yet. A state may have none.
    ordered: VecDeque<Option<FunctionRef>>,
    /// The functions of states that were made, as far as their results are still to come.
    left: VecDeque<FunctionRef>,
}

impl ExitFunctions {
    /// Records that the worker was told to make a state that ends with this function.
    pub(super) fn order(&mut self, exit: Option<FunctionRef>) {
        self.ordered.push_back(exit);
    }

    /// Records whether the worker says that it made the oldest of the ordered states.
    pub(super) fn answered(&mut self, is_made: bool) -> Result<(), Corrupt> {
        let exit = self.ordered.pop_front().ok_or(Corrupt)?;
        self.left.extend(exit.filter(|_| is_made));
        Ok(())
    }

    /// The function that it runs, or will run next.
    pub(super) fn next(&self) -> Option<FunctionRef> {
        self.left.front().copied()
    }

    /// Records that this function has ended.
    pub(super) fn take_next(&mut self) -> Result<FunctionRef, Corrupt> {
        self.left.pop_front().ok_or(Corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_functions_answer_in_the_order_of_their_states() {
        let [count, save] = [(3, "count"), (1, "save")].map(|(index, name)| FunctionRef { index, name });
        let mut exits = ExitFunctions::default();
        for exit in [Some(count), None, Some(save), Some(count)] {
            exits.order(exit);
        }
        assert!(exits.take_next().is_err(), "no state is made");
        for is_made in [false, true, true, true] {
            exits.answered(is_made).unwrap();
        }
        assert!(exits.answered(true).is_err(), "no other was ordered");
        assert_eq!(exits.next().unwrap().name, "save");
        assert_eq!([(); 2].map(|()| exits.take_next().unwrap().name), ["save", "count"]);
        assert!(exits.next().is_none() && exits.take_next().is_err());
    }
}
