//! One side dies, before any one of its accesses to shared memory. The other side finds everything that was committed,
//! and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use loom::thread;

use super::records::{push, send, send_in_little, take_all};
use super::*;
use crate::ids::Unit;
use crate::lane::ring::{Checks, Consumer, Producer};
use crate::lane::sync::{AtomicU64, Span};

/// Checks the model with a life of zero accesses, of one, and so on, until the mortal side survives. The model returns
/// whether it died.
fn check_all_lives(preemptions: usize, model: impl Fn(Life) -> bool + Send + Sync + 'static) {
    let model = Arc::new(model);
    for accesses in 0.. {
        let (model, somebody) = (model.clone(), Arc::new(AtomicBool::new(false)));
        let died = somebody.clone();
        check(preemptions, move || {
            died.fetch_or(model(Life::of(accesses)), Ordering::Relaxed);
        });
        if !somebody.load(Ordering::Relaxed) {
            assert!(accesses > 10, "too few places to die in");
            return;
        }
    }
}

#[test]
fn of_a_producer_of_records() {
    of_a_producer(send, &[b"1", b"two", b"3", b"four"]);
}

#[test]
fn of_a_producer_of_values() {
    of_a_producer(push, &[b"1", b"2", b"two", b"3", b"4"]);
}

#[test]
fn of_a_producer_that_gives_memory_back() {
    of_a_producer(send_in_little, &[b"seventeen bytes !", b"1", b"two", b"3"]);
}

fn of_a_producer(send: fn(&mut Producer, &[u8], &AtomicU64) -> bool, all: &'static [&[u8]]) {
    check_all_lives(3, move |life| {
        let span = Span::new(48);
        // SAFETY: the span can be written to, and has no other producer.
        let mut producer = unsafe { Producer::new(span.seen_by(&life), Checks::Payload) };
        let mut consumer = Consumer::new(span, Checks::Payload);
        let (read, committed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let (told, count) = (read.clone(), committed.clone());
        let producer = thread::spawn(move || {
            Life::ends_in(|| {
                let sent = all.iter().take_while(|record| send(&mut producer, record, &told));
                sent.for_each(|_| _ = count.fetch_add(1, Ordering::Relaxed));
            })
        });
        let mut records = take_all(&mut consumer, &read);
        records.extend(take_all(&mut consumer, &read));
        let died = producer.join().unwrap();
        records.extend(take_all(&mut consumer, &read));
        assert_eq!(records, &all[..committed.load(Ordering::Relaxed)]);
        died
    });
}

#[test]
fn of_a_worker() {
    check_all_lives(1, |life| {
        let (mut parent, worker) = lane(&life);
        let worker = thread::spawn(|| worker.work());
        assert!(parent.send(&[1, 2]));
        assert!(parent.send(&[3]));
        parent.finish();
        if parent.answered == Unit::new(3) {
            parent.exit();
        }
        let died = worker.join().unwrap();
        parent.drain();
        // The parent has every value that was committed.
        let sent = parent.log.sent();
        assert_eq!(parent.values, &[1, 2, 3][..sent]);
        // It can tell whether the next unit was begun.
        let unit = parent.answered;
        assert_eq!(parent.end.is_running(unit), parent.log.begun().len() > sent);
        // It can read back every order that is not answered.
        for sent in &parent.open {
            assert_eq!(parent.end.sent_payload(sent.record, sent.items.len()), sent.items);
        }
        died
    });
}
