//! Whether a worker is stalled: it sleeps although it has orders. A sound one is about to be woken then, and goes on.

use super::outbox::Outbox;
use crate::ids::Unit;
use crate::lane::{ParentEnd, Position};

/// How far a worker has come with its orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stall {
    /// The first unit without an answer, and the number of orders without one.
    answered: Unit,
    unanswered: usize,
    /// How far its replies were read. A large one comes in parts, and the worker may sleep before each of them.
    read: Position,
}

impl Stall {
    /// Where the worker is, if it says that it sleeps although it has orders, and has said nothing else.
    pub(super) fn of(lane: &ParentEnd, outbox: &Outbox) -> Option<Self> {
        let (answered, unanswered, read) = (outbox.answered(), outbox.unanswered(), lane.read_up_to());
        let sleeps = unanswered > 0 && !lane.has_reply() && lane.worker_sleeps();
        sleeps.then_some(Self { answered, unanswered, read })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;
    use crate::lane::{self, order};
    use crate::sys::poll::PollSet;

    /// Found asleep twice within one result, in each case before it was woken for the space that there is now.
    #[test]
    fn a_large_result_is_no_stall() {
        let (mut lane, worker) = lane::open(PollSet::new().unwrap().waker().unwrap()).unwrap();
        let mut outbox = Outbox::default();
        outbox.send(&mut lane, order::RESUME, &[], None, 1);
        let worker = thread::spawn(move || {
            let mut worker = worker.open().unwrap();
            worker.responder().value(|out| {
                out.resize(64 << 20, 7);
                Ok::<_, ()>(())
            })
        });
        let mut stalls = Vec::new();
        while stalls.len() < 3 {
            while !lane.worker_sleeps() {
                thread::yield_now();
            }
            while lane.has_reply() {
                lane.next_reply(&mut Vec::new(), usize::MAX).unwrap();
            }
            stalls.push(Stall::of(&lane, &outbox).expect("it sleeps"));
            lane.publish_read();
            lane.wake_worker();
            while lane.worker_sleeps() && !lane.has_reply() {
                thread::yield_now();
            }
        }
        assert!(stalls[0] != stalls[1] && stalls[1] != stalls[2], "{stalls:?}");
        while !worker.is_finished() {
            while lane.has_reply() {
                lane.next_reply(&mut Vec::new(), usize::MAX).unwrap();
            }
            lane.publish_read();
            lane.wake_worker();
        }
        worker.join().unwrap().unwrap();
        assert_eq!(Stall::of(&lane, &outbox), None);
    }
}
