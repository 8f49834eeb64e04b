//! Both ends of a ring over private memory.

use std::collections::VecDeque;

use super::*;
use crate::sys::cpu_time::of_this_thread;

/// A ring over private memory.
pub(super) struct Pair {
    _memory: Vec<u64>,
    pub(super) producer: Producer,
    pub(super) consumer: Consumer,
}

pub(super) fn pair(len: u32) -> Pair {
    let mut memory = vec![0u64; len as usize / 8];
    let base = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
    // SAFETY: the vector is aligned, zeroed, and lives beside the two ends.
    let span = || unsafe { Span::new(base, len) };
    // SAFETY: the vector can be written to, and there is no other producer.
    let producer = unsafe { Producer::new(span(), Checks::Payload) };
    let consumer = Consumer::new(span(), Checks::Payload);
    Pair { _memory: memory, producer, consumer }
}

/// A ring for which the system has `most` bytes.
fn pair_with_memory(len: u32, most: u32) -> Pair {
    let mut pair = pair(len);
    let (at_first, whole) = (pair.producer.backed, len);
    assert_eq!(at_first, whole);
    let base = NonNull::new(pair._memory.as_mut_ptr().cast()).unwrap();
    // SAFETY: as in `pair`; the ends that it has made are dropped.
    let span = || unsafe { Span::new(base, len) }.given_up_to(most);
    // SAFETY: the vector can be written to, and the other producer is dropped.
    pair.producer = unsafe { Producer::new(span(), Checks::Payload) };
    pair.consumer = Consumer::new(span(), Checks::Payload);
    pair
}

#[test]
fn a_ring_gets_longer_where_it_is_full() {
    let mut pair = pair_with_memory(4 << 20, 4 << 20);
    let record = vec![7; 50_000];
    let mut sent = 0;
    loop {
        if send(&mut pair.producer, 1, &record) {
            sent += 1;
        } else if !pair.producer.grow_for(record.len(), 0) {
            break;
        }
    }
    assert_eq!(pair.producer.backed, 4 << 20);
    assert!(sent > 80, "{sent} records");
    while receive(&mut pair.consumer).is_some() {}
    assert_eq!(pair.consumer.backed, 4 << 20);
}

#[test]
fn no_record_lies_beyond_the_memory() {
    const MEMORY: u32 = 300 << 10;
    let mut pair = pair_with_memory(4 << 20, MEMORY);
    assert!(pair.producer.takes(60_000) && pair.producer.takes(120_000) && !pair.producer.takes(200_000));
    let backed = pair.producer.backed;
    assert!((240_000..=MEMORY).contains(&backed));
    for round in 0..1000_usize {
        let record = vec![round as u8; round * 7919 % 120_000];
        if !send(&mut pair.producer, 1, &record) {
            assert!(!pair.producer.grow_for(record.len(), 0) || pair.producer.backed <= MEMORY);
            while receive(&mut pair.consumer).is_some() {}
            pair.producer.free_up_to(pair.consumer.position());
            assert!(send(&mut pair.producer, 1, &record), "what it takes fits an empty ring, at {round}");
        }
        assert!(pair.producer.position().offset + WORD <= backed);
    }
    assert!(!send(&mut pair.producer, 1, &vec![0; 200_000]));
}

#[test]
fn a_header_that_says_more_than_there_is_memory_is_corrupt() {
    let mut pair = pair_with_memory(4 << 20, 300 << 10);
    let header = Header { len: 1 << 20, tag: 1, check: 0 };
    pair.producer.span.header(0).store(header.pack(), Ordering::Release);
    assert_eq!(pair.consumer.take(&mut Vec::new()), Err(Corrupt));
}

pub(super) fn send(producer: &mut Producer, tag: u8, bytes: &[u8]) -> bool {
    let Some(reservation) = producer.reserve(bytes.len(), 0) else { return false };
    reservation.send(tag, bytes);
    true
}

fn receive(consumer: &mut Consumer) -> Option<(u8, Vec<u8>)> {
    let mut bytes = Vec::new();
    let taken = consumer.take(&mut bytes).unwrap()?;
    let Received::Record { tag, len } = taken else { panic!("{taken:?}") };
    assert_eq!(len, bytes.len());
    Some((tag, bytes))
}

#[test]
fn an_uncommitted_record_is_not_there() {
    let mut pair = pair(4096);
    assert_eq!(receive(&mut pair.consumer), None);
    pair.producer.reserve(10, 0).unwrap().bytes()[0] = 9;
    assert_eq!(receive(&mut pair.consumer), None);
    assert!(send(&mut pair.producer, 3, b"ten"));
    assert_eq!(receive(&mut pair.consumer), Some((3, b"ten".to_vec())));
    assert_eq!(receive(&mut pair.consumer), None);
}

#[test]
fn a_full_ring_refuses_until_it_is_freed() {
    let mut pair = pair(1024);
    let mut sent = 0;
    while send(&mut pair.producer, 1, &[7; 100]) {
        sent += 1;
    }
    assert!(sent >= 8);
    assert!(receive(&mut pair.consumer).is_some());
    assert!(!send(&mut pair.producer, 1, &[7; 100]));
    pair.producer.free_up_to(pair.consumer.position());
    assert!(receive(&mut pair.consumer).is_some());
    pair.producer.free_up_to(pair.consumer.position());
    assert!(send(&mut pair.producer, 1, &[7; 100]));
}

#[test]
fn spared_space_is_there_when_the_rest_is_full() {
    let mut pair = pair(1024);
    for step in 0..300usize {
        while let Some(mut reservation) = pair.producer.reserve(step % 40, WORD) {
            let len = reservation.bytes().len().min(step % 90);
            reservation.send(1, &vec![7; len]);
        }
        assert!(pair.producer.reserve(0, 0).is_some(), "step {step}");
        pair.producer.reserve(0, 0).unwrap().send(2, &[]);
        for _ in 0..step % 3 + 1 {
            while receive(&mut pair.consumer).is_some_and(|(tag, _)| tag != 2) {}
        }
        pair.producer.free_up_to(pair.consumer.position());
    }
}

#[test]
fn the_longest_record_fits_an_empty_ring_wherever_it_stands() {
    let mut pair = pair(4096);
    let longest = pair.producer.longest();
    for step in 0..2000usize {
        let small = vec![1; step * 13 % 700];
        for bytes in [small, vec![2; longest]] {
            assert!(send(&mut pair.producer, 1, &bytes), "step {step}");
            assert_eq!(receive(&mut pair.consumer), Some((1, bytes)));
            pair.producer.free_up_to(pair.consumer.position());
        }
    }
}

#[test]
fn a_dropped_reservation_moves_nothing() {
    let mut pair = pair(1 << 20);
    while pair.producer.position().offset < HOT_BYTES {
        assert!(send(&mut pair.producer, 1, &[1; 900]));
        assert!(receive(&mut pair.consumer).is_some());
        pair.producer.free_up_to(pair.consumer.position());
    }
    // The first reservation is at the start of the ring; a record that does not fit there goes ahead.
    let small = pair.producer.reserve(1, 0).unwrap().bytes().len();
    assert!(small < HOT_BYTES as usize * 2);
    assert!(send(&mut pair.producer, 2, &vec![2; 2 * HOT_BYTES as usize]));
    assert_eq!(receive(&mut pair.consumer).unwrap().0, 2);
}

#[test]
fn small_records_stay_in_the_hot_part() {
    let mut pair = pair(1 << 20);
    for step in 0u32..100_000 {
        assert!(send(&mut pair.producer, 1, &step.to_le_bytes()));
        assert!(receive(&mut pair.consumer).is_some());
        pair.producer.free_up_to(pair.consumer.position());
        assert!(pair.producer.position().offset <= HOT_BYTES + 64);
    }
}

/// A small record, once the consumer has read what there is.
fn send_small(pair: &mut Pair) {
    pair.producer.free_up_to(pair.consumer.position());
    assert!(send(&mut pair.producer, 1, b"small"));
    assert_eq!(receive(&mut pair.consumer), Some((1, b"small".to_vec())));
    pair.producer.free_up_to(pair.consumer.position());
}

#[test]
fn a_long_ring_is_given_back_wherever_its_producer_stands() {
    let mut pair = pair_with_memory(4 << 20, 4 << 20);
    let record = vec![7; 200_000];
    for records in [1, 5, 19, 2, 11] {
        assert!(pair.producer.takes(record.len()));
        for _ in 0..records {
            assert!(send(&mut pair.producer, 1, &record) || pair.producer.grow_for(record.len(), 0));
        }
        let backed = pair.producer.backed;
        pair.producer.give_back();
        assert_eq!(pair.producer.backed, backed, "nothing is read yet");
        while receive(&mut pair.consumer).is_some() {}
        pair.producer.free_up_to(pair.consumer.position());
        pair.producer.give_back();
        assert_eq!(pair.producer.backed, HOT_BYTES);
        assert!(!pair.consumer.is_ready(), "nothing was sent");
        send_small(&mut pair);
        assert!(pair.producer.position().offset < HOT_BYTES);
    }
}

#[test]
fn a_long_ring_is_given_back_behind_a_late_answer() {
    for (records, wraps) in [(1, true), (1, false), (5, true), (5, false), (40, true), (40, false)] {
        let mut pair = pair_with_memory(4 << 20, 4 << 20);
        let record = vec![7; 100_000];
        assert!(pair.producer.takes(record.len()));
        for _ in 0..records {
            assert!(send(&mut pair.producer, 1, &record) || pair.producer.grow_for(record.len(), 0));
        }
        while receive(&mut pair.consumer).is_some() {}
        if wraps {
            pair.producer.free_up_to(pair.consumer.position());
        } else {
            // It does not know yet that the start is free.
            pair.producer.learned_at = pair.producer.at;
        }
        assert!(send(&mut pair.producer, 2, b"late"));
        assert_eq!(pair.producer.position().lap, u32::from(wraps));
        pair.producer.free_up_to(pair.consumer.position());
        pair.producer.give_back();
        assert_eq!(pair.producer.backed, HOT_BYTES);
        assert_eq!(receive(&mut pair.consumer), Some((2, b"late".to_vec())));
        pair.producer.free_up_to(pair.consumer.position());
        send_small(&mut pair);
        assert!(pair.producer.position().offset < HOT_BYTES);
    }
}

/// Pushes a value to a ring of which nothing more is freed.
fn push_ahead(producer: &mut Producer, value: &[u8]) {
    let mut push = || {
        producer.free_up_to(producer.freed);
        producer.push(value) || {
            producer.grow_for(value.len() + WORD as usize, 0);
            false
        }
    };
    assert!((0..3).any(|_| push()), "the ring grows for it");
}

#[test]
fn a_long_ring_is_given_back_with_a_run_open() {
    for value in [8, 3000, 100_000] {
        let mut pair = pair_with_memory(4 << 20, 4 << 20);
        assert!(pair.producer.takes(value));
        let value = vec![9; value];
        for _ in 0..12 {
            push_ahead(&mut pair.producer, &value);
        }
        let mut bytes = Vec::new();
        while pair.consumer.take(&mut bytes).unwrap().is_some() {}
        pair.producer.free_up_to(pair.consumer.position());
        pair.producer.lengthen(1 << 20);
        pair.producer.give_back();
        assert_eq!(pair.producer.backed, HOT_BYTES, "with values of {}", value.len());
        bytes.clear();
        assert!(!pair.consumer.is_ready(), "nothing was sent");
        pair.producer.takes(value.len());
        pair.producer.free_up_to(pair.consumer.position());
        assert!(pair.producer.push(&value));
        let taken = pair.consumer.take(&mut bytes).unwrap();
        assert_eq!(taken, Some(Received::Values { count: 1, slots: Slots::Alike(value.len()) }));
        assert_eq!(bytes[..value.len()], value);
    }
}

#[test]
fn records_go_back_to_the_start_as_soon_as_it_is_free() {
    let mut pair = pair(4 << 20);
    // The consumer is late by more than the hot part, and then no more.
    while pair.producer.position().offset < 3 * HOT_BYTES {
        assert!(send(&mut pair.producer, 1, &[1; 900]));
    }
    while receive(&mut pair.consumer).is_some() {}
    assert!(pair.producer.is_stale());
    send_small(&mut pair);
    assert!(!pair.producer.is_stale() && pair.producer.position().offset < HOT_BYTES);
}

#[test]
fn any_walk_keeps_order_and_content() {
    // A fixed walk through sizes and paces that wraps in every state.
    let mut pair = pair(2048);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut expected = VecDeque::new();
    for _ in 0..200_000 {
        if random() % 2 == 0 {
            let len = (random() % 300) as usize;
            let bytes = vec![random() as u8; len];
            let tag = 1 + (random() % 200) as u8;
            if send(&mut pair.producer, tag, &bytes) {
                expected.push_back((tag, bytes));
            }
        } else {
            assert_eq!(receive(&mut pair.consumer), expected.pop_front());
            if random() % 3 == 0 {
                pair.producer.free_up_to(pair.consumer.position());
            }
        }
    }
}

#[test]
fn a_record_that_was_overwritten_is_corrupt() {
    for word in 0..8 {
        let mut pair = pair(4096);
        assert!(send(&mut pair.producer, 3, &[7; 50]));
        let header = pair.consumer.span.header(word * WORD).fetch_add(1 << 9, Ordering::Relaxed);
        assert_eq!(pair.consumer.take(&mut Vec::new()), Err(Corrupt), "word {word}, which was {header:#x}");
    }
}

#[test]
fn a_header_that_no_producer_writes_is_corrupt() {
    for word in [u64::MAX, 1, 0xff << 32, (1 << 32) | 5000, (1 << 40) | (1 << 32)] {
        let mut pair = pair(4096);
        pair.consumer.span.header(0).store(word, Ordering::Release);
        let corrupt = pair.consumer.take(&mut Vec::new());
        // A producer may write one WRAP. At the start of the ring, after it, there must be something else.
        assert_eq!(corrupt, Err(Corrupt), "{word:#x}");
    }
}

/// Measured without optimization: twice as long as the copy. A digest built of small functions took a hundred times
/// as long.
#[test]
fn a_digest_is_fast_without_an_optimizer() {
    const LEN: usize = 16 << 20;
    let (bytes, mut copy) = (vec![7_u8; LEN], vec![0_u8; LEN]);
    let least = |run: &mut dyn FnMut()| {
        let timed = || {
            // Other tests and programs run beside it.
            let began = of_this_thread();
            run();
            of_this_thread() - began
        };
        std::iter::repeat_with(timed).take(7).min().unwrap()
    };
    let copied = least(&mut || std::hint::black_box(&mut copy).copy_from_slice(&bytes));
    let digested = least(&mut || {
        std::hint::black_box(digest(std::hint::black_box(&bytes)));
    });
    assert!(digested < 25 * copied, "a digest takes {digested:?}, a copy {copied:?}");
}
