//! Both sides sleep, and each is woken.

use loom::thread;

use super::*;

#[test]
fn one_order_after_another() {
    check(2, || {
        let (mut parent, worker) = lane(&Life::endless());
        let worker = thread::spawn(|| worker.work());
        for item in [1, 2] {
            assert!(parent.send(&[item]));
            parent.finish();
        }
        parent.exit();
        assert_eq!(parent.values, [1, 2]);
        worker.join().unwrap();
    });
}

#[test]
fn the_worker_waits_for_room() {
    check(2, || {
        let (mut parent, worker) = lane(&Life::endless());
        let worker = thread::spawn(|| worker.work());
        assert!(parent.send(&[1, 2, 3, 4]));
        parent.finish();
        assert_eq!(parent.values, [1, 2, 3, 4]);
        parent.exit();
        worker.join().unwrap();
    });
}

#[test]
fn the_parent_waits_for_room() {
    check(2, || {
        let (mut parent, worker) = lane(&Life::endless());
        let worker = thread::spawn(|| worker.work());
        for item in [1, 2, 3] {
            while !parent.send(&[item]) {
                parent.sleep();
                parent.drain();
            }
        }
        parent.finish();
        assert_eq!(parent.values, [1, 2, 3]);
        parent.exit();
        worker.join().unwrap();
    });
}

#[test]
fn a_closed_lane_wakes_its_worker() {
    check(3, || {
        let (mut parent, worker) = lane(&Life::endless());
        let worker = thread::spawn(|| worker.work());
        parent.end.close();
        worker.join().unwrap();
    });
}
