//! A task fails with an error that says why if it panics, or if its argument or result cannot be sent. The pool goes
//! on.

use std::panic::{self, AssertUnwindSafe, catch_unwind, panic_any};

use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_task};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::harness::cases;
use crate::support::{Bomb, assert_usable, builder, panic_message, pool, task_error};

cases! {
    All: every_task_panics, one_task_panics, with_options, in_apply, names_the_place, non_string_payload,
         worker_survives, outcomes_keep_the_others, imap_goes_on, not_retried, argument_not_encodable,
         argument_not_decodable, result_not_encodable, result_not_decodable, result_not_droppable,
         item_not_droppable,         serializer_panics, payloads_that_panic, bad_and_good_arguments, errors_in_a_row;
}

#[worker_task]
fn fails_at(x: u64, bad: u64) -> u64 {
    assert!(x != bad, "no {x} please");
    x
}

fn items(n: u64, bad: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..n).map(move |x| (x, bad))
}

#[worker_task]
fn always_fails(x: u64) -> u64 {
    panic!("never {x}")
}

fn every_task_panics(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert!(panic_message(&task_error(always_fails::par_map(&pool, 0..50))).starts_with("never "));
    assert_usable(&pool);
    assert!(panic_message(&task_error(always_fails::par_map_unordered(&pool, 0..50))).starts_with("never "));
    assert_usable(&pool);
    let outcomes = always_fails::par_map_outcomes(&pool, 0..50)?;
    for (index, outcome) in outcomes.iter().enumerate() {
        let error = outcome.as_ref().unwrap_err();
        assert_eq!(panic_message(error), format!("never {index}"));
        assert_eq!(error.task_index(), index);
    }
    assert_eq!(outcomes.len(), 50);
    assert_usable(&pool);
    Ok(())
}

fn one_task_panics(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(fails_at::par_map(&pool, items(50, 5)));
    assert_eq!(error.task_index(), 5);
    assert_eq!(panic_message(&error), "no 5 please");
    assert_usable(&pool);
    let error = task_error(fails_at::par_map_unordered(&pool, items(50, 5)));
    assert_eq!(error.task_index(), 5);
    assert_usable(&pool);
    Ok(())
}

fn with_options(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2] {
        let pool = builder(method).workers(workers).build()?;
        for lifespan in [1, 2, 7] {
            for active in [1, 3] {
                let job = || fails_at::job(&pool).worker_lifespan(lifespan).max_tasks_active(active);
                assert_eq!(task_error(job().map(items(30, 5))).task_index(), 5);
                let error = job().imap(items(30, 5)).find_map(Result::err);
                assert_eq!(task_error(error.map_or(Ok(()), Err)).task_index(), 5);
                assert_eq!(job().map(items(30, 99))?, (0..30).collect::<Vec<_>>());
            }
        }
        assert_usable(&pool);
    }
    Ok(())
}

fn in_apply(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(panic_message(&task_error(always_fails::apply(&pool, 3))), "never 3");
    assert_eq!(fails_at::apply(&pool, (1, 2))?, 1);
    let results = [1, 2, 3].map(|x| fails_at::apply_async(&pool, (x, 2)));
    assert_eq!(results[0].get()?, 1);
    assert_eq!(panic_message(&task_error(results[1].get())), "no 2 please");
    assert_eq!(results[2].get()?, 3);
    Ok(())
}

#[worker_task]
fn fails_here() -> u32 {
    line!() + "no number".parse::<u32>().expect("a number")
}

fn names_the_place(method: StartMethod) -> Result<(), Error> {
    let error = task_error(fails_here::apply(&pool(method)?, ()));
    let TaskErrorKind::Panicked(info) = error.kind() else { panic!("{error}") };
    assert!(info.message().starts_with("a number: "), "{}", info.message());
    let mut place = info.location().rsplitn(3, ':');
    let (column, line, file) = (place.next().unwrap(), place.next().unwrap(), place.next().unwrap());
    assert!(file.ends_with("exceptions.rs"), "{file}");
    assert!(line.parse::<u32>().is_ok() && column.parse::<u32>().is_ok(), "{}", info.location());
    assert!(error.task_name().ends_with("exceptions::fails_here"), "{}", error.task_name());
    assert!(error.worker_id() < 2);
    let text = error.to_string();
    for part in [info.message(), info.location(), "task 0", error.task_name()] {
        assert!(text.contains(part), "{text:?} does not contain {part:?}");
    }
    Ok(())
}

#[worker_task]
fn fails_with_a_number(x: i32) -> i32 {
    panic::panic_any(x)
}

fn non_string_payload(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(panic_message(&task_error(fails_with_a_number::apply(&pool, 1))), "non-string payload");
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn life(#[state] tasks_before: &mut u64, fail: bool) -> (u64, u32) {
    *tasks_before += 1;
    assert!(!fail, "as told");
    (*tasks_before, std::process::id())
}

fn worker_survives(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let (first, pid) = life::apply(&pool, false)?;
    for _ in 0..5 {
        task_error(life::apply(&pool, true));
    }
    assert_eq!(life::apply(&pool, false)?, (first + 6, pid), "a panic costs no process and no state");
    Ok(())
}

fn outcomes_keep_the_others(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for chunk in [1, 7, 100] {
        let outcomes = fails_at::job(&pool).chunk_size(chunk).map_outcomes(items(100, 41))?;
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(value) => assert_eq!(value, index as u64),
                Err(error) => assert_eq!((error.task_index(), index, error.attempts()), (41, 41, 1)),
            }
        }
    }
    Ok(())
}

fn imap_goes_on(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results: Vec<_> = fails_at::par_imap(&pool, items(20, 5)).collect();
    assert_eq!(results.len(), 20);
    for (index, result) in results.into_iter().enumerate() {
        if index == 5 {
            assert_eq!(task_error(result).task_index(), 5);
        } else {
            assert_eq!(result?, index as u64);
        }
    }
    assert_eq!(fails_at::par_imap_unordered(&pool, items(20, 5)).filter(Result::is_ok).count(), 19);
    assert_usable(&pool);
    Ok(())
}

fn not_retried(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(always_fails::job(&pool).retries(3).apply(1));
    assert_eq!(error.attempts(), 1);
    assert_eq!(panic_message(&error), "never 1");
    Ok(())
}

/// Is sent as a number, unless the number says where that fails.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Traveller(u8);

impl Traveller {
    const FINE: Self = Self(0);
    const NOT_ENCODABLE: Self = Self(1);
    const NOT_DECODABLE: Self = Self(2);
    const PANICS_IN_ENCODE: Self = Self(3);
}

impl Serialize for Traveller {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::NOT_ENCODABLE => Err(S::Error::custom("stays at home")),
            Self::PANICS_IN_ENCODE => panic!("lost at the border"),
            Self(number) => serializer.serialize_u8(number),
        }
    }
}

impl<'de> Deserialize<'de> for Traveller {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Self(u8::deserialize(deserializer)?) {
            Self::NOT_DECODABLE => Err(D::Error::custom("not let in")),
            traveller => Ok(traveller),
        }
    }
}

#[worker_task]
fn receive(traveller: Traveller) -> u8 {
    traveller.0
}

#[worker_task]
fn send(number: u8) -> Traveller {
    Traveller(number)
}

fn argument_not_encodable(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_encode_fails(&pool, Traveller::NOT_ENCODABLE, "stays at home")
}

fn serializer_panics(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_encode_fails(&pool, Traveller::PANICS_IN_ENCODE, "panicked")?;
    let error = task_error(send::apply(&pool, Traveller::PANICS_IN_ENCODE.0));
    assert_eq!(panic_message(&error), "lost at the border");
    assert_usable(&pool);
    Ok(())
}

fn assert_encode_fails(pool: &WorkerPool, bad: Traveller, why: &str) -> Result<(), Error> {
    let items = [Traveller::FINE, bad, Traveller::FINE];
    for error in [
        task_error(receive::par_map(pool, items)),
        task_error(receive::par_map_outcomes(pool, items)?.swap_remove(1).map_err(Error::Task)),
        task_error(receive::job(pool).chunk_size(3).map(items)),
    ] {
        assert_eq!(error.task_index(), 1);
        assert!(matches!(error.kind(), TaskErrorKind::Encode(text) if text.contains(why)), "{error}");
    }
    let error = task_error(receive::apply_async(pool, bad).get());
    assert!(matches!(error.kind(), TaskErrorKind::Encode(text) if text.contains(why)), "{error}");
    let ok = receive::par_map_outcomes(pool, items)?.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(ok, 2);
    assert_usable(pool);
    Ok(())
}

fn argument_not_decodable(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let outcomes =
        receive::par_map_outcomes(&pool, [Traveller::FINE, Traveller::NOT_DECODABLE, Traveller::FINE])?;
    if method == StartMethod::Threads && outcomes[1].is_ok() {
        // Threads may pass values on without encoding them.
        return Ok(());
    }
    let error = outcomes[1].as_ref().unwrap_err();
    assert!(matches!(error.kind(), TaskErrorKind::Decode(why) if why.contains("not let in")), "{error}");
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert_usable(&pool);
    Ok(())
}

fn result_not_encodable(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..20 {
        let outcomes = send::par_map_outcomes(&pool, [0, Traveller::NOT_ENCODABLE.0, 0])?;
        if method == StartMethod::Threads && outcomes[1].is_ok() {
            return Ok(());
        }
        let error = outcomes[1].as_ref().unwrap_err();
        assert!(
            matches!(error.kind(), TaskErrorKind::Encode(why) if why.contains("stays at home")),
            "{error}"
        );
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    }
    assert_usable(&pool);
    Ok(())
}

/// If it sticks, panics when the worker that made it drops it.
#[derive(Serialize, Deserialize)]
struct Sticky {
    number: u64,
    #[serde(skip)]
    sticks: bool,
}

impl Drop for Sticky {
    fn drop(&mut self) {
        assert!(!self.sticks, "it sticks");
    }
}

#[worker_task]
fn make_sticky(number: u64) -> Sticky {
    Sticky { number, sticks: number % 7 == 3 }
}

/// A task has only one outcome, even if its result is already encoded when its drop panics.
fn result_not_droppable(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let outcomes = make_sticky::par_map_outcomes(&pool, 0..1000)?;
    for (number, outcome) in (0..).zip(&outcomes) {
        match outcome {
            Ok(sticky) => assert_eq!((sticky.number, number % 7 != 3), (number, true)),
            Err(error) => assert_eq!((panic_message(error), number % 7), ("it sticks", 3)),
        }
    }
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn take_sticky(item: Sticky) -> u64 {
    item.number
}

/// An item whose drop panics does so in the caller.
fn item_not_droppable(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for bad in [0, 42, 99] {
        let items = (0..100).map(|number| Sticky { number, sticks: number == bad });
        let call = AssertUnwindSafe(|| take_sticky::job(&pool).chunk_size(10).map(items));
        let panic = catch_unwind(call).expect_err("the panic comes out of the call");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"it sticks"));
        assert_usable(&pool);
    }
    Ok(())
}

fn result_not_decodable(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let outcomes = send::par_map_outcomes(&pool, [0, Traveller::NOT_DECODABLE.0, 0])?;
    if method == StartMethod::Threads && outcomes[1].is_ok() {
        return Ok(());
    }
    let error = outcomes[1].as_ref().unwrap_err();
    assert!(matches!(error.kind(), TaskErrorKind::Decode(why) if why.contains("not let in")), "{error}");
    assert_eq!(error.task_index(), 1);
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert_usable(&pool);
    Ok(())
}

/// The place where a value panics, with a payload that panics when it is dropped.
#[derive(Clone, Copy, PartialEq)]
enum Explosive {
    Inert = 0,
    InEncode,
    InDecode,
    InDebug,
    InDrop,
}

impl Explosive {
    const ALL: [Self; 5] = [Self::Inert, Self::InEncode, Self::InDecode, Self::InDebug, Self::InDrop];
}

/// Panics once it has been sent, not before: if the drop of the caller's own item panicked, that would be the caller's
/// affair.
struct Explodes(Explosive, bool);

impl Serialize for Explodes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == Explosive::InEncode {
            panic_any(Bomb);
        }
        serializer.serialize_u8(self.0 as u8)
    }
}

impl<'de> Deserialize<'de> for Explodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Explosive::ALL[usize::from(u8::deserialize(deserializer)?)] {
            Explosive::InDecode => panic_any(Bomb),
            explosive => Ok(Self(explosive, true)),
        }
    }
}

impl std::fmt::Debug for Explodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Explosive::InDebug => panic_any(Bomb),
            _ => f.write_str("an explosive"),
        }
    }
}

impl Drop for Explodes {
    fn drop(&mut self) {
        if self.0 == Explosive::InDrop && self.1 {
            panic_any(Bomb);
        }
    }
}

#[worker_task]
fn explosive(number: u8) -> Explodes {
    Explodes(Explosive::ALL[usize::from(number)], false)
}

#[worker_task]
fn refuse(item: Explodes) {
    // If its drop panicked while this panic unwinds, the process would end.
    std::mem::forget(item);
    panic!("not here");
}

/// The errors of the bad item in each kind of call, among other items and alone.
macro_rules! errors_of {
    ($task:ident, $pool:expr, $item:expr, $bad:expr) => {{
        let (pool, items) = ($pool, || [$item(0), $item($bad), $item(0)]);
        let mut outcomes = $task::par_map_outcomes(pool, items())?;
        let mut errors = vec![outcomes.swap_remove(1).map(drop).unwrap_err()];
        let lazy: Vec<_> = $task::par_imap(pool, items()).collect();
        errors.extend(lazy.into_iter().filter_map(Result::err).find_map(|error| match error {
            Error::Task(error) if error.task_index() == 1 => Some(error),
            _ => None,
        }));
        let alone = [$task::apply(pool, $item($bad)), $task::apply_async(pool, $item($bad)).get()];
        errors.extend(alone.map(|result| task_error(result.map(drop))));
        assert_eq!(errors.len(), 4);
        assert_usable(pool);
        errors
    }};
}

fn payloads_that_panic(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for error in errors_of!(explosive, &pool, |number: u8| number, Explosive::InDecode as u8) {
        assert!(matches!(error.kind(), TaskErrorKind::Decode(why) if why.contains("panicked")), "{error}");
    }
    for error in errors_of!(explosive, &pool, |number: u8| number, Explosive::InEncode as u8) {
        assert_eq!(panic_message(&error), "non-string payload");
    }
    let item = |number: u8| Explodes(Explosive::ALL[usize::from(number)], false);
    for error in errors_of!(refuse, &pool, item, Explosive::InEncode as u8) {
        assert!(matches!(error.kind(), TaskErrorKind::Encode(why) if why.contains("panicked")), "{error}");
    }
    for error in errors_of!(refuse, &pool, item, Explosive::InDecode as u8) {
        assert_eq!((error.argument(), panic_message(&error)), (None, "non-string payload"));
    }
    for explosive in [Explosive::InDebug, Explosive::InDrop] {
        for error in errors_of!(refuse, &pool, item, explosive as u8) {
            assert_eq!((error.argument(), panic_message(&error)), (None, "not here"));
        }
    }
    Ok(())
}

fn bad_and_good_arguments(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let items = || (0..200).map(|i| if i % 2 == 0 { Traveller::NOT_ENCODABLE } else { Traveller::FINE });
    let outcomes = receive::par_map_outcomes(&pool, items())?;
    assert!(outcomes.iter().enumerate().all(|(index, outcome)| outcome.is_ok() == (index % 2 == 1)));
    let results: Vec<_> = items().map(|item| receive::apply_async(&pool, item)).collect();
    assert_eq!(results.iter().filter(|result| result.get().is_ok()).count(), 100);
    Ok(())
}

fn errors_in_a_row(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for bad in 0..50 {
        assert_eq!(task_error(fails_at::par_map(&pool, items(60, bad))).task_index() as u64, bad);
    }
    assert_usable(&pool);
    Ok(())
}
