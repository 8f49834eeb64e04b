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

use pool::{
    Codec, Error, StartMethod, TaskError, TaskErrorKind, WorkerPool, worker_exit, worker_init, worker_task,
};
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

/// Tasks that give back what they are given, and one function that sends values of each kind through them.
macro_rules! each_kind {
    ($($task:ident: $kind:ty = [$($value:expr),+];)+) => {
        $(#[worker_task]
        fn $task(value: $kind) -> $kind {
            value
        })+

        fn send_each_kind(pool: &WorkerPool, codec: Codec) -> Result<(), Error> {
            $({
                let values: Vec<$kind> = vec![$($value),+];
                assert_eq!($task::par_map(pool, values.clone())?, values, "{codec:?}");
            })+
            Ok(())
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

fn all_carry_each_kind(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        send_each_kind(&builder(method).codec(codec).build()?, codec)?;
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

/// Tasks that answer with these bytes in place of a value of a type, and one function that calls each of them.
macro_rules! each_lie {
    ($($task:ident: $kind:ty;)+) => {
        $(#[worker_task]
        fn $task(bytes: Vec<u8>) -> Bytes<$kind> {
            Bytes(bytes, PhantomData)
        })+

        fn lie_of_each(
            pool: &WorkerPool,
            bytes: &[Vec<u8>],
            mut check: impl FnMut(&str, Option<TaskError>),
        ) -> Result<(), Error> {
            $(for outcome in $task::par_map_outcomes(pool, bytes.to_vec())? {
                check(stringify!($task), outcome.err());
            })+
            Ok(())
        }
    };
}

each_lie! {
    lie_string: String;
    lie_strings: Vec<String>;
    lie_path: PathBuf;
    lie_boxed_text: Box<str>;
    lie_c_string: CString;
    lie_bytes: Vec<u8>;
    lie_numbers: Vec<u64>;
    lie_large_elements: Vec<[u64; 32]>;
    lie_nested: Vec<Vec<Vec<String>>>;
    lie_map: HashMap<String, Vec<u8>>;
    lie_tree_map: BTreeMap<u8, u8>;
    lie_maybe: Option<Box<[u16]>>;
    lie_in_a_tuple: (u8, String, Vec<u32>);
    lie_units: Vec<()>;
    lie_unit_set: HashSet<()>;
    lie_unit_structs: Vec<Unit>;
    lie_phantoms: Vec<PhantomData<String>>;
    lie_unit_arrays: Vec<[(); 8]>;
    lie_unit_map: HashMap<(), ()>;
    lie_units_in_a_tuple: (Vec<((), Unit)>, Vec<()>);
}

fn lengths_are_not_believed(method: StartMethod) -> Result<(), Error> {
    for codec in [Codec::Bincode, Codec::Postcard] {
        let head = |len: u64| match codec {
            Codec::Bincode => len.to_le_bytes().to_vec(),
            // Seven bits in each byte, all but the last of which say that there are more.
            _ => (0..10).map(|at| (len >> (7 * at)) as u8 & 0x7f | if at < 9 { 0x80 } else { 0 }).collect(),
        };
        let lies: Vec<Vec<u8>> = [1 << 40, 1 << 60, u64::MAX]
            .into_iter()
            .flat_map(|len| [head(len), [head(len), vec![1; 50]].concat(), head(len).repeat(10)])
            .collect();
        let pool = builder(method).codec(codec).build()?;
        lie_of_each(&pool, &lies, |task, error| {
            let error = error.unwrap_or_else(|| panic!("{codec:?}: {task} believed it"));
            assert!(matches!(error.kind(), TaskErrorKind::Decode(_)), "{codec:?}: {task}: {error}");
        })?;
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
