//! Arbitrary bytes, and values that are too large or too deep: each is decoded within bounds, or is an error.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CString;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_bytes::ByteBuf;

use super::kinds::Unit;
use super::*;
use crate::sys::threads::spawn;

/// A length in each codec, as it precedes text, bytes and sequences.
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
fn no_length_is_trusted() {
    fn check<T: DeserializeOwned + Debug + Default>(nested: usize) {
        for codec in CODECS {
            for len in [1 << 25, 1 << 31, u64::from(u32::MAX), 1 << 40, 1 << 60, 1 << 63, u64::MAX] {
                for head in length(codec, len) {
                    for rest in [&[][..], &[0; 100], &[1; 100], &head.repeat(20)] {
                        // One level of one element for each level of the type, and then the length.
                        let mut bytes = length(codec, 1).last().unwrap().repeat(nested);
                        bytes.extend(&head);
                        bytes.extend(rest);
                        let error = codec.decode::<T>(&bytes).unwrap_err();
                        assert!(error.len() < 1000, "{error}");
                        assert_eq!(codec.decode_into(&bytes, &mut T::default()), Err(error));
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

/// Each level of a nested value may allocate for its count, though the same bytes must fill all levels.
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
fn elements_without_bytes_are_counted_together() {
    for codec in [Codec::Bincode, Codec::Postcard] {
        let many = bytes_of(codec, &((MOST_EMPTY / 10) as u64));
        let vectors = |count: u64| [bytes_of(codec, &count), many.repeat(count as usize)].concat();
        assert_eq!(codec.decode::<Vec<Vec<()>>>(&vectors(2)).unwrap()[1].len(), MOST_EMPTY / 10);
        let error = codec.decode::<Vec<Vec<()>>>(&vectors(20)).unwrap_err();
        assert!(error.contains("that take no bytes"), "{error}");
    }
    /// Takes no bytes, but much memory.
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

/// On any stack, a value of any depth is either an error, or is decoded completely and can be dropped.
#[test]
fn no_depth_overflows_a_stack() {
    fn on(stack: usize, check: impl FnOnce() + Send + 'static) {
        spawn("pool test".into(), Some(stack), check).unwrap().join().unwrap();
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
    // Serde buffers these, and then walks through them again, with more stack for each level.
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
    // A value that fits the worker's stack, but not the caller's.
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
        // It is dropped here.
        let chain = Arc::new(Mutex::new(chain));
        let lent = Arc::clone(&chain);
        on(256 << 10, move || {
            for codec in CODECS {
                // If the compiler turns the recursion into a loop, any depth is encoded.
                let encoded = codec.encode(&*lent.lock().unwrap(), &mut Vec::new());
                assert!(encoded.is_ok() || encoded.is_err_and(|why| why.contains("nested too deeply")));
            }
        });
    });
}
