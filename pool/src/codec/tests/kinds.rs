//! Values of each kind of type, through each codec.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::CString;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_bytes::ByteBuf;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Kind {
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

/// Calls a macro with values of kinds that plain MessagePack cannot tell apart, or writes differently.
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
                // Bytes that are cut off or too long are no value.
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
fn a_value_of_each_kind_replaces_any_other() {
    macro_rules! check {
        ($kind:ty: $($value:expr),+) => {{
            let values: fn() -> Vec<$kind> = || vec![$($value),+];
            for (codec, value) in CODECS.into_iter().flat_map(|codec| values().into_iter().map(move |v| (codec, v))) {
                let bytes = bytes_of(codec, &value);
                for mut place in values() {
                    assert_eq!(codec.decode_into(&bytes, &mut place), Ok(()), "{codec:?}");
                    assert_eq!(place, value, "{codec:?}");
                    assert!(codec.decode_into(&[&bytes[..], &[0]].concat(), &mut place).is_err(), "{codec:?}");
                }
            }
        }};
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

/// For any bytes, valid or not, the checked reader agrees with the formats' own readers.
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
                    let mut place: $kind = codec.decode(&bytes_of(codec, &value)).unwrap();
                    let read_into = codec.decode_into(&bytes, &mut place).ok().map(|()| bytes_of(codec, &place));
                    let read = codec.decode::<$kind>(&bytes).ok().map(|value| bytes_of(codec, &value));
                    assert_eq!(read_into, read, "{codec:?} {bytes:?}");
                    let theirs: Option<$kind> = match codec {
                        Codec::Bincode => {
                            // Without a limit it would allocate as much as the length claims.
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
