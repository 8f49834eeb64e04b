//! Bytes that no codec writes, and values that are nested too deeply for the stack.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CString;
use std::marker::PhantomData;
use std::path::PathBuf;

use pool::{Codec, Error, StartMethod, TaskError, TaskErrorKind, worker_exit, worker_task};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codecs::CODECS;
use crate::harness::cases;
use crate::support::{assert_usable, builder, task_error};

cases! {
    All: lengths_are_not_believed, exit_values_are_not_believed, arguments_are_as_deep_as_the_stack,
        shared_values_are_as_deep_as_the_stack;
    Linux: results_are_as_deep_as_the_stack;
}

/// Is encoded as these bytes, and decoded as a value of this type.
#[derive(Debug)]
struct Bytes<T>(Vec<u8>, PhantomData<T>);

impl<T> Serialize for Bytes<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Codecs that are not self-describing write no length before a tuple.
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

#[derive(Debug, Deserialize)]
struct Unit;

/// All kinds of values in one enum, instead of which a task returns bytes.
macro_rules! each_lie {
    ($($name:ident: $kind:ty;)+) => {
        #[expect(non_camel_case_types, reason = "a variant has the name of its kind, with which a failure is told")]
        #[expect(dead_code, reason = "no such value comes out of the bytes, which is what is tested")]
        #[derive(Debug, Deserialize)]
        enum AnyLie {
            $($name($kind),)+
        }

        /// The names of the kinds, in the order of their numbers in the codecs.
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
            // Seven bits in each byte; all but the last byte say that more follow.
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
            // The error is about the value, not about the number of its variant.
            assert!(!error.to_string().contains("variant"), "{codec:?}: {name}: {error}");
        };
        for (number, name) in (0..).zip(LIES) {
            let lies = lies.iter().map(|lie| [kind(number), lie.clone()].concat());
            for outcome in lie::par_map_outcomes(&pool, lies)? {
                check(name, outcome.err());
            }
        }
        // Now the bytes are the whole answer.
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

/// A chain that takes stack for each link when it is encoded, decoded or shown.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Chain {
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

    pub(super) fn links(&self) -> usize {
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

/// Runs this on a thread with a stack of this size.
pub(super) fn on_a_stack(size: usize, run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(size).spawn_scoped(scope, run);
        thread.expect("a thread starts").join().expect("it does not panic");
    });
}

#[track_caller]
pub(super) fn assert_too_deep(error: &TaskError) {
    assert!(error.to_string().contains("nested too deeply"), "{error}");
}

#[worker_task]
pub(super) fn make_chain(links: usize) -> Chain {
    Chain::new(links)
}

/// Bytes of a chain of this many links, in a codec without names.
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
        // The worker may have a larger stack than the thread that gets the error and shows the argument.
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
        // Under the other start methods, workers have the value itself.
        let pool = builder(method).shared(chain_of_bytes(10_000_000)).build()?;
        let error = shared_bytes::apply(&pool, ()).expect_err("no stack holds that");
        assert!(error.to_string().contains("nested too deeply"), "{error}");
    }
    Ok(())
}
