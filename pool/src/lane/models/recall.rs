//! The parent recalls the units that the worker has not claimed. Each task is run or recalled, never both.

use loom::thread;

use super::*;
use crate::ids::Unit;

#[test]
fn each_unit_is_run_or_taken_back() {
    check(2, || {
        let (mut parent, worker) = lane(&Life::endless());
        let worker = thread::spawn(|| worker.work());
        assert!(parent.send(&[1, 2]));
        parent.end.wake_worker();
        let kept = parent.recall().number() as usize;
        parent.finish();
        assert_eq!(parent.values, &[1, 2][..kept]);
        // Sends the recalled items again, and a new one.
        assert!(parent.send(&[1, 2, 3][kept..]));
        parent.finish();
        assert_eq!(parent.values, [1, 2, 3]);
        parent.exit();
        worker.join().unwrap();
        assert_eq!(parent.log.begun(), [1, 2, 3]);
    });
}

#[test]
fn a_full_ring_has_room_for_the_end_of_a_recall() {
    check(1, || {
        let (mut parent, worker) = lane(&Life::endless());
        let items = (1..).take_while(|item| parent.send(&[*item])).collect::<Vec<_>>();
        let worker = thread::spawn(|| worker.work());
        let kept = parent.recall().number() as usize;
        parent.finish();
        assert_eq!(parent.values, &items[..kept]);
        parent.exit();
        worker.join().unwrap();
        assert_eq!(parent.log.begun(), parent.values);
    });
}

#[test]
fn a_worker_that_stops_claiming_leaves_the_rest() {
    check(2, || {
        let (mut parent, mut worker) = lane(&Life::endless());
        assert!(parent.send(&[1, 2]));
        let worker = thread::spawn(move || {
            worker.stop_after_one();
            worker.work()
        });
        parent.wait_for(Unit::new(1));
        assert_eq!(parent.recall(), Unit::new(1));
        parent.finish();
        assert_eq!(parent.values, [1]);
        parent.exit();
        worker.join().unwrap();
        assert_eq!(parent.log.begun(), [1]);
    });
}
