//! Generic functions with a list of their types: each instance is a function of its own.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, Mul};
use std::str::FromStr;

use pool::shared::{Pod, SharedArray};
use pool::{Error, ReadyFor, StartMethod, Task, WorkerPool, worker_exit, worker_init, worker_task};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codecs::CODECS;
use crate::harness::cases;
use crate::support::{assert_usable, builder, panic_message, pool, task_error};

cases! {
    All: each_instance_runs, from_each_call, each_has_a_name, state_init_and_exit, chunks_of_each_type,
        beside_lifetimes, several_parameters, constants, fallible_and_by_reference, reducing;
}

#[worker_task(for T in [f32, f64])]
fn total<T: Copy + Sum<T> + Serialize + DeserializeOwned>(v: Vec<T>) -> T {
    v.into_iter().sum()
}

#[worker_task(for T in [f32, f64, Vec<u8>])]
fn norm<T>(v: &[T]) -> String
where
    T: Debug + Serialize + DeserializeOwned + Clone,
{
    format!("{v:?}")
}

fn each_instance_runs(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        assert_eq!(total::<f32>::apply(&pool, vec![1.0, 2.0])?, 3.0f32);
        assert_eq!(total::<f64>::par_map(&pool, [vec![0.1, 0.2], vec![]])?, [0.1 + 0.2, 0.0f64]);
        assert_eq!(norm::<f32>::par_map(&pool, [&[1.5f32][..], &[]])?, ["[1.5]", "[]"]);
        assert_eq!(norm::<f64>::apply(&pool, &[0.1f64])?, "[0.1]");
        assert_eq!(norm::<Vec<u8>>::apply(&pool, &[vec![1], vec![]])?, "[[1], []]");
    }
    assert_eq!((total(vec![1u64, 2]), norm(&[1u8])), (3, "[1]".into()), "the function stays generic");
    Ok(())
}

/// A function that is generic over the task.
fn totals<T: Copy + Sum<T> + Debug>(pool: &WorkerPool, one: T) -> Result<Vec<T>, Error>
where
    total<T>: for<'a> Task<Item<'a> = Vec<T>, Output = T> + ReadyFor<()>,
{
    pool.map::<total<T>>(vec![vec![one]; 3])
}

fn from_each_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(totals(&pool, 2.0f32)?, [2.0f32; 3]);
    assert_eq!(totals(&pool, 2.0f64)?, [2.0f64; 3]);
    assert_eq!(total::<f64>::job(&pool).chunk_size(2).map(vec![vec![1.0]; 5])?, [1.0; 5]);
    assert_eq!(pool.apply_async::<total<f64>>(vec![1.0, 2.0]).get()?, 3.0);
    let results = total::<f32>::par_imap(&pool, (0..100u8).map(|i| vec![f32::from(i); 2]));
    assert_eq!(results.collect::<Result<Vec<_>, _>>()?.iter().sum::<f32>(), 9900.0);
    Ok(())
}

#[worker_task(for T in [u8, Option<String>])]
fn fails<T: Debug>(value: T) {
    panic!("{value:?}")
}

#[worker_task(for T in [u8, u16], name = "a given name")]
fn fails_too<T>(_: T) {
    panic!("as told")
}

fn each_has_a_name(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(fails::<u8>::apply(&pool, 7));
    assert!(error.task_name().ends_with("::instances::fails::<u8>"), "{error}");
    assert!(error.to_string().contains("fails::<u8>` on worker "), "{error}");
    assert_eq!((panic_message(&error), error.argument()), ("7", Some("7")));
    let error = task_error(fails::<Option<String>>::apply(&pool, None));
    assert!(error.task_name().contains("fails::<") && error.task_name().contains("Option<"), "{error}");
    assert_eq!(task_error(fails_too::<u8>::apply(&pool, 7)).task_name(), "a given name::<u8>");
    assert_eq!(task_error(fails_too::<u16>::apply(&pool, 7)).task_name(), "a given name::<u16>");
    assert_usable(&pool);
    Ok(())
}

#[worker_init(for T in [String, Vec<u32>])]
fn empty<T: Default>(#[worker_id] _: usize) -> Result<T, std::convert::Infallible> {
    Ok(T::default())
}

#[worker_task(for (T, U) in [(String, char), (Vec<u32>, u32)], init = empty::<T>, exit = all::<T>)]
fn collect<T: Extend<U>, U>(#[state] state: &mut T, value: U) {
    state.extend([value]);
}

#[worker_exit(for T in [String, Vec<u32>])]
fn all<T>(#[state] state: T) -> T {
    state
}

fn state_init_and_exit(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    collect::<String, char>::par_map(&pool, "abc".chars())?;
    collect::<Vec<u32>, u32>::par_map(&pool, [1, 2])?;
    collect::<String, char>::apply(&pool, 'd')?;
    let exits = pool.join()?;
    assert_eq!(exits.exit_results::<all<String>>()?, ["abcd"]);
    assert_eq!(exits.exit_results::<all<Vec<u32>>>()?, [[1, 2]]);
    Ok(())
}

// The parameters have names that the calls of a chunk's task have, too.
#[worker_task(for S in [f32, i64])]
fn doubled<S: Pod + Add<Output = S>>(#[chunk] rows: &[S]) -> Vec<S> {
    rows.iter().map(|x| *x + *x).collect()
}

#[worker_task(for R in [f32, i64])]
fn double<R: Pod + Add<Output = R>>(#[chunk] rows: &mut [R]) -> usize {
    rows.iter_mut().for_each(|x| *x = *x + *x);
    rows.len()
}

fn chunks_of_each_type(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(doubled::<f32>::par_map_slice(&pool, &[1.5f32, 2.0])?, [3.0, 4.0]);
    assert_eq!(doubled::<i64>::par_map_slice(&pool, &vec![-1i64; 1000])?, [-2; 1000]);
    let mut array = SharedArray::from_slice(&[1i64, 2, 3])?;
    assert_eq!(double::<i64>::par_chunks_mut(&pool, &mut array, 2)?, [2, 1]);
    assert_eq!(array.iter().collect::<Vec<_>>(), [2, 4, 6]);
    Ok(())
}

#[worker_task(for T in [u8, String])]
fn longest<'a: 'b, 'b, T: Display>(one: &'a str, other: &'b str, last: &T) -> String {
    format!("{}{last}", if one.len() > other.len() { one } else { other })
}

fn beside_lifetimes(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(longest::<u8>::apply(&pool, ("a", "bc", &1))?, "bc1");
    assert_eq!(longest::<String>::apply(&pool, ("abc", "bc", &"!".into()))?, "abc!");
    Ok(())
}

#[worker_task(for (B, A) in [(u8, u64), (u16, String)])]
fn both<A: Display, B>(a: A, #[shared] base: &u32, b: B) -> <B as Add>::Output
where
    B: Add<Output: Serialize + DeserializeOwned> + TryFrom<u32, Error: Debug>,
{
    assert!(!a.to_string().is_empty());
    b + B::try_from(*base).unwrap()
}

fn several_parameters(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared(3u32).build()?;
    assert_eq!(both::<u64, u8>::apply(&pool, (1, 2))?, 5);
    assert_eq!(both::<String, u16>::apply(&pool, ("a".into(), 300))?, 303);
    Ok(())
}

#[worker_task(for N in [2, 3])]
fn first_of<const N: usize>(values: [u64; N]) -> [u64; N] {
    let mut values = values;
    values.rotate_left(1);
    values
}

#[worker_task(for (T, N) in [(u8, 1), (f64, 4)])]
fn sum_of<T: Sum<T> + Serialize + DeserializeOwned, const N: usize>(values: Row<T, N>) -> T {
    values.0.into_iter().sum()
}

struct Row<T, const N: usize>(Vec<T>);

impl<T: Serialize, const N: usize> Serialize for Row<T, N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned, const N: usize> serde::Deserialize<'de> for Row<T, N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::deserialize(deserializer)?;
        if values.len() == N { Ok(Self(values)) } else { Err(serde::de::Error::custom("another length")) }
    }
}

fn constants(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(first_of::<2>::apply(&pool, [1, 2])?, [2, 1]);
    assert_eq!(first_of::<3>::par_map(&pool, [[1, 2, 3]])?, [[2, 3, 1]]);
    assert_eq!(sum_of::<u8, 1>::apply(&pool, Row(vec![7]))?, 7);
    assert_eq!(sum_of::<f64, 4>::apply(&pool, Row(vec![0.5; 4]))?, 2.0);
    Ok(())
}

#[worker_task(fallible, for T in [u8, f32])]
fn parse<T: FromStr>(text: &str, _unused: &Option<T>) -> Result<T, <T as FromStr>::Err>
where
    T::Err: Display,
{
    text.parse()
}

fn fallible_and_by_reference(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(parse::<u8>::apply(&pool, ("7", &None))?, 7);
    assert_eq!(parse::<f32>::apply(&pool, ("7.5", &Some(1.0)))?, 7.5);
    let error = task_error(parse::<u8>::apply(&pool, ("7.5", &None)));
    assert!(error.to_string().contains("returned an error: invalid digit found in string"), "{error}");
    Ok(())
}

#[worker_task(for T in [u64, f64])]
fn times<T: Mul<Output = T>>(a: T, b: T) -> T {
    a * b
}

#[worker_task(for T in [u64, f64])]
fn same<T>(x: T) -> T {
    x
}

fn reducing(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(same::<u64>::job(&pool).reduce::<times<u64>>(1..=10)?, Some(3_628_800));
    assert_eq!(same::<f64>::job(&pool).chunk_size(1).reduce::<times<f64>>([0.5, 4.0])?, Some(2.0));
    Ok(())
}
