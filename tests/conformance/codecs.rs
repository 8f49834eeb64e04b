//! The values that each codec carries, and those that it refuses.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::CString;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU8, Wrapping};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use pool::{Codec, Error, StartMethod, worker_exit, worker_init, worker_task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::cases;
use crate::support::{assert_usable, builder, task_error};

cases! {
    All: all_carry_plain_data, all_carry_each_kind, all_carry_results_of_any_length, all_lend_bytes,
        all_carry_shared_and_exits, message_pack_describes_itself, what_cannot_be_carried_is_refused;
}

pub(super) const CODECS: [Codec; 3] = [Codec::Bincode, Codec::Postcard, Codec::MessagePack];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Plain {
    numbers: (i8, u16, i32, u64, i128, f32, f64),
    text: String,
    maybe: Option<Option<bool>>,
    map: BTreeMap<String, Vec<char>>,
    unit: (),
}

#[worker_task]
fn same(plain: Plain) -> Plain {
    plain
}

fn all_carry_plain_data(method: StartMethod) -> Result<(), Error> {
    let plain = |maybe| Plain {
        numbers: (i8::MIN, u16::MAX, i32::MIN, u64::MAX, i128::MIN, f32::MIN_POSITIVE, f64::INFINITY),
        text: "ŧext\0".into(),
        maybe,
        map: BTreeMap::from([("a".into(), vec!['ä', '∀']), (String::new(), vec![])]),
        unit: (),
    };
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        let values = [plain(None), plain(Some(None)), plain(Some(Some(true)))];
        assert_eq!(same::par_map(&pool, values.clone())?, values, "{codec:?}");
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_init]
fn word(#[shared] words: &Vec<String>) -> String {
    words.concat()
}

#[worker_exit]
fn last_word(#[state] word: String) -> Option<String> {
    Some(word)
}

#[worker_task(init = word, exit = last_word)]
fn repeat(#[shared] words: &Vec<String>, #[state] word: &mut String, times: usize) -> String {
    format!("{}{}", words.len(), word.repeat(times))
}

fn all_carry_shared_and_exits(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).shared(vec!["a".to_owned(), "b".to_owned()]).build()?;
        assert_eq!(repeat::par_map(&pool, [0, 2])?, ["2", "2abab"]);
        let exits = pool.join()?.exit_results::<last_word>()?;
        assert!(!exits.is_empty() && exits.iter().all(|exit| exit.as_deref() == Some("ab")), "{exits:?}");
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
    List(Vec<Untagged>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u32,
    untagged: Untagged,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[worker_task]
fn same_flat(flat: Flat, value: Value) -> (Flat, Value) {
    (flat, value)
}

fn message_pack_describes_itself(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).codec(Codec::MessagePack).build()?;
    let untagged = Untagged::List(vec![Untagged::Number(-5), Untagged::Text("five".into())]);
    let rest = BTreeMap::from([("a".to_owned(), json!([1, null])), ("b".to_owned(), json!({"c": 0.5}))]);
    let item = (Flat { id: 1, untagged, rest }, json!({"key": [true, "text", {"deep": -1}]}));
    assert_eq!(same_flat::par_map(&pool, vec![item.clone(); 20])?, vec![item; 20]);
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    New(u8),
    Pair(i16, String),
    Named { a: Option<u32>, b: f32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wrapped(Option<Box<Wrapped>>);

/// All kinds of values in one enum, so that one task carries them all: a task for each kind took minutes to compile,
/// because each is compiled for each codec.
macro_rules! each_kind {
    ($($name:ident: $kind:ty = [$($value:expr),+];)+) => {
        #[expect(non_camel_case_types, reason = "a variant has the name of its kind, with which a failure is told")]
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        enum AnyKind {
            $($name($kind),)+
        }

        /// The values, each with the name of its kind.
        fn of_each_kind() -> Vec<(&'static str, AnyKind)> {
            vec![$($((stringify!($name), AnyKind::$name($value)),)+)+]
        }
    };
}

each_kind! {
    truth: bool = [true, false];
    unsigned: (u8, u16, u32, u64, u128) = [(255, 256, 1 << 20, u64::MAX, u128::MAX), (0, 127, 128, 1, 2)];
    signed: (i8, i16, i32, i64, i128) = [(i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN), (1, -1, 64, -65, 0)];
    sizes: (usize, isize) = [(usize::MAX, isize::MIN)];
    floats: (f32, Vec<f64>) = [(f32::MIN_POSITIVE, vec![f64::MAX, -0.0, f64::INFINITY, 1e-310])];
    texts: (char, String, Box<str>) = [('\u{10ffff}', "\0ä".into(), "".into()), ('a', "x".repeat(5000), "y".into())];
    paths: (PathBuf, CString) = [("/a/ä".into(), c"text".into())];
    nothing: () = [(), ()];
    unit: Unit = [Unit];
    phantom: PhantomData<String> = [PhantomData];
    maybe_nothing: Option<()> = [None, Some(())];
    maybe_unit: Option<Unit> = [None, Some(Unit)];
    maybe_maybe: Option<Option<u8>> = [None, Some(None), Some(Some(1))];
    maybe_thrice: Vec<Option<Option<Option<bool>>>> = [vec![None, Some(None), Some(Some(None))]];
    maybe_boxed: Wrapped = [Wrapped(None), Wrapped(Some(Wrapped(Some(Wrapped(None).into())).into()))];
    results: Result<Option<()>, ()> = [Ok(None), Ok(Some(())), Err(())];
    fallible: Result<(), String> = [Ok(()), Err("no".into())];
    kinds: Vec<Kind> = [vec![Kind::Unit, Kind::New(3), Kind::Pair(-1, "x".into()), Kind::Named { a: None, b: 1.5 }]];
    bytes: Vec<u8> = [vec![], vec![0, 127, 128, 255], vec![200; 100_000]];
    boxed: (Box<[u8]>, Box<[i32]>, VecDeque<u8>) = [([1, 255].into(), [-1].into(), VecDeque::from([9]))];
    vectors: Vec<Vec<Vec<u16>>> = [vec![vec![], vec![vec![1, 300], vec![]]]];
    units: Vec<()> = [vec![(); 1000], vec![]];
    unit_sets: (HashSet<()>, Vec<Unit>, [(); 3]) = [(HashSet::from([()]), vec![Unit; 100], [(); 3])];
    arrays: ([u8; 32], [u16; 0], [Option<u8>; 3]) = [([200; 32], [], [None, Some(1), None])];
    maps: HashMap<(u8, bool), Vec<u8>> = [HashMap::from([((1, true), vec![1, 2])])];
    number_keys: BTreeMap<i64, ()> = [BTreeMap::from([(-5, ()), (7, ())])];
    odd_keys: BTreeMap<Option<()>, Option<Option<char>>> = [BTreeMap::from([(None, Some(None)), (Some(()), None)])];
    sets: BTreeSet<Vec<u8>> = [BTreeSet::from([vec![], vec![255]])];
    times: (Duration, SystemTime) = [(Duration::MAX, SystemTime::UNIX_EPOCH + Duration::from_nanos(5))];
    net: (IpAddr, SocketAddr) = [("::1".parse().unwrap(), "1.2.3.4:80".parse().unwrap())];
    ranges: (Range<u32>, RangeInclusive<i8>) = [(1..5, -1..=1)];
    odd_numbers: (NonZeroU8, Wrapping<u16>) = [(9.try_into().unwrap(), Wrapping(4))];
}

#[worker_task]
fn same_kind(value: AnyKind) -> AnyKind {
    value
}

#[worker_task]
fn same_bytes(value: Vec<u8>) -> Vec<u8> {
    value
}

#[worker_task]
fn same_numbers(value: Vec<f64>) -> Vec<f64> {
    value
}

#[worker_task]
fn same_truth(value: bool) -> bool {
    value
}

#[worker_task]
fn same_nothing(_: ()) {}

#[worker_task]
fn same_units(value: Vec<()>) -> Vec<()> {
    value
}

#[worker_task]
fn same_maybe(value: Option<Option<u8>>) -> Option<Option<u8>> {
    value
}

fn all_carry_each_kind(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        let (names, values): (Vec<_>, Vec<_>) = of_each_kind().into_iter().unzip();
        let outcomes = same_kind::par_map_outcomes(&pool, values.clone())?;
        assert_eq!(outcomes.len(), values.len());
        for ((name, value), outcome) in names.into_iter().zip(values).zip(outcomes) {
            match outcome {
                Ok(same) => assert_eq!(same, value, "{codec:?}: {name}"),
                Err(error) => panic!("{codec:?}: {name}: {error}"),
            }
        }
        // Kinds that are encoded in another way if they are the whole item: in bulk, as nothing, or without a length.
        let bytes = [vec![], vec![0, 127, 128, 255], vec![200; 100_000]];
        assert_eq!(same_bytes::par_map(&pool, bytes.clone())?, bytes, "{codec:?}");
        let numbers = [vec![], vec![f64::MAX, -0.0, f64::INFINITY, 1e-310]];
        assert_eq!(same_numbers::par_map(&pool, numbers.clone())?, numbers, "{codec:?}");
        assert_eq!(same_truth::par_map(&pool, [true, false])?, [true, false], "{codec:?}");
        assert_eq!(same_nothing::par_map(&pool, [(), ()])?, [(), ()], "{codec:?}");
        let units = [vec![(); 1000], vec![]];
        assert_eq!(same_units::par_map(&pool, units.clone())?, units, "{codec:?}");
        let maybes = [None, Some(None), Some(Some(1))];
        assert_eq!(same_maybe::par_map(&pool, maybes)?, maybes, "{codec:?}");
    }
    Ok(())
}

#[worker_task]
fn halved(x: u64) -> Option<u64> {
    x.is_multiple_of(2).then_some(x / 2)
}

#[worker_task]
fn refused(x: u64) -> Result<u64, String> {
    if x.is_multiple_of(3) { Err("it is a multiple of three".into()) } else { Ok(x) }
}

#[worker_task]
fn lines(count: usize) -> String {
    "-".repeat(count * 7919 % 100)
}

fn all_carry_results_of_any_length(method: StartMethod) -> Result<(), Error> {
    const TASKS: u64 = 5000;
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        let expected: Vec<_> = (0..TASKS).map(halved).collect();
        assert_eq!(halved::par_map(&pool, 0..TASKS)?, expected, "{codec:?}");
        let expected: Vec<_> = (0..TASKS).map(refused).collect();
        assert_eq!(refused::par_map(&pool, 0..TASKS)?, expected, "{codec:?}");
        let expected: Vec<_> = (0..TASKS as usize).map(lines).collect();
        assert_eq!(lines::par_map(&pool, 0..TASKS as usize)?, expected, "{codec:?}");
        // Each counts against the bound of results that wait to be taken, and nothing stays counted.
        let results: Result<Vec<_>, _> = lines::job(&pool).chunk_size(9).imap(0..TASKS as usize).collect();
        assert_eq!(results?, expected, "{codec:?}");
        let later: Vec<_> = (0..300).map(|count| lines::apply_async(&pool, count)).collect();
        let results: Result<Vec<_>, _> = later.into_iter().map(|result| result.get()).collect();
        assert_eq!(results?, expected[..300], "{codec:?}");
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Lent<'a> {
    id: u8,
    bytes: &'a [u8],
    text: &'a str,
}

#[worker_task]
fn join_bytes(one: &[u8], two: (u32, &[u8]), lent: Lent<'_>, none: Option<&[u8]>) -> Vec<u8> {
    [one, two.1, lent.bytes, lent.text.as_bytes(), none.unwrap_or_default()].concat()
}

#[worker_task]
fn only_bytes(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn all_lend_bytes(method: StartMethod) -> Result<(), Error> {
    let bytes: Vec<u8> = (0..=255).collect();
    let lent = Lent { id: 1, bytes: &bytes[200..], text: "text" };
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        assert_eq!(only_bytes::par_map(&pool, [&bytes[..], &[]])?, [&bytes[..], &[]], "{codec:?}");
        let joined = join_bytes::apply(&pool, (&bytes, (7, &bytes[..3]), lent.clone(), Some(&bytes[..1])))?;
        assert_eq!(joined, [&bytes[..], &[0, 1, 2], &bytes[200..], b"text", &[0]].concat(), "{codec:?}");
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Skips {
    id: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    price: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Circle { r: f64 },
}

#[worker_task]
fn same_skips(value: Skips) -> Skips {
    value
}

#[worker_task]
fn make_skips(id: u32) -> Skips {
    Skips { id, note: None, price: 7 }
}

#[worker_task]
fn same_tagged(value: Tagged) -> Tagged {
    value
}

#[worker_task]
fn same_untagged(value: Untagged) -> Untagged {
    value
}

#[worker_task]
fn same_value(value: Value) -> Value {
    value
}

fn what_cannot_be_carried_is_refused(method: StartMethod) -> Result<(), Error> {
    fn refused<T: Debug>(result: Result<T, Error>, names: &[&str]) {
        let error = task_error(result).to_string();
        for name in names.iter().chain(&["Codec::MessagePack"]) {
            assert!(error.contains(name), "{name:?} is not in {error:?}");
        }
    }
    let skips = Skips { id: 1, note: None, price: 2 };
    let flat = Flat { id: 1, untagged: Untagged::Number(1), rest: BTreeMap::new() };
    for codec in [Codec::Bincode, Codec::Postcard] {
        let pool = builder(method).codec(codec).build()?;
        refused(same_skips::apply(&pool, skips.clone()), &["skip_serializing_if", "`note` of `Skips`"]);
        refused(make_skips::apply(&pool, 1), &["skip_serializing_if", "`note` of `Skips`"]);
        refused(same_flat::apply(&pool, (flat.clone(), json!(1))), &["flatten", "Flat"]);
        refused(same_tagged::apply(&pool, Tagged::Circle { r: 1.0 }), &["tag = ", "Tagged"]);
        refused(same_untagged::apply(&pool, Untagged::Number(1)), &["untagged", "Untagged"]);
        refused(same_value::apply(&pool, json!({"a": null})), &["serde_json", "Value"]);
        let whole = Skips { note: Some("all of it".into()), ..skips };
        assert_eq!(same_skips::apply(&pool, whole.clone())?, whole);
    }
    let pool = builder(method).codec(Codec::MessagePack).build()?;
    assert_eq!(same_skips::apply(&pool, skips.clone())?, skips);
    assert_eq!(make_skips::apply(&pool, 1)?, Skips { id: 1, note: None, price: 7 });
    assert_eq!(same_tagged::apply(&pool, Tagged::Circle { r: 1.0 })?, Tagged::Circle { r: 1.0 });
    Ok(())
}
