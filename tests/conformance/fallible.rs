//! Functions that can fail: the value in the `Ok` is their result, and an `Err` is their failure, with its sources.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::num::ParseIntError;
use std::path::Path;

use anyhow::Context;
use pool::shared::SharedArray;
use pool::{Error, StartMethod, TaskError, TaskErrorKind, worker_exit, worker_init, worker_task};

use super::codecs::CODECS;
use crate::harness::cases;
use crate::support::{Bomb, assert_usable, builder, panic_message, pool, task_error};

cases! {
    All: an_err_fails_the_task, outcomes_and_iterators_go_on, not_retried, errors_of_all_types_keep_their_sources,
        errors_that_panic, results_stay_values_otherwise, all_codecs_carry_both, large_values_and_errors,
        chunks_can_fail, results_are_reduced, the_reducer_fails, an_alias_of_a_result_in_an_init, exits_fail,
        exits_fail_at_restarts;
}

/// The message of the error that a function returned.
#[track_caller]
fn returned(error: &TaskError) -> String {
    match error.kind() {
        TaskErrorKind::Failed(why) => why.to_string(),
        other => panic!("it should have returned an error, but it {other}"),
    }
}

#[worker_task(fallible)]
fn parse(text: &str) -> Result<u32, ParseIntError> {
    text.parse()
}

const ONE_BAD: [&str; 5] = ["1", "2", "three", "4", "5"];
const TEXTS: [&str; 5] = ["1", "2", "three", "4", ""];
const INVALID: &str = "invalid digit found in string";
const EMPTY: &str = "cannot parse integer from empty string";

fn an_err_fails_the_task(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..3 {
        let errors = [
            task_error(parse::par_map(&pool, ONE_BAD)),
            task_error(parse::par_map_unordered(&pool, ONE_BAD)),
            task_error(parse::job(&pool).chunk_size(5).map(ONE_BAD)),
            task_error(pool.map_async::<parse>(ONE_BAD).get()),
        ];
        for error in errors {
            assert_eq!((error.task_index(), returned(&error)), (2, INVALID.to_owned()));
            assert_eq!(error.argument(), Some("\"three\""));
        }
        let alone = [parse::apply(&pool, "x"), parse::apply_async(&pool, "x").get()];
        for error in alone.map(task_error) {
            assert_eq!((error.task_index(), returned(&error)), (0, INVALID.to_owned()));
            let text = error.to_string();
            assert!(text.contains("parse` on worker ") && text.contains("returned an error: inv"), "{text}");
        }
        assert_eq!(parse::par_map(&pool, ["1", "2"])?, [1, 2]);
        assert_eq!(parse::apply(&pool, "7")?, 7);
        assert_usable(&pool);
    }
    Ok(())
}

fn outcomes_and_iterators_go_on(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let expected = [Ok(1), Ok(2), Err(INVALID.to_owned()), Ok(4), Err(EMPTY.to_owned())];
    for chunk in [1, 2, 5] {
        let outcomes = parse::job(&pool).chunk_size(chunk).map_outcomes(TEXTS)?;
        let outcomes: Vec<_> = outcomes.into_iter().map(|it| it.map_err(|error| returned(&error))).collect();
        assert_eq!(outcomes, expected);
        let results = parse::job(&pool).chunk_size(chunk).imap(TEXTS);
        let results: Vec<_> = results.map(|it| it.map_err(|it| returned(it.task().unwrap()))).collect();
        assert_eq!(results, expected);
        let results = parse::job(&pool).chunk_size(chunk).imap_unordered(TEXTS);
        assert_eq!(results.filter(Result::is_ok).count(), 3);
    }
    // Even if many tasks fail, the pool runs all others.
    let texts: Vec<String> = (0..2000).map(|i| if i % 3 == 0 { "x".into() } else { i.to_string() }).collect();
    let outcomes = parse::par_map_outcomes(&pool, texts.iter().map(String::as_str))?;
    for (index, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(number) => assert_eq!(*number as usize, index),
            Err(error) => assert_eq!((index % 3, error.task_index()), (0, index)),
        }
    }
    assert_usable(&pool);
    Ok(())
}

#[worker_task(fallible)]
fn fails_each_time(#[state] times: &mut u32) -> Result<(), String> {
    *times += 1;
    Err(format!("{times}"))
}

fn not_retried(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let error = task_error(fails_each_time::job(&pool).retries(3).apply(()));
    assert_eq!((error.attempts(), returned(&error)), (1, "1".to_owned()));
    Ok(())
}

/// Implements `Display`, but not `Error`.
struct Displayed;

impl fmt::Display for Displayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("displayed")
    }
}

/// Has a source, which has a source.
#[derive(Debug)]
struct Layered(io::Error);

impl fmt::Display for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("layered")
    }
}

impl StdError for Layered {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

type Alias<T = u8> = Result<T, Layered>;
type Anything = Result<u8, Box<dyn StdError + Send + Sync>>;

fn no_file() -> Layered {
    Layered(io::Error::other(std::fs::read("/no/such/file").unwrap_err()))
}

#[worker_task(fallible)]
fn displayed() -> Result<u8, Displayed> {
    Err(Displayed)
}

#[worker_task(fallible)]
fn text() -> Result<u8, &'static str> {
    Err("a literal")
}

#[worker_task(fallible)]
fn of_std(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

#[worker_task(fallible)]
fn alias() -> Alias {
    Err(no_file())
}

#[worker_task(fallible)]
fn boxed() -> Anything {
    Err(no_file())?
}

#[worker_task(fallible)]
fn of_anyhow() -> anyhow::Result<u8> {
    Err(no_file()).context("with context").context("with more")
}

fn errors_of_all_types_keep_their_sources(method: StartMethod) -> Result<(), Error> {
    let reason = "No such file or directory (os error 2)";
    let pool = pool(method)?;
    let of_std = of_std::apply(&pool, Path::new("/no/such/file")).map(|_| 0);
    for (result, chain) in [
        (displayed::apply(&pool, ()), vec!["displayed"]),
        (text::apply(&pool, ()), vec!["a literal"]),
        (of_std, vec![reason]),
        (alias::apply(&pool, ()), vec!["layered", reason]),
        (boxed::apply(&pool, ()), vec!["layered", reason]),
        (of_anyhow::apply(&pool, ()), vec!["with more", "with context", "layered", reason]),
    ] {
        let error = result.unwrap_err();
        assert_eq!(returned(error.task().unwrap()), chain.join(": "));
        for outer in [&error as &dyn StdError, error.task().unwrap()] {
            let sources = std::iter::successors(outer.source(), |&error| error.source());
            assert_eq!(sources.map(ToString::to_string).collect::<Vec<_>>(), chain);
        }
    }
    assert_usable(&pool);
    Ok(())
}

/// An error that panics while it is displayed or dropped.
struct Explosive(&'static str);

impl fmt::Display for Explosive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(self.0 != "displayed", "it was displayed");
        f.write_str("told")
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        if self.0 == "dropped" {
            std::panic::panic_any(Bomb);
        }
    }
}

#[worker_task(fallible)]
fn explode(when: u8) -> Result<u8, Explosive> {
    Err(Explosive(["displayed", "dropped"][usize::from(when)]))
}

fn errors_that_panic(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let outcomes = explode::par_map_outcomes(&pool, [0, 1, 0, 1])?;
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let message = ["it was displayed", "non-string payload"][index % 2];
        assert_eq!(panic_message(&outcome.unwrap_err()), message);
    }
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn half(x: u32) -> Result<u32, String> {
    if x.is_multiple_of(2) { Ok(x / 2) } else { Err(format!("{x} is odd")) }
}

fn results_stay_values_otherwise(method: StartMethod) -> Result<(), Error> {
    let halves = half::par_map(&pool(method)?, [2, 3])?;
    assert_eq!(halves, [Ok(1), Err("3 is odd".into())]);
    Ok(())
}

#[worker_task(fallible)]
fn repeat(letter: char, times: usize) -> Result<(String, Option<usize>), String> {
    let text = letter.to_string().repeat(times);
    if letter == 'e' { Err(text) } else { Ok((text, Some(times))) }
}

fn all_codecs_carry_both(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        let outcomes = repeat::par_map_outcomes(&pool, [('a', 2), ('e', 3), ('ä', 0)])?;
        let outcomes: Vec<_> = outcomes.into_iter().map(|it| it.map_err(|error| returned(&error))).collect();
        let expected = [Ok(("aa".into(), Some(2))), Err("eee".into()), Ok((String::new(), Some(0)))];
        assert_eq!(outcomes, expected, "{codec:?}");
    }
    Ok(())
}

fn large_values_and_errors(method: StartMethod) -> Result<(), Error> {
    const LARGE: usize = 20_000_000;
    let pool = pool(method)?;
    let outcomes = repeat::par_map_outcomes(&pool, [('a', LARGE), ('e', LARGE), ('b', 1)])?;
    assert_eq!(outcomes[0].as_ref().unwrap().0.len(), LARGE);
    let error = returned(outcomes[1].as_ref().unwrap_err());
    assert!(error.len() < 1 << 20 && error.contains("bytes left out"), "{} bytes", error.len());
    assert_eq!(outcomes[2].as_ref().unwrap().0, "b");
    Ok(())
}

#[worker_task(fallible)]
fn roots(#[chunk] rows: &[f64]) -> Result<Vec<f64>, String> {
    rows.iter().map(|x| if *x < 0.0 { Err(format!("no root of {x}")) } else { Ok(x.sqrt()) }).collect()
}

#[worker_task(fallible)]
fn roots_in_place(#[chunk] rows: &mut [f64]) -> Result<usize, String> {
    for x in &mut *rows {
        *x = if *x < 0.0 { Err(format!("no root of {x}")) } else { Ok(x.sqrt()) }?;
    }
    Ok(rows.len())
}

fn chunks_can_fail(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let roots_of = |rows: &[f64]| roots::job(&pool).chunk_size(2).map_slice(rows);
    assert_eq!(roots_of(&[4.0, 9.0, 16.0])?, [2.0, 3.0, 4.0]);
    let error = task_error(roots_of(&[4.0, 9.0, 16.0, -1.0, 4.0]));
    assert_eq!((error.task_index(), returned(&error)), (1, "no root of -1".to_owned()));
    let mut array = SharedArray::from_slice(&[4.0, 9.0, 16.0, -1.0, 25.0])?;
    let outcomes = roots_in_place::job(&pool).chunks_mut_outcomes(&mut array, 2)?;
    assert_eq!(
        outcomes.iter().map(|outcome| outcome.as_ref().ok()).collect::<Vec<_>>(),
        [Some(&2), None, Some(&1)]
    );
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!((returned(error), error.torn()), ("no root of -1".to_owned(), Some(2..4)));
    assert_eq!(array.to_vec(), [2.0, 3.0, 4.0, -1.0, 5.0]);
    Ok(())
}

#[worker_task]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

fn results_are_reduced(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(parse::job(&pool).reduce::<add>(["1", "2", "3"])?, Some(6));
    for chunk in [1, 2, 5] {
        let error = task_error(parse::job(&pool).chunk_size(chunk).reduce::<add>(ONE_BAD));
        assert_eq!((error.task_index(), returned(&error)), (2, INVALID.to_owned()), "chunks of {chunk}");
    }
    Ok(())
}

#[worker_task]
fn same(x: u32) -> u32 {
    x
}

#[worker_task(fallible)]
fn add_up_to_a_hundred(a: u32, b: u32) -> Result<u32, String> {
    Some(a + b).filter(|sum| *sum <= 100).ok_or_else(|| format!("{a} and {b} are too much"))
}

fn the_reducer_fails(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for chunk in [1, 3, 50] {
        let job = || same::job(&pool).chunk_size(chunk);
        assert_eq!(job().reduce::<add_up_to_a_hundred>([20; 5])?, Some(100));
        let error = task_error(job().reduce::<add_up_to_a_hundred>([20; 50]));
        assert!(returned(&error).ends_with("are too much"), "{error}");
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_init(fallible)]
fn seven() -> Alias<u32> {
    Ok(7)
}

#[worker_init(fallible)]
fn no_number() -> Alias<u32> {
    Err(no_file())
}

#[worker_task(init = seven)]
fn plus_seven(#[state] seven: &mut u32, x: u32) -> u32 {
    *seven + x
}

fn an_alias_of_a_result_in_an_init(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(plus_seven::par_map(&pool, [1, 2])?, [8, 9]);
    let error = task_error(plus_seven::job(&pool).worker_init::<no_number>().apply(1));
    assert!(
        matches!(error.kind(), TaskErrorKind::Init(cause) if matches!(**cause, TaskErrorKind::Failed(_)))
    );
    assert!(
        error.task_name().ends_with("no_number") && error.to_string().contains("layered: No such"),
        "{error}"
    );
    Ok(())
}

#[worker_exit]
fn even_only(#[state] tasks: u32) -> Result<u32, String> {
    if tasks.is_multiple_of(2) { Ok(tasks) } else { Err(format!("{tasks} tasks are odd")) }
}

#[worker_exit(fallible)]
fn never() -> Alias {
    Err(no_file())
}

#[worker_task(exit = even_only)]
fn count(#[state] tasks: &mut u32) {
    *tasks += 1;
}

/// Asserts that an exit function returned an error that begins like this.
#[track_caller]
fn assert_exit_failed<T: fmt::Debug>(result: Result<T, Error>, function: &str, why: &str) {
    let error = task_error(result);
    assert!(error.task_name().ends_with(function), "{error}");
    let TaskErrorKind::Exit(cause) = error.kind() else { panic!("exit should have failed, but: {error}") };
    assert!(matches!(&**cause, TaskErrorKind::Failed(text) if text.starts_with(why)), "{error}");
}

fn exits_fail(method: StartMethod) -> Result<(), Error> {
    let pool = || builder(method).workers(1);
    let good = pool().build()?;
    count::par_map(&good, [(); 4])?;
    assert_eq!(good.join()?.exit_results::<even_only>()?, [4]);
    let odd = pool().build()?;
    count::par_map(&odd, [(); 3])?;
    assert_exit_failed(odd.join(), "even_only", "3 tasks are odd");
    let fresh = pool().keep_alive(false).build()?;
    assert_exit_failed(count::par_map(&fresh, [(); 3]), "even_only", "3 tasks are odd");
    assert_usable(&fresh);
    let aliased = pool().build()?;
    count::job(&aliased).worker_exit::<never>().apply(())?;
    let error = aliased.join().unwrap_err();
    let sources = std::iter::successors(error.source(), |&error| error.source());
    let sources: Vec<_> = sources.map(ToString::to_string).collect();
    assert_eq!(sources, ["layered", "No such file or directory (os error 2)"]);
    assert_exit_failed(Err::<(), _>(error), "never", "layered");
    Ok(())
}

fn exits_fail_at_restarts(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    count::job(&pool).worker_lifespan(3).map([(); 6])?;
    count::job(&pool).worker_lifespan(2).map([(); 4])?;
    assert_usable(&pool);
    assert!(pool.exit_results::<even_only>()?.iter().all(|tasks| tasks.is_multiple_of(2)));
    assert_exit_failed(pool.join(), "even_only", "3 tasks are odd");
    Ok(())
}
