//! Records in a ring that wraps again and again.

use std::sync::Arc;

use loom::thread;

use super::*;
use crate::lane::ring::{Checks, Consumer, Producer, Received, WORD};
use crate::lane::sync::{AtomicU64, Span};

/// Sends a record if there is space; `read` tells how much is free.
pub(super) fn send(producer: &mut Producer, record: &[u8], read: &AtomicU64) -> bool {
    if producer.reserve(record.len(), 0).is_none() {
        producer.free_up_to(Position::unpack(read.load(Ordering::Acquire)));
    }
    let Some(reservation) = producer.reserve(record.len(), 0) else { return false };
    reservation.send(1, record);
    true
}

/// Pushes a value to a run, in the same way.
pub(super) fn push(producer: &mut Producer, value: &[u8], read: &AtomicU64) -> bool {
    producer.push(value) || {
        producer.free_up_to(Position::unpack(read.load(Ordering::Acquire)));
        producer.push(value)
    }
}

/// Sends one byte as a value, anything else as a record.
fn push_or_send(producer: &mut Producer, bytes: &[u8], read: &AtomicU64) -> bool {
    if bytes.len() == 1 { push(producer, bytes, read) } else { send(producer, bytes, read) }
}

/// Does the same, gives back the memory that it does not need, and takes it anew for what does not fit.
pub(super) fn send_in_little(producer: &mut Producer, bytes: &[u8], read: &AtomicU64) -> bool {
    producer.free_up_to(Position::unpack(read.load(Ordering::Acquire)));
    producer.give_back();
    push_or_send(producer, bytes, read) || {
        producer.grow_for(bytes.len() + WORD as usize, 0) && push_or_send(producer, bytes, read)
    }
}

/// Takes all records, and publishes the space that is free.
pub(super) fn take_all(consumer: &mut Consumer, read: &AtomicU64) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut bytes = Vec::new();
    let mut told = consumer.position();
    while let Some(taken) = consumer.take(&mut bytes).expect("no producer writes this") {
        let bytes = std::mem::take(&mut bytes);
        match taken {
            Received::Discarded { .. } => panic!("there is memory for it"),
            Received::Record { .. } => {
                assert_eq!(taken, Received::Record { tag: 1, len: bytes.len() });
                records.push(bytes);
            }
            Received::Values { count, slots } => {
                assert_eq!(bytes.len(), count * slots.stride());
                records.extend(bytes.chunks(slots.stride()).map(|slot| slots.value(slot).to_vec()));
            }
        }
        told = consumer.position();
        read.store(told.pack(), Ordering::Release);
    }
    // The consumer passes a run that has ended without taking anything.
    if consumer.position() != told {
        read.store(consumer.position().pack(), Ordering::Release);
    }
    records
}

/// Both sides poll: for space, and for records.
fn arrive_in_order(
    ring_bytes: u32,
    checks: Checks,
    preemptions: usize,
    send: fn(&mut Producer, &[u8], &AtomicU64) -> bool,
    sent: &'static [&[u8]],
) {
    check(preemptions, move || {
        let span = Span::new(ring_bytes);
        // SAFETY: the span can be written to, and has no other producer.
        let mut producer = unsafe { Producer::new(span.clone(), checks) };
        let mut consumer = Consumer::new(span, checks);
        let read = Arc::new(AtomicU64::new(0));
        let told = read.clone();
        let sender = thread::spawn(move || {
            for record in sent {
                while !send(&mut producer, record, &told) {
                    thread::yield_now();
                }
            }
        });
        let mut records = Vec::new();
        while records.len() < sent.len() {
            let taken = take_all(&mut consumer, &read);
            if taken.is_empty() {
                thread::yield_now();
            }
            records.extend(taken);
        }
        sender.join().unwrap();
        assert_eq!(records, sent);
    });
}

#[test]
fn small_records_go_round() {
    arrive_in_order(48, Checks::Payload, 2, send, &[b"1", b"2", b"3", b"4", b"5"]);
}

#[test]
fn records_of_all_sizes_go_round() {
    arrive_in_order(64, Checks::Number, 2, send, &[b"", b"twelve bytes", b"1", b"", b"seventeen bytes !"]);
}

#[test]
fn values_go_round() {
    arrive_in_order(48, Checks::Payload, 2, push, &[b"1", b"2", b"3", b"4"]);
}

#[test]
fn values_and_records_go_round() {
    arrive_in_order(56, Checks::Payload, 2, push_or_send, &[b"1", b"record", b"2", b"3"]);
}

#[test]
fn what_is_given_back_is_not_needed() {
    arrive_in_order(80, Checks::Payload, 1, send_in_little, &[b"1", b"2", b"a record", b"3", b"4"]);
    arrive_in_order(80, Checks::Payload, 1, send_in_little, &[b"seventeen bytes !", b"1", b"eight by", b"2"]);
}
