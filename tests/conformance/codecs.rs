//! What each codec carries, what it refuses, and what it makes of bytes that no codec writes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::CString;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU8, Wrapping};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use pool::{Codec, Error, StartMethod, TaskError, TaskErrorKind, worker_exit, worker_init, worker_task};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::harness::cases;
use crate::support::{assert_usable, builder, task_error};

cases! {
    All: all_carry_plain_data, all_carry_each_kind, all_lend_bytes, all_carry_shared_and_exits,
        message_pack_describes_itself, what_cannot_be_carried_is_refused, lengths_are_not_believed,
        exit_values_are_not_believed, results_are_as_deep_as_the_stack, arguments_are_as_deep_as_the_stack,
        shared_values_are_as_deep_as_the_stack;
}

const CODECS: [Codec; 3] = [Codec::Bincode, Codec::Postcard, Codec::MessagePack];

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

/// Values of each kind as one enum, so that one task carries them all: a task of its own for each kind, compiled for
/// each codec, took minutes to compile.
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
        // Those that go another way where they are the whole item: in bulk, without any bytes, or behind no length.
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

/// Goes out as these bytes, and comes back as a value of this type, if one can be made of them.
#[derive(Debug)]
struct Bytes<T>(Vec<u8>, PhantomData<T>);

impl<T> Serialize for Bytes<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A tuple has no length before it, where the codec names nothing.
        let mut bytes = serializer.serialize_tuple(self.0.len())?;
        for byte in &self.0 {
            bytes.serialize_element(byte)?;
        }
        bytes.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bytes<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|_| Self(Vec::new(), PhantomData))
    }
}

/// Values of each kind as one enum, in whose place a task answers with bytes.
macro_rules! each_lie {
    ($($name:ident: $kind:ty;)+) => {
        #[expect(non_camel_case_types, reason = "a variant has the name of its kind, with which a failure is told")]
        #[expect(dead_code, reason = "no such value comes out of the bytes, which is what is tested")]
        #[derive(Debug, Deserialize)]
        enum AnyLie {
            $($name($kind),)+
        }

        /// The names of the kinds, in the order of the numbers by which the codecs know them.
        const LIES: &[&str] = &[$(stringify!($name)),+];
    };
}

each_lie! {
    string: String;
    strings: Vec<String>;
    path: PathBuf;
    boxed_text: Box<str>;
    c_string: CString;
    bytes: Vec<u8>;
    numbers: Vec<u64>;
    large_elements: Vec<[u64; 32]>;
    nested: Vec<Vec<Vec<String>>>;
    map: HashMap<String, Vec<u8>>;
    tree_map: BTreeMap<u8, u8>;
    maybe: Option<Box<[u16]>>;
    in_a_tuple: (u8, String, Vec<u32>);
    units: Vec<()>;
    unit_set: HashSet<()>;
    unit_structs: Vec<Unit>;
    phantoms: Vec<PhantomData<String>>;
    unit_arrays: Vec<[(); 8]>;
    unit_map: HashMap<(), ()>;
    units_in_a_tuple: (Vec<((), Unit)>, Vec<()>);
}

#[worker_task]
fn lie(bytes: Vec<u8>) -> Bytes<AnyLie> {
    Bytes(bytes, PhantomData)
}

#[worker_task]
fn lie_of_text(bytes: Vec<u8>) -> Bytes<String> {
    Bytes(bytes, PhantomData)
}

#[worker_task]
fn lie_of_bytes(bytes: Vec<u8>) -> Bytes<Vec<u8>> {
    Bytes(bytes, PhantomData)
}

#[worker_task]
fn lie_of_units(bytes: Vec<u8>) -> Bytes<Vec<()>> {
    Bytes(bytes, PhantomData)
}

fn lengths_are_not_believed(method: StartMethod) -> Result<(), Error> {
    for codec in [Codec::Bincode, Codec::Postcard] {
        let head = |len: u64| match codec {
            Codec::Bincode => len.to_le_bytes().to_vec(),
            // Seven bits in each byte, all but the last of which say that there are more.
            _ => (0..10).map(|at| (len >> (7 * at)) as u8 & 0x7f | if at < 9 { 0x80 } else { 0 }).collect(),
        };
        let kind = |number: u8| match codec {
            Codec::Bincode => u32::from(number).to_le_bytes().to_vec(),
            _ => vec![number],
        };
        let lies: Vec<Vec<u8>> = [1 << 40, 1 << 60, u64::MAX]
            .into_iter()
            .flat_map(|len| [head(len), [head(len), vec![1; 50]].concat(), head(len).repeat(10)])
            .collect();
        let pool = builder(method).codec(codec).build()?;
        let check = |name: &str, error: Option<TaskError>| {
            let error = error.unwrap_or_else(|| panic!("{codec:?}: {name}: it was believed"));
            assert!(matches!(error.kind(), TaskErrorKind::Decode(_)), "{codec:?}: {name}: {error}");
            // What was not understood is the value, not the number of its kind.
            assert!(!error.to_string().contains("variant"), "{codec:?}: {name}: {error}");
        };
        for (number, name) in (0..).zip(LIES) {
            let lies = lies.iter().map(|lie| [kind(number), lie.clone()].concat());
            for outcome in lie::par_map_outcomes(&pool, lies)? {
                check(name, outcome.err());
            }
        }
        // Where they are the whole answer.
        for outcome in lie_of_text::par_map_outcomes(&pool, lies.clone())? {
            check("text alone", outcome.err());
        }
        for outcome in lie_of_bytes::par_map_outcomes(&pool, lies.clone())? {
            check("bytes alone", outcome.err());
        }
        for outcome in lie_of_units::par_map_outcomes(&pool, lies.clone())? {
            check("units alone", outcome.err());
        }
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task(exit = lying_exit)]
fn ends_with_a_lie(x: u64) -> u64 {
    x
}

#[worker_exit]
fn lying_exit() -> Bytes<Vec<String>> {
    Bytes([&(1u64 << 40).to_le_bytes()[..], &[1; 40]].concat(), PhantomData)
}

#[worker_task(exit = deep_exit)]
fn ends_deep(x: u64) -> u64 {
    x
}

#[worker_exit]
fn deep_exit() -> Bytes<Chain> {
    chain_of_bytes(10_000_000)
}

fn exit_values_are_not_believed(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    assert_eq!(ends_with_a_lie::par_map(&pool, [1, 2])?, [1, 2]);
    let error = task_error(pool.join()?.exit_results::<lying_exit>());
    assert!(error.to_string().contains("more than"), "{error}");

    let pool = builder(method).build()?;
    assert_eq!(ends_deep::par_map(&pool, [1, 2])?, [1, 2]);
    assert_too_deep(&task_error(pool.join()?.exit_results::<deep_exit>()));
    Ok(())
}

/// A chain, which takes stack for each link when it is encoded, decoded or shown.
#[derive(Debug, Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Chain>>,
}

impl Chain {
    fn new(links: usize) -> Self {
        let mut next = None;
        for _ in 0..links {
            next = Some(Box::new(Self { next }));
        }
        Self { next }
    }

    fn links(&self) -> usize {
        std::iter::successors(self.next.as_deref(), |link| link.next.as_deref()).count()
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut link) = next {
            next = link.next.take();
        }
    }
}

/// Runs it on a thread with a stack of this size.
fn on_a_stack(size: usize, run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(size).spawn_scoped(scope, run);
        thread.expect("a thread starts").join().expect("it does not panic");
    });
}

#[track_caller]
fn assert_too_deep(error: &TaskError) {
    assert!(error.to_string().contains("nested too deeply"), "{error}");
}

#[worker_task]
fn make_chain(links: usize) -> Chain {
    Chain::new(links)
}

/// Bytes that make a chain of so many links, in a codec that names nothing.
fn chain_of_bytes(links: usize) -> Bytes<Chain> {
    Bytes([vec![1; links], vec![0]].concat(), PhantomData)
}

#[worker_task]
fn make_chain_of_bytes(links: usize) -> Bytes<Chain> {
    chain_of_bytes(links)
}

fn results_are_as_deep_as_the_stack(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        assert_eq!(make_chain::apply(&pool, 50)?.links(), 50);
        on_a_stack(256 << 10, || {
            for outcome in make_chain::par_map_outcomes(&pool, [20_000; 3]).expect("the call goes on") {
                assert_too_deep(&outcome.expect_err("a quarter of a mebibyte holds no 20,000 links"));
            }
            if codec != Codec::MessagePack {
                assert_too_deep(&task_error(make_chain_of_bytes::apply(&pool, 1_000_000)));
            }
            assert_eq!(make_chain::apply(&pool, 50).expect("it fits").links(), 50);
        });
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn count_links(chain: Chain, fail: bool) -> usize {
    assert!(!fail, "it fails");
    chain.links()
}

#[worker_task]
fn take_bytes(bytes: Bytes<Chain>) -> usize {
    bytes.0.len()
}

fn arguments_are_as_deep_as_the_stack(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        assert_eq!(count_links::apply(&pool, (Chain::new(50), false))?, 50);
        // The worker may have a larger stack than the thread that is told of the failure, and shows the argument.
        for stack in [512 << 10, 64 << 20] {
            for links in [50, 1000, 20_000] {
                on_a_stack(stack, || {
                    let error = task_error(count_links::apply(&pool, (Chain::new(links), true)));
                    match error.kind() {
                        TaskErrorKind::Panicked(_) => {}
                        TaskErrorKind::Encode(_) | TaskErrorKind::Decode(_) if links > 50 => {
                            assert_too_deep(&error);
                        }
                        _ => panic!("{error}"),
                    }
                });
            }
        }
        if codec != Codec::MessagePack {
            assert_too_deep(&task_error(take_bytes::apply(&pool, chain_of_bytes(10_000_000))));
        }
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn shared_links(#[shared] chain: &Chain) -> usize {
    chain.links()
}

#[worker_task]
fn shared_bytes(#[shared] bytes: &Bytes<Chain>) -> usize {
    bytes.0.len()
}

fn shared_values_are_as_deep_as_the_stack(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).shared(Chain::new(50)).build()?;
        assert_eq!(shared_links::apply(&pool, ())?, 50);
    }
    if matches!(method, StartMethod::Spawn | StartMethod::ForkServer) {
        // Other workers have the value itself.
        let pool = builder(method).shared(chain_of_bytes(10_000_000)).build()?;
        let error = shared_bytes::apply(&pool, ()).expect_err("no stack holds that");
        assert!(error.to_string().contains("nested too deeply"), "{error}");
    }
    Ok(())
}
