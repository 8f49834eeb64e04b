//! What each codec carries.

use std::collections::BTreeMap;

use pool::{Codec, Error, StartMethod, worker_exit, worker_init, worker_task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::cases;
use crate::support::{assert_usable, builder};

cases! {
    All: all_carry_plain_data, all_carry_shared_and_exits, message_pack_describes_itself;
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
        // MessagePack writes an option as its value or nil, so it knows one level of them.
        let values = [plain(None), plain(Some(Some(true)))];
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
