//! Both ends of runs over private memory.

use std::collections::VecDeque;

use super::super::tests::{Pair, pair, send};
use super::*;

/// One value, or one record.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Value(Vec<u8>),
    Record(u8, Vec<u8>),
}

fn take(pair: &mut Pair) -> Result<Vec<Came>, Corrupt> {
    let mut came = Vec::new();
    let mut bytes = Vec::new();
    while let Some(taken) = pair.consumer.take(&mut bytes)? {
        let bytes = std::mem::take(&mut bytes);
        match taken {
            Received::Discarded { .. } => panic!("there is memory for it"),
            Received::Record { tag, .. } => came.push(Came::Record(tag, bytes)),
            Received::Values { count, slots } => {
                assert_eq!(bytes.len(), count * slots.stride());
                let value = |slot| Came::Value(slots.value(slot).to_vec());
                came.extend(bytes.chunks(slots.stride()).map(value));
            }
        }
    }
    Ok(came)
}

#[test]
fn a_value_is_there_when_it_is_pushed_and_never_again() {
    let mut pair = pair(4096);
    for value in [[1; 8], [2; 8]] {
        assert!(!pair.consumer.is_ready());
        assert!(pair.producer.push(&value));
        assert!(pair.consumer.is_ready());
        assert_eq!(take(&mut pair), Ok(vec![Came::Value(value.to_vec())]));
    }
    assert!(pair.producer.push(&[3; 8]) && pair.producer.push(&[4; 8]));
    assert_eq!(take(&mut pair), Ok(vec![Came::Value(vec![3; 8]), Came::Value(vec![4; 8])]));
    assert_eq!(take(&mut pair), Ok(vec![]));
}

#[test]
fn a_run_ends_where_something_else_begins() {
    let mut pair = pair(4096);
    assert!(pair.producer.push(b"") && pair.producer.push(b"") && pair.producer.push(b"one"));
    assert!(send(&mut pair.producer, 7, b"a record"));
    assert!(pair.producer.push(b"two"));
    let value = |text: &[u8]| Came::Value(text.to_vec());
    let record = Came::Record(7, b"a record".to_vec());
    assert_eq!(take(&mut pair), Ok(vec![value(b""), value(b""), value(b"one"), record, value(b"two")]));
}

#[test]
fn a_run_without_end_gives_its_room_back() {
    let mut pair = pair(4 * LONGEST_RUN);
    for number in 0..100_000u64 {
        assert!(pair.producer.push(&number.to_le_bytes()));
        assert_eq!(take(&mut pair), Ok(vec![Came::Value(number.to_le_bytes().to_vec())]));
        pair.producer.free_up_to(pair.consumer.position());
    }
}

#[test]
fn any_walk_of_values_and_records_arrives() {
    let mut pair = pair(2048);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut expected = VecDeque::new();
    let (mut len, mut varies) = (0, false);
    for _ in 0..200_000 {
        match random(8) {
            0 => {
                for came in take(&mut pair).unwrap() {
                    assert_eq!(Some(came), expected.pop_front());
                }
                pair.producer.free_up_to(pair.consumer.position());
            }
            1 => {
                let bytes = vec![random(256) as u8; random(200) as usize];
                if send(&mut pair.producer, 9, &bytes) {
                    expected.push_back(Came::Record(9, bytes));
                }
            }
            2 => (len, varies) = (random(70) as usize, random(2) == 0),
            _ => {
                let len = if varies { random(len as u64 + 1) as usize } else { len };
                let bytes = vec![random(256) as u8; len];
                if pair.producer.push(&bytes) {
                    expected.push_back(Came::Value(bytes));
                }
            }
        }
    }
}

/// Values of alternating lengths, the longest of this length, and how many runs it took for the consumer to have them.
fn alternate(longest: u8, values: u64) -> u64 {
    let mut pair = pair(1 << 20);
    let mut expected = Vec::new();
    for number in 0..values {
        let value = number.to_le_bytes().repeat(8)[..usize::from(longest) >> (number % 3)].to_vec();
        assert!(pair.producer.push(&value));
        expected.push(Came::Value(value));
    }
    assert_eq!(take(&mut pair), Ok(expected));
    u64::from(pair.consumer.number)
}

#[test]
fn values_of_alternating_lengths_share_runs() {
    for longest in 0..SHORT_BYTES as u8 {
        let runs = alternate(longest, 1000);
        // A run ends when it is long, and each is followed by a few that find that lengths still alternate.
        let most = 1000 * u64::from(Slots::varied(longest.into()).unwrap().stride() as u32)
            / u64::from(LONGEST_RUN)
            + 1;
        assert!(
            runs <= 4 * most + 4,
            "{runs} runs, of which {most} are long, for values up to {longest} bytes"
        );
    }
    // Long values have their own runs.
    assert!(alternate(SHORT_BYTES as u8, 30) > 10);
}

#[test]
fn a_value_of_another_length_now_and_then_leaves_the_others_alone() {
    let mut pair = pair(1 << 20);
    for number in 0..1000u32 {
        let value = [1; 40];
        assert!(pair.producer.push(if number % 20 == 19 { &value } else { &value[..8] }));
        let slots = pair.producer.run.as_ref().and_then(|run| run.slots);
        assert!(matches!(slots, Some(Slots::Alike(8 | 40))), "{slots:?}");
    }
    assert_eq!(take(&mut pair).map(|came| came.len()), Ok(1000));
}

/// A run of values that vary, and where its first slot of two words begins.
fn varied() -> (Pair, u32) {
    let mut pair = pair(4096);
    for len in [1, 9, 1, 9, 2, 0] {
        assert!(pair.producer.push(&[7; 9][..len]));
    }
    let at = pair.producer.at.offset + 2 * WORD;
    assert!(pair.producer.run.as_ref().is_some_and(|run| run.slots == Slots::varied(9)));
    (pair, at)
}

#[test]
fn a_varied_run_that_was_overwritten_is_corrupt() {
    for word in 0..6 {
        for bit in 0..64 {
            let (mut pair, at) = varied();
            pair.consumer.span.header(at - 2 * WORD + word * WORD).fetch_xor(1 << bit, Ordering::Relaxed);
            assert_eq!(take(&mut pair), Err(Corrupt), "bit {bit} of word {word}");
        }
    }
}

#[test]
fn a_value_that_is_longer_than_its_slot_is_corrupt() {
    for len in [15, 16, 17, u8::MAX] {
        let (mut pair, at) = varied();
        let mut digest = Digest::of_slots(Slots::Varied(16));
        let last = pair.consumer.span.header(at + WORD);
        last.fetch_or(u64::from(len) << 56, Ordering::Relaxed);
        // With the digest of what is now there, as a worker would forge it.
        let run = pair.producer.run.as_ref().unwrap();
        for offset in (at..pair.producer.at.offset + WORD + run.len).step_by(WORD as usize) {
            digest = digest.with_word(pair.consumer.span.header(offset).load(Ordering::Relaxed));
        }
        let header = Header { len: run.len, tag: OPEN_RUN, check: pair.producer.number ^ digest.check() };
        pair.consumer.span.header(pair.producer.at.offset).store(header.pack(), Ordering::Relaxed);
        let came = take(&mut pair);
        assert_eq!(came.is_ok(), len == 15, "{came:?}");
    }
}

#[test]
fn a_run_that_was_overwritten_is_corrupt() {
    // Header, length, three values of two words.
    for word in 0..8 {
        for bit in 0..64 {
            let mut pair = pair(4096);
            for value in 0..3 {
                assert!(pair.producer.push(&[value; 16]));
            }
            pair.consumer.span.header(word * WORD).fetch_xor(1 << bit, Ordering::Relaxed);
            assert_eq!(take(&mut pair), Err(Corrupt), "bit {bit} of word {word}");
        }
    }
}

#[test]
fn values_that_have_changed_places_are_corrupt() {
    for words in [1, 2, 5] {
        let mut pair = pair(4096);
        for value in 1..=3 {
            assert!(pair.producer.push(&vec![value; words as usize * WORD as usize]));
        }
        // Swaps the first value with the last, after the header and the length.
        for word in 2..2 + words {
            let places = [word, word + 2 * words].map(|word| pair.consumer.span.header(word * WORD));
            let [first, last] = places.map(|place| place.load(Ordering::Relaxed));
            places[0].store(last, Ordering::Relaxed);
            places[1].store(first, Ordering::Relaxed);
        }
        assert_eq!(take(&mut pair), Err(Corrupt), "of {words} words");
    }
}

#[test]
fn a_run_that_is_gone_is_corrupt() {
    // No record, a wrap, another record: everything that a header elsewhere may be.
    for word in [0, 0xff << 32, 9 << 32] {
        let mut pair = pair(4096);
        assert!(pair.producer.push(&[1; 8]));
        assert_eq!(take(&mut pair).map(|came| came.len()), Ok(1));
        pair.consumer.span.header(0).store(word, Ordering::Relaxed);
        assert!(pair.consumer.is_ready());
        assert_eq!(take(&mut pair), Err(Corrupt), "{word:#x}");
    }
}

#[test]
fn a_header_overwritten_between_two_takes_is_corrupt() {
    for word in 0..6 {
        let mut pair = pair(4096);
        assert!(pair.producer.push(&[1; 16]));
        assert_eq!(take(&mut pair).map(|came| came.len()), Ok(1));
        let header = pair.consumer.span.header(word * WORD).fetch_add(1 << 9, Ordering::Relaxed);
        let came = take(&mut pair);
        assert!(pair.producer.push(&[2; 16]));
        let then = take(&mut pair);
        // Values that were already taken are not read again, and a later push overwrites the rest.
        let intact = Ok(vec![Came::Value(vec![2; 16])]);
        match word {
            0 => assert!(came == Err(Corrupt), "header {header:#x}"),
            _ => assert!(came == Ok(vec![]) && then == intact, "word {word}: {came:?} {then:?}"),
        }
    }
}
