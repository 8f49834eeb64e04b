//! `map_into`: each result goes into the slot of its item, and reuses what is there.

use std::cell::Cell;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::mpsc;

use pool::shared::SharedCounter;
use pool::{Codec, Error, StartMethod, TaskErrorKind, worker_task};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::harness::cases;
use crate::support::{
    assert_fails, assert_usable, builder, die, panic_message, pool, square, squares, task_error,
};

cases! {
    All: equals_serial, reuses_memory, more_slots_than_items, known_to_be_too_long, too_long_as_it_shows,
         too_long_on_a_channel, length_is_cut, a_task_panics, results_do_not_decode, slots_are_dropped_once,
         input_panics, cancelled;
    Processes: a_worker_dies;
}

fn equals_serial(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 3] {
        let pool = builder(method).workers(workers).build()?;
        let mut slots = vec![u64::MAX; 5000];
        for n in [0, 1, 7, 64, 5000] {
            for chunk in [1, 3, 1000] {
                slots.fill(u64::MAX);
                let count = square::job(&pool).chunk_size(chunk).map_into(0..n, &mut slots)?;
                assert_eq!(count as u64, n);
                assert!(slots[..count] == squares(n) && slots[count..].iter().all(|slot| *slot == u64::MAX));
            }
        }
        assert_eq!(square::par_map_into(&pool, 0..10, &mut slots[..10])?, 10);
        assert_eq!(pool.map_into::<square>(10..12, &mut slots[10..])?, 2);
        assert_eq!(slots[..12], squares(12));
    }
    Ok(())
}

#[worker_task]
fn series(first: f64, len: usize) -> Vec<f64> {
    (0..len).map(|place| first + place as f64).collect()
}

#[worker_task]
fn bytes(byte: u8, len: usize) -> Vec<u8> {
    vec![byte; len]
}

#[worker_task]
fn words(number: u64) -> (String, Vec<String>) {
    (format!("number {number}"), (0..number % 5).map(|place| format!("word {place}")).collect())
}

fn reuses_memory(method: StartMethod) -> Result<(), Error> {
    for codec in [Codec::Bincode, Codec::Postcard, Codec::MessagePack] {
        let pool = builder(method).codec(codec).build()?;
        // Built one by one, because clones of a vector have no spare capacity.
        let mut rows: Vec<_> = (0..30).map(|_| Vec::with_capacity(1024)).collect();
        let mut blobs: Vec<_> = (0..4).map(|_| Vec::with_capacity(1 << 20)).collect();
        let mut texts: Vec<_> =
            (0..30).map(|_| (String::with_capacity(100), Vec::with_capacity(5))).collect();
        let places = |rows: &[Vec<f64>], blobs: &[Vec<u8>], texts: &[(String, Vec<String>)]| {
            let rows = rows.iter().map(|row| row.as_ptr().addr());
            let texts = texts.iter().flat_map(|(text, words)| [text.as_ptr().addr(), words.as_ptr().addr()]);
            rows.chain(blobs.iter().map(|blob| blob.as_ptr().addr())).chain(texts).collect::<Vec<_>>()
        };
        let before = places(&rows, &blobs, &texts);
        for round in 0..3u8 {
            let items = (0..30usize).map(|row| (f64::from(round), row * 35));
            assert_eq!(series::par_map_into(&pool, items, &mut rows)?, 30);
            assert!(rows.iter().zip(0..).all(|(row, n)| *row == series(f64::from(round), n * 35)));
            let items = [1 << 20, 0, 17, 1_000_000].map(|len| (round, len));
            assert_eq!(bytes::par_map_into(&pool, items, &mut blobs)?, 4);
            assert!(blobs.iter().zip(items).all(|(blob, (byte, len))| *blob == bytes(byte, len)));
            assert_eq!(words::par_map_into(&pool, (0..30).map(|n| n + u64::from(round)), &mut texts)?, 30);
            assert!(texts.iter().zip(u64::from(round)..).all(|(text, n)| *text == words(n)));
        }
        assert_eq!(places(&rows, &blobs, &texts), before, "{codec:?}");
    }
    Ok(())
}

fn more_slots_than_items(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut slots = vec![String::from("old"); 40];
    #[worker_task]
    fn name(x: u32) -> String {
        format!("new {x}")
    }
    // An iterator that does not know its length.
    let mut left = 0..30;
    assert_eq!(name::par_map_into(&pool, iter::from_fn(|| left.next()), &mut slots)?, 30);
    assert!(slots[..30].iter().zip(0..).all(|(slot, x)| *slot == name(x)));
    assert!(slots[30..].iter().all(|slot| slot == "old"));
    assert_eq!(name::par_map_into(&pool, iter::empty(), &mut [])?, 0);
    Ok(())
}

#[worker_task]
fn count(#[shared] runs: &SharedCounter, x: u64) -> u64 {
    runs.fetch_add(1);
    x + 100
}

fn known_to_be_too_long(method: StartMethod) -> Result<(), Error> {
    let runs = SharedCounter::new(0)?;
    let pool = builder(method).shared(runs.clone()).build()?;
    let mut slots = [7; 9];
    assert_fails!(count::par_map_into(&pool, 0..10, &mut slots), Error::TooFewSlots { slots: 9 });
    assert_fails!(count::par_map_into(&pool, 0..1, &mut []), Error::TooFewSlots { slots: 0 });
    let job = count::job(&pool).iterable_len(10);
    let error = job.map_into(0..100, &mut slots).unwrap_err().to_string();
    assert!(error.contains("there are 9") && error.contains("iterable_len(9)"), "{error}");
    // Nothing has begun.
    assert_eq!((slots, runs.get()), ([7; 9], 0));
    assert_eq!(count::par_map_into(&pool, 0..9, &mut slots)?, 9);
    assert_eq!(runs.get(), 9);
    assert_usable(&pool);
    Ok(())
}

/// Sets the bit of each item that it got.
#[worker_task]
fn note(#[shared] got: &SharedCounter, x: u64) -> u64 {
    got.fetch_add(1 << x);
    x
}

fn too_long_as_it_shows(method: StartMethod) -> Result<(), Error> {
    for (n, slots) in [(20, 19), (20, 5), (1, 0)] {
        let got = SharedCounter::new(0)?;
        let pool = builder(method).shared(got.clone()).build()?;
        for chunk in [1, 4] {
            let pulled = Cell::new(0);
            let items = (0..n).filter(|_| true).inspect(|_| pulled.set(pulled.get() + 1));
            let mut places = vec![u64::MAX; slots];
            let result = note::job(&pool).chunk_size(chunk).map_into(items, &mut places);
            assert_fails!(result, Error::TooFewSlots { slots: told } if told == slots);
            assert_eq!(pulled.get(), slots + 1, "one item shows that there are too many");
            assert!(places.iter().zip(0..).all(|(place, x)| *place == x || *place == u64::MAX));
        }
        pool.wait_idle()?;
        // Both calls may have run the items that have a slot, but none beyond.
        assert!(got.get() < 2 << slots, "{:b}", got.get());
        assert_usable(&pool);
    }
    Ok(())
}

fn too_long_on_a_channel(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut slots = [0; 3];
    let (send, receive) = mpsc::channel();
    // The other end stays open, and the call does not wait for more items.
    (0..4).for_each(|x| send.send(x).unwrap());
    assert_fails!(square::par_map_into(&pool, receive, &mut slots), Error::TooFewSlots { slots: 3 });
    let (send, receive) = mpsc::channel();
    (1..4).for_each(|x| send.send(x).unwrap());
    drop(send);
    assert_eq!(square::par_map_into(&pool, receive, &mut slots)?, 3);
    assert_eq!(slots, [1, 4, 9]);
    Ok(())
}

fn length_is_cut(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut slots = [0; 10];
    assert_eq!(square::job(&pool).iterable_len(10).map_into(0.., &mut slots)?, 10);
    assert_eq!(slots, *squares(10));
    let (send, receive) = mpsc::channel();
    (0..9).for_each(|x| send.send(x + 1).unwrap());
    // Although the channel stays open, no further item is asked for.
    assert_eq!(square::job(&pool).iterable_len(9).map_into(receive, &mut slots)?, 9);
    assert_eq!(slots[8..], [81, 81]);
    Ok(())
}

#[worker_task]
fn panics_at(x: u64, bad: u64) -> u64 {
    assert!(x != bad, "no {x} please");
    x
}

fn a_task_panics(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for chunk in [1, 5] {
        let mut slots = vec![u64::MAX; 50];
        let items = (0..50).map(|x| (x, 20));
        let error = task_error(panics_at::job(&pool).chunk_size(chunk).map_into(items, &mut slots));
        assert_eq!((error.task_index(), panic_message(&error)), (20, "no 20 please"));
        assert!(slots.iter().zip(0..).all(|(slot, x)| *slot == x || *slot == u64::MAX));
        assert_eq!(slots[20], u64::MAX, "it has no result");
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn dies_at(x: u64, bad: u64) -> u64 {
    if x == bad {
        die(nix::sys::signal::Signal::SIGKILL);
    }
    x
}

fn a_worker_dies(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut slots = vec![u64::MAX; 50];
    let error = task_error(dies_at::par_map_into(&pool, (0..50).map(|x| (x, 20)), &mut slots));
    assert!(matches!(error.kind(), TaskErrorKind::Died(death) if death.signal() == Some(9)), "{error}");
    assert!(slots.iter().zip(0..).all(|(slot, x)| *slot == x || *slot == u64::MAX));
    assert_eq!((error.task_index(), slots[20]), (20, u64::MAX));
    assert_usable(&pool);
    Ok(())
}

/// Refuses some numbers when it is decoded, and panics at others.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Picky(u64);

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            13 => Err(D::Error::custom("an unlucky number")),
            17 => panic!("not this one"),
            number => Ok(Self(number)),
        }
    }
}

#[worker_task]
fn picky(x: u64) -> Picky {
    Picky(x)
}

fn results_do_not_decode(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for (bad, why) in [(13, "an unlucky number"), (17, "panicked")] {
        let mut slots = vec![Picky(u64::MAX); 3];
        let error = task_error(picky::par_map_into(&pool, [1, bad, 2], &mut slots));
        assert!(matches!(error.kind(), TaskErrorKind::Decode(told) if told.contains(why)), "{error}");
        assert_eq!(error.task_index(), 1);
        assert!([1, u64::MAX].contains(&slots[0].0) && slots[1] == Picky(u64::MAX), "{slots:?}");
        assert_usable(&pool);
    }
    Ok(())
}

static ALIVE: AtomicIsize = AtomicIsize::new(0);

/// Counts how many of these values exist.
#[derive(Debug, PartialEq, Serialize)]
struct Counted(u64);

impl Counted {
    fn new(number: u64) -> Self {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Self(number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::new)
    }
}

#[worker_task]
fn counted(x: u64, bad: u64) -> Counted {
    assert!(x != bad);
    Counted::new(x)
}

fn slots_are_dropped_once(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut slots: Vec<_> = (0..100).map(|_| Counted::new(u64::MAX)).collect();
    for bad in [1000, 50, 1000] {
        let result = counted::par_map_into(&pool, (0..100).map(|x| (x, bad)), &mut slots);
        assert_eq!(result.is_err(), bad == 50);
        pool.wait_idle()?;
        assert_eq!(ALIVE.load(Ordering::Relaxed), 100);
    }
    assert!(slots.iter().zip(0..).all(|(slot, x)| slot.0 == x));
    drop(slots);
    assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
    Ok(())
}

fn input_panics(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut slots = vec![u64::MAX; 100];
    let items = (0..100).inspect(|x| assert!(*x < 60, "no more items"));
    let call = || square::par_map_into(&pool, items, &mut slots);
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert!(slots.iter().zip(squares(100)).all(|(slot, square)| *slot == square || *slot == u64::MAX));
    assert!(slots[60..].iter().all(|slot| *slot == u64::MAX));
    assert_usable(&pool);
    Ok(())
}

fn cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut slots = vec![0; 1000];
    let job = square::job(&pool);
    let handle = job.cancel_handle();
    let items = (0..1000).inspect(|x| {
        if *x == 700 {
            handle.cancel();
        }
    });
    assert_fails!(job.map_into(items, &mut slots), Error::Cancelled);
    assert_usable(&pool);
    Ok(())
}
