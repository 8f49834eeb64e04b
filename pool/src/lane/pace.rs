//! The pace of a worker: how long its recent tasks took, and of which function they were. Both are one word, because
//! the parent may come to read it only when the worker is at the tasks of another call already.

/// The bits of the duration, which is enough for a quarter of an hour. The others are for the function's index.
const NS_BITS: u32 = 40;
const MOST_NS: u64 = (1 << NS_BITS) - 1;

/// The word for tasks of the function with this index.
pub(super) fn pack(task: u32, ns: u64) -> u64 {
    u64::from(task) << NS_BITS | ns.min(MOST_NS)
}

/// How long a task of this function took; 0 if the word is about another function, or about none.
pub(super) fn of(task: u32, word: u64) -> u64 {
    if word & !MOST_NS == pack(task, 0) { word & MOST_NS } else { 0 }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::poll::PollSet;

    #[test]
    fn a_pace_is_that_of_one_function() {
        assert_eq!((of(7, pack(7, 1500)), of(8, pack(7, 1500)), of(0, pack(7, 1500))), (1500, 0, 0));
        assert_eq!((of(0, 0), of(7, 0)), (0, 0), "nothing was measured yet");
        assert_eq!(of(7, pack(7, u64::MAX)), MOST_NS);
        assert_eq!(of(u32::MAX, pack(u32::MAX, 5)), 5);
    }

    #[test]
    fn the_parent_gets_no_pace_of_a_function_for_another() {
        let waker = PollSet::new().unwrap().waker().unwrap();
        let (parent, worker) = crate::lane::open(waker).unwrap();
        let mut worker = worker.open().unwrap();
        let mut answer = worker.responder();
        answer.measure(1);
        answer.count(1);
        assert!(parent.pace_ns(1) > 0);
        answer.measure(2);
        answer.count(1);
        assert_eq!(parent.pace_ns(1), 0, "the parent was late");
        assert!(parent.pace_ns(2) > 0);
    }
}
