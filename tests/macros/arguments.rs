//! What tasks take and return.

use super::*;

#[worker_task]
fn nothing() -> u8 {
    7
}

#[worker_task]
fn unit(_: ()) {}

#[worker_task]
fn text(text: &str) -> usize {
    text.len()
}

#[worker_task]
fn bytes(bytes: &[u8], times: usize) -> Vec<u8> {
    bytes.repeat(times)
}

#[derive(Debug, Serialize, Deserialize)]
struct Record<'a> {
    key: &'a str,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[worker_task]
fn elided(record: Record<'_>, end: Cow<'_, str>) -> String {
    format!("{}={}{end}", record.key, record.value)
}

#[worker_task]
fn named<'long: 'short, 'short>(record: Record<'long>, longest: &'short str) -> bool {
    record.key.len() > longest.len()
}

#[worker_task]
fn nested(pairs: Vec<(&str, Option<&str>)>, more: BTreeMap<&str, [&str; 2]>) -> usize {
    pairs.len() + more.len()
}

#[worker_task]
fn patterns((a, b): (u32, u32), [c, ..]: [u32; 3], mut d: u32, _: u32) -> u32 {
    d += a + b + c;
    d
}

#[worker_task]
#[expect(clippy::too_many_arguments, reason = "sixteen is the most that there can be")]
fn sixteen(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: u8,
    i: u8,
    j: u8,
    k: u8,
    l: u8,
    m: u8,
    n: u8,
    o: u8,
    p: &str,
) -> usize {
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o].into_iter().map(usize::from).sum::<usize>() + p.len()
}

#[test]
fn none() {
    let pool = pool_of_one();
    assert_eq!(nothing::par_map(&pool, [(), ()]).unwrap(), [7, 7]);
    unit::apply(&pool, ()).unwrap();
    assert_eq!(nothing(), 7);
    unit(());
}

#[test]
fn borrowed() {
    let pool = pool_of_one();
    let local = String::from("local");
    assert_eq!(text::par_map(&pool, [&*local, ""]).unwrap(), [5, 0]);
    assert_eq!(bytes::apply(&pool, (b"ab", 2)).unwrap(), b"abab");
    let record = || Record { key: &local, value: "v".into() };
    assert_eq!(elided::apply(&pool, (record(), "!".into())).unwrap(), "local=v!");
    assert!(named::apply(&pool, (record(), "four")).unwrap());
    let more = BTreeMap::from([("a", ["b", "c"])]);
    assert_eq!(nested::apply(&pool, (vec![("a", None), ("b", Some("c"))], more)).unwrap(), 3);
}

#[test]
fn patterns_and_many() {
    let pool = pool_of_one();
    assert_eq!(patterns::apply(&pool, ((1, 2), [3, 0, 0], 4, 9)).unwrap(), 10);
    let item = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "p");
    assert_eq!(sixteen::apply(&pool, item).unwrap(), 16);
}
