//! The shared value: how workers get it, and what may be shared.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::panic::panic_any;
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use pool::{Error, StartMethod, worker_task};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::harness::cases;
use crate::support::{Bomb, assert_fails, builder};

cases! {
    All: encoded_at_most_once, decoded_where_promised, not_encodable, panics_on_its_way, inherited, large,
        changes_stay_outside;
}

static ENCODED: AtomicU32 = AtomicU32::new(0);

/// Counts how often it is encoded, and knows in which process it was made.
#[derive(Deserialize)]
struct Counted {
    #[serde(skip, default = "process::id")]
    made_in: u32,
    value: u64,
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Counted {
            value: u64,
        }
        ENCODED.fetch_add(1, Ordering::Relaxed);
        Counted { value: self.value }.serialize(serializer)
    }
}

#[worker_task]
fn made_in(#[shared] counted: &Counted, x: u64) -> (u64, u32, u32) {
    (counted.value + x, counted.made_in, process::id())
}

fn encoded_at_most_once(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).shared(Counted { made_in: process::id(), value: 10 }).build()?;
    for _ in 0..5 {
        let results = made_in::job(&pool).worker_lifespan(10).map(0..60)?;
        assert!(results.iter().enumerate().all(|(x, result)| result.0 == 10 + x as u64));
    }
    assert!(ENCODED.load(Ordering::Relaxed) <= 1);
    Ok(())
}

fn decoded_where_promised(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared(Counted { made_in: process::id(), value: 0 }).build()?;
    let results = made_in::job(&pool).worker_lifespan(5).map(0..40)?;
    let made: BTreeSet<u32> = results.iter().map(|result| result.1).collect();
    let workers: BTreeSet<u32> = results.iter().map(|result| result.2).collect();
    match method {
        StartMethod::Fork | StartMethod::Threads => assert_eq!(made, BTreeSet::from([process::id()])),
        StartMethod::ForkServer => {
            assert_eq!(made.len(), 1, "once in the server, inherited by all");
            assert!(made.is_disjoint(&workers) && !made.contains(&process::id()));
        }
        StartMethod::Spawn => assert_eq!(made, workers),
    }
    assert_eq!(workers.contains(&process::id()), method == StartMethod::Threads);
    Ok(())
}

#[derive(Deserialize)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("stays at home"))
    }
}

#[worker_task]
fn with_stubborn(#[shared] _stubborn: &Stubborn) -> u8 {
    1
}

fn not_encodable(method: StartMethod) -> Result<(), Error> {
    match (method, builder(method).shared(Stubborn).build()) {
        // Workers that inherit the value need no bytes.
        (StartMethod::Fork | StartMethod::Threads, pool) => assert_eq!(with_stubborn::apply(&pool?, ())?, 1),
        (_, pool) => assert_fails!(pool, Error::Shared(why) if why.contains("stays at home")),
    }
    Ok(())
}

/// Panics when it is encoded or decoded, with a payload that panics when it is dropped.
struct Explosive {
    in_encode: bool,
}

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.in_encode { panic_any(Bomb) } else { serializer.serialize_unit() }
    }
}

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic_any(Bomb)
    }
}

#[worker_task]
fn with_explosive(#[shared] _explosive: &Explosive) -> u8 {
    1
}

fn panics_on_its_way(method: StartMethod) -> Result<(), Error> {
    let call = |in_encode| {
        let pool = builder(method).shared(Explosive { in_encode }).build()?;
        with_explosive::apply(&pool, ())
    };
    match method {
        StartMethod::Fork | StartMethod::Threads => assert_eq!((call(true)?, call(false)?), (1, 1)),
        _ => {
            assert_fails!(call(true), Error::Shared(why) if why.contains("panicked"));
            let why = call(false).unwrap_err().to_string();
            assert!(why.contains("could not be decoded: it panicked"), "{why}");
        }
    }
    Ok(())
}

/// Has no serde implementation.
struct Local {
    file: Mutex<File>,
    function: fn(u64) -> u64,
}

#[worker_task]
fn with_local(#[shared] local: &Local, x: u64) -> u64 {
    local.file.lock().unwrap().write_all(b".").unwrap();
    (local.function)(x)
}

fn inherited(method: StartMethod) -> Result<(), Error> {
    let file =
        File::from(nix::sys::memfd::memfd_create("local", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap());
    // Two workers write at once. Only with O_APPEND does the kernel keep their writes apart.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND)).unwrap();
    let written = file.try_clone().unwrap();
    let local = Local { file: Mutex::new(file), function: |x| x + 1 };
    match (method, builder(method).shared_inherited(local).build()) {
        (StartMethod::Fork | StartMethod::Threads, pool) => {
            assert_eq!(with_local::par_map(&pool?, 0..10)?, (1..=10).collect::<Vec<_>>());
            assert_eq!(written.metadata().unwrap().len(), 10, "inherited descriptors stay open");
        }
        (_, pool) => assert_fails!(pool, Error::Option { option: "shared_inherited", .. }),
    }
    Ok(())
}

#[worker_task]
fn at(#[shared] values: &Vec<u64>, index: usize) -> u64 {
    values[index]
}

fn large(method: StartMethod) -> Result<(), Error> {
    let values: Vec<u64> = (0..4_000_000).collect();
    let pool = builder(method).shared(values).build()?;
    assert_eq!(at::par_map(&pool, [0, 1, 3_999_999])?, [0, 1, 3_999_999]);
    Ok(())
}

#[worker_task]
fn bump(#[shared] counter: &AtomicU32, times: u32) -> u32 {
    counter.fetch_add(times, Ordering::Relaxed)
}

fn changes_stay_outside(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).shared(AtomicU32::new(5)).build()?;
    assert_eq!(bump::apply(&pool, 1)?, 5);
    assert_eq!(bump::apply(&pool, 1)?, 6, "a worker keeps its copy");
    let restarted = bump::job(&pool).worker_lifespan(1).map([1, 1])?;
    if method.is_process() {
        assert!(restarted.contains(&5), "a fresh worker has the value as it was given: {restarted:?}");
    }
    Ok(())
}
