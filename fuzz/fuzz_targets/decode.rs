//! Whatever a worker writes as a result, an exit value or a record, the parent decodes it without harm, by every
//! codec; and the bytes of bincode and postcard as those do.
#![no_main]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::CString;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use pool::Codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

#[derive(Serialize, Deserialize)]
struct Unit;

#[derive(Serialize, Deserialize)]
enum Kind {
    Unit,
    New(Option<()>),
    Pair(i16, String),
    Named { a: Option<Option<u32>>, b: f32 },
}

#[derive(Serialize, Deserialize)]
struct Record {
    id: u64,
    text: Cow<'static, str>,
    kinds: Vec<Kind>,
    #[serde(default)]
    note: Option<Box<str>>,
    times: (Duration, SystemTime),
    bytes: ByteBuf,
}

#[derive(Serialize, Deserialize)]
struct Tree(Vec<Tree>, Option<Box<Tree>>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Nothing,
    Number(i64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Untagged>),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    One { x: u8 },
    Two(Record),
}

#[derive(Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// Takes no bytes, but memory.
#[derive(Serialize, Deserialize)]
struct Skipped {
    #[serde(skip)]
    _numbers: [u64; 16],
}

/// What is decoded is encoded to what is decoded as the same. (A set may have another order.)
fn decode<T: Serialize + DeserializeOwned>(codec: Codec, bytes: &[u8]) {
    let Ok(value) = pool::decode_any::<T>(codec, bytes) else { return };
    let Ok(once) = pool::encode_any(codec, &value) else { return };
    let again = pool::decode_any::<T>(codec, &once).expect("what was encoded is decoded");
    assert_eq!(once.len(), pool::encode_any(codec, &again).expect("it was encoded before").len());
}

/// The same, and as bincode and postcard do it.
fn compare<T: Serialize + DeserializeOwned>(codec: Codec, bytes: &[u8]) {
    decode::<T>(codec, bytes);
    let theirs = match codec {
        Codec::Bincode => {
            let config = bincode::config::standard().with_fixed_int_encoding().with_limit::<{ 16 << 20 }>();
            let decoded = bincode::serde::borrow_decode_from_slice::<T, _>(bytes, config);
            decoded.ok().filter(|(_, len)| *len == bytes.len()).map(|(value, _)| value)
        }
        Codec::Postcard => {
            let decoded = postcard::take_from_bytes::<T>(bytes);
            decoded.ok().filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
        }
        _ => return,
    };
    let ours = pool::decode_any::<T>(codec, bytes).ok();
    let encode = |value: Option<T>| value.map(|value| pool::encode_any(codec, &value));
    assert_eq!(encode(ours), encode(theirs));
}

macro_rules! choose {
    ($choice:expr, $codec:expr, $bytes:expr; compare: $($compared:ty),+; decode: $($decoded:ty),+;) => {{
        let each: &[fn(Codec, &[u8])] = &[$(compare::<$compared>),+, $(decode::<$decoded>),+];
        each[$choice % each.len()]($codec, $bytes);
    }};
}

fuzz_target!(|input: &[u8]| {
    let [codec, kind, bytes @ ..] = input else { return };
    let codec = match codec % 4 {
        0 => Codec::Bincode,
        1 => Codec::Postcard,
        2 => Codec::MessagePack,
        _ => {
            return match kind % 3 {
                0 => pool::read_any_record(bytes),
                1 => pool::read_any_log(bytes),
                _ => pool::read_any_track(bytes),
            };
        }
    };
    choose!(usize::from(*kind), codec, bytes;
        compare: bool, u8, u64, (u16, i16, u32, i32, i64), (u128, i128, usize), f32, (f64, char), String,
            Vec<String>, PathBuf, Box<str>, CString, ByteBuf, Vec<u8>, Vec<u64>, Vec<[u16; 3]>, Vec<Vec<Vec<u8>>>,
            Kind, Vec<Kind>, Record, Vec<Record>, Option<Option<Option<u8>>>, Result<Option<()>, String>,
            BTreeMap<String, Vec<char>>, BTreeMap<(u8, Option<bool>), f32>, BTreeSet<u8>, VecDeque<i8>,
            SocketAddr, NonZeroU32, (String, Unit, u8), std::ops::Range<u8>, Option<Box<[(u8, ())]>>;
        decode: Vec<()>, HashSet<()>, HashMap<(), ()>, Vec<Unit>, Vec<PhantomData<u8>>, Vec<[(); 8]>,
            Vec<Vec<((), Unit)>>, LinkedList<Vec<()>>, Vec<Skipped>, HashMap<String, u8>, HashSet<u16>, Tree,
            Option<Tree>, Untagged, Vec<Untagged>, Tagged, Flat, serde_json::Value,
            Vec<Option<serde_json::Value>>;
    );
});
