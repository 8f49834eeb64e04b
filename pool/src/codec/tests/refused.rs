//! Values that a codec cannot give back as they were: each is an error that says what to do.

use std::collections::BTreeMap;

use serde::ser::SerializeSeq;

use super::kinds::Kind;
use super::*;

#[test]
fn types_that_need_names_are_refused_by_name() {
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
    // Only the type knows which fields it reads and writes.
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
    // With all its fields the value can cross.
    let whole = Skips { id: 1, note: Some("x".into()) };
    for codec in CODECS {
        assert_eq!(codec.decode::<Skips>(&bytes_of(codec, &whole)).as_ref(), Ok(&whole));
    }
}

/// A `Serialize` that writes more or fewer elements than it announces would shift everything after them.
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
fn a_long_quote_in_an_error_is_cut() {
    let bytes = bytes_of(Codec::MessagePack, &"ä".repeat(10 << 20));
    let why = Codec::MessagePack.decode::<Kind>(&bytes).unwrap_err();
    assert!(
        why.starts_with("unknown variant `ää") && why.len() <= crate::text::LONGEST_MESSAGE,
        "{}",
        why.len()
    );
}
