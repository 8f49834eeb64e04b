//! Parameters that are references: the caller lends what it has, and the worker lends the task what it decodes.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::panic::panic_any;
use std::path::{Path, PathBuf};

use pool::{Codec, Error, StartMethod, TaskErrorKind, worker_task};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use super::codecs::CODECS;
use super::constant_failures::Picky;
use crate::harness::cases;
use crate::support::{Bomb, assert_usable, builder, panic_message, pool, task_error};

cases! {
    All: types_of_each_kind_are_lent, values_that_borrow_are_lent, beside_values_and_injections, from_each_call,
        large_values, failures_are_told, values_that_panic, tuples_are_their_parts_in_every_codec;
    Linux: in_place_where_that_is_possible;
}

/// A value that cannot be cloned.
#[derive(Debug, Serialize, Deserialize)]
struct Config {
    factor: f64,
    names: Vec<String>,
}

fn config() -> Config {
    Config { factor: 2.0, names: vec!["a".into(), "bc".into()] }
}

#[worker_task]
fn scale(config: &Config, rows: &Vec<f64>) -> f64 {
    rows.iter().sum::<f64>() * config.factor
}

#[worker_task]
fn alone(config: &Config) -> usize {
    config.names.len()
}

#[worker_task]
fn number(x: &u64) -> u64 {
    *x + 1
}

#[worker_task]
fn owners(text: &String, path: &PathBuf, map: &BTreeMap<u8, String>, pair: &(u8, Option<bool>)) -> String {
    format!("{text} {} {map:?} {pair:?}", path.display())
}

#[worker_task]
fn slices(numbers: &[f64], texts: &[String], pairs: &[(u8, char)]) -> String {
    format!("{numbers:?} {texts:?} {pairs:?}")
}

#[worker_task]
fn of_values_without_clone(configs: &[Config], last: &Config) -> f64 {
    configs.iter().chain([last]).map(|config| config.factor).sum()
}

#[worker_task]
fn of_the_system(c: &CStr, os: &OsStr) -> (usize, usize) {
    (c.count_bytes(), os.len())
}

#[worker_task]
fn references(text: &&str, array: &[u16; 3]) -> usize {
    text.len() + usize::from(array[2])
}

fn types_of_each_kind_are_lent(method: StartMethod) -> Result<(), Error> {
    let config = config();
    let rows = [vec![1.0, 2.0], vec![], vec![3.0]];
    let map = BTreeMap::from([(1, "one".to_owned())]);
    let (text, path) = ("text".to_owned(), PathBuf::from("/path"));
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        assert_eq!(scale::par_map(&pool, rows.iter().map(|row| (&config, row)))?, [6.0, 0.0, 6.0]);
        assert_eq!(alone::par_map(&pool, [&config; 3])?, [2; 3]);
        assert_eq!(number::par_map(&pool, &[1, 2, u64::MAX - 1])?, [2, 3, u64::MAX]);
        let owned = owners::apply(&pool, (&text, &path, &map, &(7, Some(true))))?;
        assert_eq!(owned, "text /path {1: \"one\"} (7, Some(true))", "{codec:?}");
        let sliced = slices::apply(&pool, (&[0.5, -1.0], &config.names, &[(1, 'ä')]))?;
        assert_eq!(sliced, "[0.5, -1.0] [\"a\", \"bc\"] [(1, 'ä')]", "{codec:?}");
        let configs = [self::config(), self::config()];
        assert_eq!(of_values_without_clone::apply(&pool, (&configs, &configs[0]))?, 6.0, "{codec:?}");
        assert_eq!(of_values_without_clone::apply(&pool, (&[], &configs[0]))?, 2.0, "{codec:?}");
        assert_eq!(of_the_system::apply(&pool, (c"four", OsStr::new("three")))?, (4, 5));
        assert_eq!(references::apply(&pool, (&"text", &[1, 2, 3]))?, 7);
    }
    Ok(())
}

#[derive(Debug, Serialize, Deserialize)]
struct Record<'a> {
    key: &'a str,
    rows: Vec<&'a str>,
}

#[worker_task]
fn of_a_record(record: &Record<'_>, end: &str) -> String {
    record.rows.join(record.key) + end
}

#[worker_task]
fn of_records(records: &[Record<'_>]) -> usize {
    records.iter().map(|record| record.rows.len()).sum()
}

fn values_that_borrow_are_lent(method: StartMethod) -> Result<(), Error> {
    let key = String::from(", ");
    let records = [Record { key: &key, rows: vec!["a", "b"] }, Record { key: "-", rows: vec![] }];
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        assert_eq!(of_a_record::par_map(&pool, records.iter().map(|it| (it, "!")))?, ["a, b!", "!"]);
        assert_eq!(of_records::apply(&pool, &records)?, 2, "{codec:?}");
    }
    Ok(())
}

/// Whether these bytes are in a lane.
fn is_in_place(bytes: &[u8]) -> bool {
    let address = bytes.as_ptr().addr();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut lanes = maps.lines().filter(|line| line.contains("/memfd:pool"));
    lanes.any(|line| {
        let (start, rest) = line.split_once('-').unwrap();
        let number = |text| usize::from_str_radix(text, 16).unwrap();
        (number(start)..number(rest.split_once(' ').unwrap().0)).contains(&address)
    })
}

#[worker_task]
fn in_place(text: &str, bytes: &[u8], path: &Path, foreign: &Bytes) -> [bool; 4] {
    [text.as_bytes(), bytes, path.as_os_str().as_encoded_bytes(), foreign].map(is_in_place)
}

#[worker_task]
fn owned(text: &String, bytes: &Vec<u8>) -> [bool; 2] {
    [text.as_bytes(), bytes].map(is_in_place)
}

fn in_place_where_that_is_possible(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        let item = ("text", &b"bytes"[..], Path::new("/path"), Bytes::new(b"foreign"));
        assert_eq!(in_place::apply(&pool, item)?, [true; 4], "{codec:?}");
        assert_eq!(owned::apply(&pool, (&"text".into(), &b"bytes".into()))?, [false; 2], "{codec:?}");
    }
    Ok(())
}

#[worker_task]
fn beside(
    a: u64,
    #[state] seen: &mut Vec<String>,
    config: &Config,
    #[shared] base: &Vec<u64>,
    text: &str,
    b: Option<u8>,
    #[worker_id] id: usize,
) -> (u64, usize) {
    seen.push(text.to_owned());
    (a + base[0] + config.names.len() as u64 + u64::from(b.unwrap_or(0)) + id as u64, seen.len())
}

fn beside_values_and_injections(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).workers(1).codec(codec).shared(vec![100u64]).build()?;
        let config = config();
        let items = [(1, &config, "x", None), (2, &config, "y", Some(5))];
        assert_eq!(beside::par_map(&pool, items)?, [(103, 1), (109, 2)]);
    }
    Ok(())
}

#[worker_task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn from_each_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let numbers: Vec<u64> = (0..1000).collect();
    let plus_one: Vec<u64> = (1..=1000).collect();
    assert_eq!(number::par_map(&pool, &numbers)?, plus_one);
    assert_eq!(number::par_imap(&pool, numbers.iter()).collect::<Result<Vec<_>, _>>()?, plus_one);
    assert_eq!(number::par_imap_unordered(&pool, &numbers).count(), 1000);
    assert!(number::par_map_outcomes(&pool, &numbers)?.iter().all(Result::is_ok));
    assert_eq!(number::job(&pool).reduce::<add>(&numbers)?, Some(plus_one.iter().sum()));
    // A call in the background encodes what it was lent before it returns.
    let pending = {
        let gone = 41;
        number::apply_async(&pool, &gone)
    };
    let all = {
        let gone = vec![1, 2];
        pool.map_async::<number>(&gone)
    };
    assert_eq!((pending.get()?, all.get()?), (42, vec![2, 3]));
    Ok(())
}

#[worker_task]
fn sum(numbers: &[u64], bytes: &Vec<u8>) -> (u64, usize) {
    (numbers.iter().sum(), bytes.len())
}

fn large_values(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (numbers, bytes) = (vec![3u64; 3_000_000], vec![1u8; 20_000_000]);
    assert_eq!(sum::par_map(&pool, [(&*numbers, &bytes); 4])?, [(9_000_000, 20_000_000); 4]);
    Ok(())
}

#[worker_task]
fn pick(before: &String, picky: &Picky) -> u32 {
    assert!(before != "bad", "{before} before {}", picky.0);
    picky.0
}

fn failures_are_told(method: StartMethod) -> Result<(), Error> {
    let good = "good".to_owned();
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        let pickies = [0, 1, 2, 4, 5, 6].map(Picky);
        let outcomes = pick::par_map_outcomes(&pool, pickies.iter().map(|picky| (&good, picky)))?;
        let kinds = outcomes.iter().map(|outcome| outcome.as_ref().map_err(|error| error.kind()));
        let kinds: Vec<_> = kinds.collect();
        assert!(matches!(&kinds[..2], [Ok(0), Err(TaskErrorKind::Encode(why))] if why.contains("odd")));
        assert!(matches!(&kinds[2..4], [Err(TaskErrorKind::Decode(why)), Ok(4)] if why.contains("four")));
        assert!(matches!(&kinds[4], Err(TaskErrorKind::Encode(why)) if why.contains("panicked")));
        assert_eq!(panic_message(outcomes[5].as_ref().unwrap_err()), "six is not deserialized");
        let error = task_error(pick::apply(&pool, (&"bad".into(), &Picky(8))));
        assert_eq!((panic_message(&error), error.argument()), ("bad before 8", Some("(\"bad\", Picky(8))")));
        assert_usable(&pool);
    }
    Ok(())
}

/// Panics when it is dropped.
#[derive(Serialize, Deserialize)]
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic_any(Bomb);
    }
}

#[worker_task]
fn look_at(_: &Explosive) -> u8 {
    1
}

fn values_that_panic(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let explosive = std::mem::ManuallyDrop::new(Explosive);
    let outcomes = look_at::par_map_outcomes(&pool, [&*explosive; 3])?;
    for outcome in outcomes {
        assert_eq!(panic_message(&outcome.unwrap_err()), "non-string payload");
    }
    assert_usable(&pool);
    Ok(())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
}

#[worker_task]
fn untagged(one: Untagged, other: &Untagged, flag: bool) -> (bool, Untagged) {
    (flag && one != *other, one)
}

fn tuples_are_their_parts_in_every_codec(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).codec(Codec::MessagePack).build()?;
    let text = || Untagged::Text("a".into());
    let results = untagged::par_map(&pool, [(text(), &Untagged::Number(-1), true), (text(), &text(), true)])?;
    assert_eq!(results, [(true, text()), (false, text())]);
    Ok(())
}
