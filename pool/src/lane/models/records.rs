//! Records through a ring that wraps all the time.

use std::sync::Arc;

use loom::thread;

use crate::lane::models::check;
use crate::lane::ring::{Checks, Consumer, Position, Producer};
use crate::lane::sync::{AtomicU64, Span};

use super::*;

/// Sends the records, waiting for room by looking again and again.
fn send_all(producer: &mut Producer, records: &[&[u8]], read: &AtomicU64) {
    for record in records {
        while producer.reserve(record.len(), 0).is_none() {
            producer.free_up_to(Position::unpack(read.load(Ordering::Acquire)));
            thread::yield_now();
        }
        let mut room = producer.reserve(record.len(), 0).unwrap();
        room.bytes()[..record.len()].copy_from_slice(record);
        room.commit(1, record.len());
    }
}

/// Takes so many records, telling after each what is free.
fn take_all(consumer: &mut Consumer, count: usize, read: &AtomicU64) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while records.len() < count {
        let mut bytes = Vec::new();
        match consumer.take(&mut bytes).expect("no producer writes this") {
            Some((1, len)) => assert_eq!(len, bytes.len()),
            Some((tag, _)) => panic!("tag {tag} was not sent"),
            None => {
                thread::yield_now();
                continue;
            }
        }
        records.push(bytes);
        read.store(consumer.position().pack(), Ordering::Release);
    }
    records
}

fn arrive_in_order(ring_bytes: u32, checks: Checks, preemptions: usize, records: &'static [&[u8]]) {
    check(preemptions, move || {
        let span = Span::new(ring_bytes);
        // SAFETY: the span can be written to, and has no other producer.
        let mut producer = unsafe { Producer::new(span.clone(), checks) };
        let mut consumer = Consumer::new(span, checks);
        let read = Arc::new(AtomicU64::new(0));
        let told = read.clone();
        let sender = thread::spawn(move || send_all(&mut producer, records, &told));
        assert_eq!(take_all(&mut consumer, records.len(), &read), records);
        sender.join().unwrap();
    });
}

#[test]
fn small_records_go_round() {
    arrive_in_order(48, Checks::Payload, 3, &[b"1", b"2", b"3", b"4", b"5"]);
}

#[test]
fn records_of_all_sizes_go_round() {
    arrive_in_order(64, Checks::Number, 3, &[b"", b"twelve bytes", b"1", b"", b"seventeen bytes !"]);
}
