//! What goes out comes back, and what never went out does no harm.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::CString;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::ser::SerializeSeq;
use serde_bytes::ByteBuf;

use super::*;

const CODECS: [Codec; 3] = [Codec::Bincode, Codec::Postcard, Codec::MessagePack];

fn both_ways<T: Serialize + for<'a> Deserialize<'a> + PartialEq + Debug>(value: &T) {
    for codec in CODECS {
        let mut bytes = Vec::new();
        codec.encode(value, &mut bytes).unwrap();
        assert_eq!(&codec.decode::<T>(&bytes).unwrap(), value, "{codec:?}");
    }
}

#[test]
fn values_come_back_as_they_went() {
    both_ways(&42u64);
    both_ways(&(1u8, -7i64, 2.5f64, "text".to_owned(), vec![Some(1u32), None]));
    both_ways(&());
    both_ways(&vec![0u8; 100_000]);
}

#[test]
fn strings_and_bytes_are_borrowed_in_place() {
    for codec in CODECS {
        let mut bytes = Vec::new();
        codec.encode(&"borrowed", &mut bytes).unwrap();
        let text: &str = codec.decode(&bytes).unwrap();
        assert!(bytes.as_ptr_range().contains(&text.as_ptr()), "{codec:?}");
    }
}

/// The same by serde's own way: a field hides the type.
fn by_serde<T: Serialize>(value: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Hidden<'a, T>(&'a T);
    let mut bytes = Vec::new();
    Codec::Bincode.encode(&Hidden(value), &mut bytes).unwrap();
    bytes
}

#[test]
fn numbers_in_bulk_are_as_serde_writes_them() {
    fn check<N: Serialize + DeserializeOwned + PartialEq + Debug>(numbers: Vec<N>) {
        let expected = by_serde(&numbers);
        let mut bytes = Vec::new();
        Codec::Bincode.encode(&numbers, &mut bytes).unwrap();
        Codec::Bincode.encode(&&*numbers, &mut bytes).unwrap();
        assert_eq!(bytes, [&*expected, &*expected].concat());
        assert_eq!(Codec::Bincode.decode::<Vec<N>>(&expected).unwrap(), numbers);
        let boxed = numbers.into_boxed_slice();
        bytes.clear();
        Codec::Bincode.encode(&boxed, &mut bytes).unwrap();
        assert_eq!(bytes, expected);
        for cut in [0, 7, expected.len() - 1] {
            assert!(Codec::Bincode.decode::<Vec<N>>(&expected[..cut]).is_err());
        }
        let more = [&*expected, &[0; 16]].concat();
        assert!(Codec::Bincode.decode::<Vec<N>>(&more).is_err());
    }
    check(vec![0u8, 1, 255]);
    check(vec![1i8, -1]);
    check(vec![u16::MAX, 3]);
    check(vec![i32::MIN, 0, 3]);
    check(vec![u64::MAX]);
    check(vec![1.5f32, -0.0]);
    check(vec![f64::MAX, 1e-300]);
    check(Vec::<u32>::new());
    for number in [0u64, 1, u64::MAX] {
        let bytes = by_serde(&number);
        let mut fast = Vec::new();
        Codec::Bincode.encode(&number, &mut fast).unwrap();
        assert_eq!(fast, bytes);
        assert_eq!(Codec::Bincode.decode::<u64>(&bytes), Ok(number));
        assert!(Codec::Bincode.decode::<u64>(&bytes[1..]).is_err());
    }
    check(vec![true, false]);
    let mut lies = u64::MAX.to_le_bytes().to_vec();
    lies.extend([0; 64]);
    assert!(Codec::Bincode.decode::<Vec<u64>>(&lies).is_err());
}

#[test]
fn parts_are_decoded_one_after_the_other() {
    for codec in [Codec::Bincode, Codec::Postcard] {
        let mut bytes = Vec::new();
        for numbers in [&[1u32, 2][..], &[], &[3]] {
            codec.encode(numbers, &mut bytes).unwrap();
            codec.encode(&"text", &mut bytes).unwrap();
        }
        let mut rest = &*bytes;
        for numbers in [&[1u32, 2][..], &[], &[3]] {
            assert_eq!(codec.decode_next::<Vec<u32>>(&mut rest).unwrap(), numbers);
            assert_eq!(codec.decode_next::<&str>(&mut rest).unwrap(), "text");
        }
        assert!(all_read(rest).is_ok() && codec.decode_next::<Vec<u32>>(&mut rest).is_err());
    }
}

#[test]
fn a_tuple_is_its_parts_where_the_codec_says_so() {
    for codec in CODECS {
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        codec.encode(&(7u64, vec![1.5f32, 2.5], "text"), &mut whole).unwrap();
        codec.encode(&7u64, &mut parts).unwrap();
        codec.encode(&vec![1.5f32, 2.5], &mut parts).unwrap();
        codec.encode("text", &mut parts).unwrap();
        assert!(!joins_parts(codec) || whole == parts, "{codec:?}");
    }
}

#[test]
fn bytes_left_over_are_an_error() {
    let mut bytes = Vec::new();
    Codec::Bincode.encode(&7u64, &mut bytes).unwrap();
    let error = Codec::Bincode.decode::<u32>(&bytes).unwrap_err();
    assert!(error.contains("4 bytes were left over"), "{error}");
}

#[test]
fn self_describing_values_need_message_pack() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    let value = vec![Either::Number(3), Either::Text("three".into())];
    let mut bytes = Vec::new();
    Codec::MessagePack.encode(&value, &mut bytes).unwrap();
    assert_eq!(Codec::MessagePack.decode::<Vec<Either>>(&bytes).unwrap(), value);
}

fn bytes_of<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes).unwrap();
    bytes
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    New(Option<Unit>),
    Pair(i16, String),
    Named { a: Option<u32>, b: f32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wrapped(Option<Option<()>>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Named<'a> {
    text: Cow<'a, str>,
    kinds: Vec<Kind>,
    nothing: PhantomData<u8>,
    wrapped: [Wrapped; 3],
}

/// Calls a macro with values of each kind.
macro_rules! each_kind {
    ($check:ident) => {
        $check!(bool: true, false);
        $check!((u8, u16, u32, u64, u128): (255, 256, 1 << 20, 1 << 40, u128::MAX), (0, 127, 128, u64::MAX, 1));
        $check!((i8, i16, i32, i64, i128): (-1, i16::MIN, i32::MIN, i64::MIN, i128::MIN), (1, -64, 64, 8192, -1));
        $check!((usize, isize): (usize::MAX, isize::MIN));
        $check!((f32, f64): (f32::MIN_POSITIVE, -0.0), (1.5, f64::INFINITY));
        $check!(char: 'a', 'ä', '∀', '\u{10ffff}');
        $check!(String: String::new(), "ŧext\0".into(), "x".repeat(70_000));
        $check!(Box<str>: "boxed".into());
        $check!(PathBuf: "/a/b".into());
        $check!(CString: c"text".into());
        $check!(ByteBuf: ByteBuf::from(vec![0, 127, 128, 255]), ByteBuf::new());
        $check!((): ());
        $check!(Unit: Unit);
        $check!(Option<u64>: None, Some(7));
        $check!(Vec<Kind>: vec![Kind::Unit, Kind::New(Some(Unit)), Kind::Named { a: Some(1), b: 0.5 }]);
        $check!(Vec<Vec<(u16, Option<i32>)>>: vec![vec![], vec![(1, None), (300, Some(-3))]]);
        $check!(Vec<()>: vec![(); 1000], vec![]);
        $check!((Vec<f64>, [u16; 3], [u8; 20]): (vec![1.0, -2.5], [1, 2, 3], [200; 20]));
        $check!(BTreeMap<String, Vec<char>>: BTreeMap::from([("k".into(), vec!['v', '→'])]));
        $check!(BTreeMap<(u8, Option<bool>), f32>: BTreeMap::from([((1, None), 1.0), ((1, Some(true)), 2.0)]));
        $check!(HashMap<i64, ()>: HashMap::from([(-5, ())]));
        $check!(BTreeSet<u8>: BTreeSet::from([3, 200]));
        $check!(HashSet<()>: HashSet::from([()]));
        $check!(Result<u8, String>: Ok(1), Err("no".into()));
        $check!(Duration: Duration::MAX);
        $check!(SystemTime: SystemTime::UNIX_EPOCH + Duration::from_nanos(5));
        $check!(std::net::IpAddr: "::1".parse().unwrap(), "1.2.3.4".parse().unwrap());
        $check!(std::ops::RangeInclusive<i8>: -1..=1);
        $check!(std::num::NonZeroU8: 9.try_into().unwrap());
    };
}

/// Kinds that MessagePack's plain form has no words for, or other ones.
macro_rules! each_extended_kind {
    ($check:ident) => {
        $check!(Option<()>: None, Some(()));
        $check!(Option<Option<Option<u8>>>: None, Some(None), Some(Some(None)), Some(Some(Some(1))));
        $check!(Vec<Option<Option<bool>>>: vec![None, Some(None), Some(Some(true))]);
        $check!(Result<Option<()>, ()>: Ok(None), Ok(Some(())), Err(()));
        $check!(Option<Unit>: None, Some(Unit));
        $check!(Option<PhantomData<u8>>: None, Some(PhantomData));
        $check!(Option<Wrapped>: None, Some(Wrapped(None)), Some(Wrapped(Some(None))), Some(Wrapped(Some(Some(())))));
        $check!(BTreeMap<Option<()>, Option<Option<u8>>>: BTreeMap::from([(None, Some(None)), (Some(()), None)]));
        $check!(Vec<u8>: vec![], vec![0, 127, 128, 255], vec![7; 70_000]);
        $check!((u8, Vec<u8>, Box<[u8]>): (1, vec![200], vec![0, 255].into()));
        $check!(Named<'static>: Named {
            text: "owned".into(),
            kinds: vec![Kind::New(None), Kind::Pair(-1, "x".into())],
            nothing: PhantomData,
            wrapped: [Wrapped(None), Wrapped(Some(None)), Wrapped(Some(Some(())))],
        });
    };
}

#[test]
fn each_codec_gives_back_each_kind() {
    macro_rules! check {
        ($kind:ty: $($value:expr),+) => { $({
            let value: $kind = $value;
            for codec in CODECS {
                let bytes = bytes_of(codec, &value);
                assert_eq!(codec.decode::<$kind>(&bytes).as_ref(), Ok(&value), "{codec:?}");
                // Nor is one that is cut off, or too long, taken for a value.
                for cut in [bytes.len() / 2, bytes.len() - usize::from(!bytes.is_empty())] {
                    assert!(cut == bytes.len() || codec.decode::<$kind>(&bytes[..cut]).is_err(), "{codec:?} {value:?}");
                }
                assert!(codec.decode::<$kind>(&[&bytes[..], &[0]].concat()).is_err(), "{codec:?} {value:?}");
            }
        })+ };
    }
    each_kind!(check);
    each_extended_kind!(check);
}

#[test]
fn the_bytes_are_those_of_the_formats() {
    macro_rules! check {
        ($kind:ty: $($value:expr),+) => { $({
            let value: $kind = $value;
            let fixed = bincode::config::standard().with_fixed_int_encoding();
            assert_eq!(bytes_of(Codec::Bincode, &value), bincode::serde::encode_to_vec(&value, fixed).unwrap());
            assert_eq!(bytes_of(Codec::Postcard, &value), postcard::to_stdvec(&value).unwrap());
        })+ };
    }
    each_kind!(check);
    each_extended_kind!(check);
    macro_rules! check {
        ($kind:ty: $($value:expr),+) => { $({
            let value: $kind = $value;
            assert_eq!(bytes_of(Codec::MessagePack, &value), rmp_serde::to_vec_named(&value).unwrap());
        })+ };
    }
    each_kind!(check);
}

/// Of all bytes, valid or not, the checked reader makes the values that the formats' own readers make.
#[test]
fn corrupted_bytes_are_read_as_the_formats_read_them() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    macro_rules! check {
        ($kind:ty: $($value:expr),+) => { $({
            let value: $kind = $value;
            for codec in CODECS {
                let bytes = bytes_of(codec, &value);
                for _ in 0..if bytes.len() > 1000 { 20 } else { 300 } {
                    let mut bytes = bytes.clone();
                    for _ in 0..=next() % 3 {
                        let Some(last) = bytes.len().checked_sub(1) else { break };
                        let at = next() as usize % (last + 1);
                        bytes[at] = if next() % 2 == 0 { next() as u8 } else { bytes[at] ^ 1 << (next() % 8) };
                    }
                    let read = codec.decode::<$kind>(&bytes).ok().map(|value| bytes_of(codec, &value));
                    let theirs: Option<$kind> = match codec {
                        Codec::Bincode => {
                            // It would make room for all that a length says.
                            let config = bincode::config::standard().with_fixed_int_encoding();
                            let config = config.with_limit::<{ 1 << 20 }>();
                            let decoded = bincode::serde::borrow_decode_from_slice(&bytes, config);
                            decoded.ok().filter(|(_, len)| *len == bytes.len()).map(|(value, _)| value)
                        }
                        Codec::Postcard => {
                            let decoded = postcard::take_from_bytes(&bytes);
                            decoded.ok().filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
                        }
                        Codec::MessagePack => continue,
                    };
                    assert_eq!(read, theirs.map(|value| bytes_of(codec, &value)), "{codec:?} {bytes:?}");
                }
            }
        })+ };
    }
    // The formats' own readers count to the end of an endless `Vec<()>`.
    macro_rules! check_finite {
        (Vec<()>: $($value:expr),+) => {};
        (HashSet<()>: $($value:expr),+) => {};
        ($kind:ty: $($value:expr),+) => { check!($kind: $($value),+) };
    }
    each_kind!(check_finite);
    each_extended_kind!(check_finite);
}

#[test]
fn byte_slices_are_borrowed_by_every_codec() {
    let bytes: Vec<u8> = (0..=255).collect();
    for codec in CODECS {
        for encoded in [
            bytes_of(codec, &&bytes[..]),
            bytes_of(codec, &bytes),
            bytes_of(codec, &ByteBuf::from(bytes.clone())),
        ] {
            let lent: &[u8] = codec.decode(&encoded).unwrap();
            assert_eq!(lent, bytes, "{codec:?}");
            assert!(encoded.as_ptr_range().contains(&lent.as_ptr()), "{codec:?}");
            assert_eq!(codec.decode::<Vec<u8>>(&encoded).as_ref(), Ok(&bytes));
            assert_eq!(codec.decode::<ByteBuf>(&encoded).unwrap(), bytes);
        }
        let encoded = bytes_of(codec, &(7u32, &bytes[..], Some(&bytes[..3])));
        let (seven, lent, three): (u32, &[u8], Option<&[u8]>) = codec.decode(&encoded).unwrap();
        assert_eq!((seven, lent, three), (7, &bytes[..], Some(&bytes[..3])), "{codec:?}");
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Bytes(Vec<u8>),
        Options(Vec<Option<Option<u8>>>),
    }
    for either in [
        Either::Text("x".into()),
        Either::Bytes(bytes),
        Either::Options(vec![Some(None), None, Some(Some(1))]),
    ] {
        assert_eq!(
            Codec::MessagePack.decode::<Either>(&bytes_of(Codec::MessagePack, &either)).as_ref(),
            Ok(&either)
        );
    }
}

/// A length of each codec, as it stands before text, bytes and sequences.
fn length(codec: Codec, len: u64) -> Vec<Vec<u8>> {
    match codec {
        Codec::Bincode => vec![len.to_le_bytes().to_vec()],
        Codec::Postcard => vec![bytes_of(codec, &len)],
        Codec::MessagePack => {
            // Text, bytes, both extensions, arrays, maps.
            let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
            [&[0xdb][..], &[0xc6], &[0xc9], &[0xdd], &[0xdf]]
                .iter()
                .map(|marker| [marker, &len[..]].concat())
                .collect()
        }
    }
}

#[test]
fn a_length_is_never_believed() {
    fn check<T: DeserializeOwned + Debug>(nested: usize) {
        for codec in CODECS {
            for len in [1 << 25, 1 << 31, u64::from(u32::MAX), 1 << 40, 1 << 60, 1 << 63, u64::MAX] {
                for head in length(codec, len) {
                    for rest in [&[][..], &[0; 100], &[1; 100], &head.repeat(20)] {
                        // One element, each of which has a length, as many levels deep as it takes.
                        let mut bytes = length(codec, 1).last().unwrap().repeat(nested);
                        bytes.extend(&head);
                        bytes.extend(rest);
                        let error = codec.decode::<T>(&bytes).unwrap_err();
                        assert!(error.len() < 1000, "{error}");
                    }
                }
            }
        }
    }
    check::<String>(0);
    check::<Vec<String>>(0);
    check::<Vec<String>>(1);
    check::<PathBuf>(0);
    check::<Box<str>>(0);
    check::<CString>(0);
    check::<ByteBuf>(0);
    check::<Vec<u8>>(0);
    check::<Vec<[u64; 16]>>(0);
    check::<Vec<Vec<Vec<u8>>>>(2);
    check::<BTreeMap<String, Vec<u8>>>(0);
    check::<HashMap<u8, u8>>(0);
    check::<HashSet<String>>(1);
    check::<Option<Box<[u64]>>>(0);
    check::<Vec<()>>(0);
    check::<HashSet<()>>(0);
    check::<BTreeMap<(), ()>>(0);
    check::<Vec<Unit>>(0);
    check::<Vec<PhantomData<String>>>(0);
    check::<Vec<[(); 3]>>(0);
    check::<(Vec<((), Unit)>, Vec<()>)>(0);
    check::<std::collections::VecDeque<()>>(0);
    check::<std::collections::LinkedList<Vec<()>>>(1);
}

/// Each level of a nested value may ask for room by its count, and all of them have the same bytes to fill it with.
#[test]
fn all_hints_together_are_what_the_bytes_can_fill() {
    use std::cell::Cell;
    thread_local! {
        static HINTS: Cell<usize> = const { Cell::new(0) };
    }
    struct Hints;
    impl<'de> Deserialize<'de> for Hints {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_seq(Self)
        }
    }
    impl<'de> serde::de::Visitor<'de> for Hints {
        type Value = Self;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a sequence of the same")
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Self, A::Error> {
            HINTS.set(HINTS.get() + sequence.size_hint().unwrap_or(0));
            while sequence.next_element::<Self>()?.is_some() {}
            Ok(self)
        }
    }
    for codec in CODECS {
        let head = match codec {
            Codec::MessagePack => vec![0xdc, 1, 0],
            _ => bytes_of(codec, &250u64),
        };
        let bytes = head.repeat(100);
        HINTS.set(0);
        assert!(codec.decode::<Hints>(&bytes).is_err());
        assert!((1..=bytes.len()).contains(&HINTS.get()), "{codec:?}: {} of {}", HINTS.get(), bytes.len());
    }
}

/// Many small counts add up.
#[test]
fn what_takes_no_bytes_is_counted_together() {
    for codec in [Codec::Bincode, Codec::Postcard] {
        let many = bytes_of(codec, &((MOST_EMPTY / 10) as u64));
        let vectors = |count: u64| [bytes_of(codec, &count), many.repeat(count as usize)].concat();
        assert_eq!(codec.decode::<Vec<Vec<()>>>(&vectors(2)).unwrap()[1].len(), MOST_EMPTY / 10);
        let error = codec.decode::<Vec<Vec<()>>>(&vectors(20)).unwrap_err();
        assert!(error.contains("that take no bytes"), "{error}");
    }
    /// It takes no bytes, but much memory.
    #[derive(Debug, Deserialize)]
    struct Large {
        #[serde(skip, default = "zeros")]
        _zeros: [u8; 4096],
    }
    fn zeros() -> [u8; 4096] {
        [0; 4096]
    }
    assert_eq!(Codec::Bincode.decode::<Vec<Large>>(&100u64.to_le_bytes()).unwrap().len(), 100);
    let error = Codec::Bincode.decode::<Vec<Large>>(&(1u64 << 20).to_le_bytes()).unwrap_err();
    assert!(error.contains("that take no bytes"), "{error}");
}

#[derive(Debug, Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Chain>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, Serialize, Deserialize)]
enum Peano {
    Zero,
    After(Box<Peano>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Loops(Option<Box<Loops>>);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "there to be decoded")]
enum Untagged {
    Many(Vec<Untagged>),
    One(u8),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "t")]
#[expect(dead_code, reason = "there to be decoded")]
enum Tagged {
    A { next: Option<Box<Tagged>>, room: Option<[u64; 32]> },
}

/// On each stack, a value of any depth is an error or comes whole, and can be dropped.
#[test]
fn no_depth_overflows_a_stack() {
    fn on(stack: usize, check: impl FnOnce() + Send + 'static) {
        std::thread::Builder::new().stack_size(stack).spawn(check).unwrap().join().unwrap();
    }
    /// Whether it is decoded.
    fn is_decoded<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> bool {
        match codec.decode::<T>(bytes) {
            Ok(_) => true,
            Err(why) => {
                assert!(why.contains("nested too deeply"), "{why}");
                false
            }
        }
    }
    for stack in [256 << 10, 2 << 20, 16 << 20] {
        on(stack, move || {
            for depth in [10, 100, 1000, 20_000, 10_000_000] {
                let may_fail = |was: bool| assert!(was || depth > 10, "{depth} on {stack}");
                let levels = |level: &[u8], end: &[u8]| [&level.repeat(depth)[..], end].concat();
                may_fail(is_decoded::<Chain>(Codec::Bincode, &levels(&[1], &[0])));
                may_fail(is_decoded::<Chain>(Codec::Postcard, &levels(&[1], &[0])));
                may_fail(is_decoded::<Chain>(
                    Codec::MessagePack,
                    &levels(b"\x81\xa4next", b"\x81\xa4next\xc0"),
                ));
                may_fail(is_decoded::<Tree>(
                    Codec::Bincode,
                    &levels(&1u64.to_le_bytes(), &0u64.to_le_bytes()),
                ));
                may_fail(is_decoded::<Tree>(Codec::Postcard, &levels(&[1], &[0])));
                may_fail(is_decoded::<Tree>(Codec::MessagePack, &levels(&[0x91], &[0x90])));
                may_fail(is_decoded::<Peano>(Codec::Bincode, &levels(&[1, 0, 0, 0], &[0; 4])));
                may_fail(is_decoded::<Peano>(Codec::Postcard, &levels(&[1], &[0])));
                may_fail(is_decoded::<Peano>(Codec::MessagePack, &levels(b"\x81\xa5After", b"\xa4Zero")));
                may_fail(is_decoded::<Loops>(
                    Codec::MessagePack,
                    &[&[0xd6, 1], &(depth as u32).to_le_bytes()[..]].concat(),
                ));
                may_fail(is_decoded::<Untagged>(Codec::MessagePack, &levels(&[0x91], &[7])) || depth > 20);
                may_fail(
                    is_decoded::<serde_json::Value>(Codec::MessagePack, &levels(&[0x91], &[7])) || depth > 20,
                );
                may_fail(is_decoded::<serde_json::Value>(Codec::MessagePack, &levels(&[0x81, 0xa0], &[7])));
                may_fail(is_decoded::<serde::de::IgnoredAny>(Codec::MessagePack, &levels(&[0x91], &[7])));
            }
        });
    }
    // These are put aside as they come, and gone through again with more stack for each level.
    for stack in [256 << 10, 2 << 20] {
        on(stack, || {
            let mut depth = 10;
            while depth < 5000 {
                let tagged = [&b"\x82\xa1t\xa1A\xa4next".repeat(depth)[..], b"\xc0"].concat();
                assert!(is_decoded::<Tagged>(Codec::MessagePack, &tagged) || depth > 10);
                depth += depth / 8 + 1;
            }
        });
    }
    on(64 << 20, || {
        for (depth, comes) in [(250, true), (260, false)] {
            let value = [vec![0x91; depth], vec![7]].concat();
            assert_eq!(is_decoded::<serde_json::Value>(Codec::MessagePack, &value), comes, "{depth}");
        }
    });
    // One that the worker's stack holds, and the caller's does not.
    on(256 << 20, || {
        let mut chain = None;
        for _ in 0..20_000 {
            chain = Some(Box::new(Chain { next: chain }));
        }
        for codec in CODECS {
            let bytes = bytes_of(codec, &chain);
            assert!(is_decoded::<Option<Chain>>(codec, &bytes), "{codec:?}");
            on(256 << 10, move || assert!(!is_decoded::<Option<Chain>>(codec, &bytes), "{codec:?}"));
        }
        let chain = std::sync::Mutex::new(chain);
        std::thread::scope(|scope| {
            let small = std::thread::Builder::new().stack_size(256 << 10);
            let encode = || {
                for codec in CODECS {
                    // Where the compiler makes a loop of it, no depth is too much.
                    let encoded = codec.encode(&*chain.lock().unwrap(), &mut Vec::new());
                    assert!(encoded.is_ok() || encoded.is_err_and(|why| why.contains("nested too deeply")));
                }
            };
            small.spawn_scoped(scope, encode).unwrap().join().unwrap();
        });
    });
}

#[test]
fn what_places_cannot_tell_is_refused_by_name() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Skips {
        id: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum SkipsToo {
        Named {
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            notes: Vec<u8>,
            id: u32,
        },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        id: u32,
        #[serde(flatten)]
        rest: BTreeMap<String, u32>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Circle { r: f64 },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Open {
        Number(u8),
    }
    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, names: &[&str]) {
        for codec in [Codec::Bincode, Codec::Postcard] {
            let mut bytes = Vec::new();
            let why = codec.encode(value, &mut bytes).and_then(|()| codec.decode::<T>(&bytes)).unwrap_err();
            for name in names.iter().chain(&["Codec::MessagePack", type_name::<T>()]) {
                assert!(why.contains(name), "{name:?} is not in {why:?}");
            }
        }
        let bytes = bytes_of(Codec::MessagePack, value);
        assert_eq!(Codec::MessagePack.decode::<T>(&bytes).as_ref(), Ok(value));
    }
    check(&Skips { id: 1, note: None }, &["skip_serializing_if", "`note` of `Skips`"]);
    check(&SkipsToo::Named { notes: vec![], id: 1 }, &["skip_serializing_if", "`notes` of `SkipsToo`"]);
    check(&Flat { id: 1, rest: BTreeMap::from([("k".into(), 2)]) }, &["flatten"]);
    check(&Tagged::Circle { r: 1.0 }, &["tag = ", "`Tagged`"]);
    check(&Open::Number(1), &["untagged"]);
    check(
        &serde_json::json!({"a": [1, null, -2.5, "x", u64::MAX], "b": {}}),
        &["serde_json::", "any valid JSON value"],
    );
    // Which fields are read and written at all, only the type knows.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Writes {
        id: u32,
        #[serde(default, skip_deserializing)]
        cache: u32,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Reads {
        id: u32,
        #[serde(default, skip_serializing)]
        secret: u32,
    }
    check(&Writes { id: 1, cache: 0 }, &["skip_deserializing", "Writes"]);
    check(&Reads { id: 1, secret: 0 }, &["skip_serializing", "Reads"]);
    // With all its fields it can cross.
    let whole = Skips { id: 1, note: Some("x".into()) };
    for codec in CODECS {
        assert_eq!(codec.decode::<Skips>(&bytes_of(codec, &whole)).as_ref(), Ok(&whole));
    }
}

/// A `Serialize` that says one thing and writes another would shift all that comes behind it.
#[test]
fn a_wrong_count_is_refused() {
    struct Wrong(usize);
    impl Serialize for Wrong {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut sequence = serializer.serialize_seq(Some(self.0))?;
            sequence.serialize_element(&1u8)?;
            sequence.end()
        }
    }
    for codec in CODECS {
        for said in [0, 2] {
            let why = codec.encode(&Wrong(said), &mut Vec::new()).unwrap_err();
            assert!(why.contains(&format!("said {said} elements")) && why.contains("wrote 1"), "{why}");
        }
        assert!(codec.encode(&Wrong(1), &mut Vec::new()).is_ok());
    }
}

#[test]
fn what_an_implementation_quotes_is_cut() {
    let bytes = bytes_of(Codec::MessagePack, &"ä".repeat(10 << 20));
    let why = Codec::MessagePack.decode::<Kind>(&bytes).unwrap_err();
    assert!(
        why.starts_with("unknown variant `ää") && why.len() <= crate::text::LONGEST_MESSAGE,
        "{}",
        why.len()
    );
}
