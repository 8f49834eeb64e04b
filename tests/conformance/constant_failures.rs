//! `#[arg]`: constants that cannot be sent, decoded or dropped, and workers that die while they have some.

use nix::sys::signal::Signal;
use pool::{Error, StartMethod, TaskErrorKind, worker_task};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codecs::CODECS;
use super::constants::add;
use crate::harness::cases;
use crate::support::{Tokens, assert_usable, builder, die, panic_message, pool, take_all_tokens, task_error};

cases! {
    All: cannot_be_encoded, cannot_be_decoded, drops_that_panic;
    Processes: decoding_ends_the_worker, replaced_workers_get_it_again;
}

/// Can be encoded if it is even, and decoded if it is a multiple of four.
#[derive(Debug, Clone)]
pub(super) struct Picky(pub(super) u32);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0 != 5, "five is not serialized");
        match self.0 % 2 {
            0 => self.0.serialize(serializer),
            _ => Err(serde::ser::Error::custom("it is odd")),
        }
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            6 => panic!("six is not deserialized"),
            10 => die(Signal::SIGKILL),
            x if x % 4 == 0 => Ok(Self(x)),
            _ => Err(serde::de::Error::custom("it is no multiple of four")),
        }
    }
}

#[worker_task]
fn pick(#[arg] picky: Picky, x: u32) -> u32 {
    picky.0 + x
}

fn cannot_be_encoded(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        let job = |picky| pick::job(&pool).label("picking").arg(Picky(picky));
        for (picky, why) in [(1, "it is odd"), (5, "panicked")] {
            let errors = [
                task_error(job(picky).map([1])),
                task_error(job(picky).map_outcomes([1, 2])),
                task_error(job(picky).imap([1, 2]).next().unwrap()),
                task_error(job(picky).apply(1)),
                task_error(job(picky).apply_async(1).get()),
                task_error(job(picky).map_async([1, 2]).get()),
                task_error(job(picky).on_each_worker(1)),
            ];
            for error in errors {
                assert!(matches!(error.kind(), TaskErrorKind::Encode(said) if said.contains(why)), "{error}");
                let text = error.to_string();
                assert!(
                    text.starts_with("the `#[arg]` of `") && text.contains("::pick` could not be sent"),
                    "{text}"
                );
                assert_eq!(
                    (error.task_index(), error.worker_id(), error.attempts()),
                    (usize::MAX, usize::MAX, 0)
                );
                assert!(error.task_name().ends_with("::pick") && error.label() == Some("picking"), "{text}");
            }
            assert_usable(&pool);
        }
    }
    Ok(())
}

fn cannot_be_decoded(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        for outcome in pick::job(&pool).arg(Picky(2)).map_outcomes(0..50)? {
            let error = outcome.unwrap_err();
            let TaskErrorKind::Decode(why) = error.kind() else { panic!("{error}") };
            assert!(
                why.starts_with("the value of the call's `#[arg]`: ") && why.contains("multiple of four"),
                "{why}"
            );
        }
        assert!(matches!(
            task_error(pick::job(&pool).arg(Picky(2)).map(0..50)).kind(),
            TaskErrorKind::Decode(_)
        ));
        assert!(matches!(
            task_error(pick::job(&pool).arg(Picky(2)).apply(1)).kind(),
            TaskErrorKind::Decode(_)
        ));
        let reduced = sum_picked::job(&pool).arg(&Picky(2)).reduce::<add>(0..50);
        assert!(matches!(task_error(reduced).kind(), TaskErrorKind::Decode(_)));
        for outcome in pick::job(&pool).arg(Picky(6)).map_outcomes(0..50)? {
            assert_eq!(panic_message(&outcome.unwrap_err()), "six is not deserialized");
        }
        assert_eq!(pick::job(&pool).arg(Picky(8)).map([1, 2])?, [9, 10]);
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn sum_picked(#[arg] picky: &Picky, x: i64) -> i64 {
    i64::from(picky.0) + x
}

/// Panics when it is dropped.
#[derive(Serialize, Deserialize)]
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("it is dropped");
    }
}

#[worker_task]
fn look_at(#[arg] _explosive: &Explosive, x: u8) -> u8 {
    x
}

fn drops_that_panic(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let explosive = std::mem::ManuallyDrop::new(Explosive);
    for _ in 0..3 {
        assert_eq!(look_at::job(&pool).arg(&explosive).map(0..100)?, (0..100).collect::<Vec<_>>());
        assert_usable(&pool);
    }
    pool.join()?;
    Ok(())
}

fn decoding_ends_the_worker(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let error = task_error(pick::job(&pool).arg(Picky(10)).map([1, 2]));
    assert!(matches!(error.kind(), TaskErrorKind::Died(_)), "{error}");
    assert_eq!(error.task_index(), 0);
    let outcomes = pick::job(&pool).arg(Picky(10)).chunk_size(1).map_outcomes(0..3)?;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(pick::job(&pool).arg(Picky(4)).map([1])?, [5]);
    assert_usable(&pool);
    Ok(())
}

/// Ends the worker at these items, on the first attempt.
#[worker_task]
fn mortal(#[arg] (factor, first): (u64, String), x: u64) -> u64 {
    if x % 25 == 3 && take_all_tokens(&first) > 0 {
        die(Signal::SIGKILL);
    }
    factor * x
}

fn replaced_workers_get_it_again(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    let expected: Vec<u64> = (0..100).map(|x| 3 * x).collect();
    for chunk_size in [1, 10] {
        let mut deaths = Tokens::new();
        deaths.put(1);
        let job = mortal::job(&pool).retries(5).chunk_size(chunk_size).arg((3, deaths.path()));
        assert_eq!(job.map(0..100)?, expected);
    }
    Ok(())
}
