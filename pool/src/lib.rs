//! A parallel map over worker **processes**: like one over threads, but isolated. A crash, a leak, a hang or a runaway
//! allocation stays inside one worker and costs exactly one task.
//!
//! ```
//! use pool::{WorkerPool, worker_task};
//!
//! #[worker_task]
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! #[pool::main]
//! fn main() -> Result<(), pool::Error> {
//!     let pool = WorkerPool::new(4)?;
//!     assert_eq!(square::par_map(&pool, [1, 2, 3])?, [1, 4, 9]);
//!     Ok(())
//! }
//! ```
//!
//! [`worker_task`] lists the calls that the attribute adds; [`guide::a_task`] is one such task with its calls in full,
//! and [`Task`] the trait of them all, for libraries over this crate.
//! The [guide] has a page for each question:
//!
//! | to | read |
//! |---|---|
//! | decide | [why processes](guide::why_processes), [start methods](guide::start_methods) |
//! | write tasks | [worker state](guide::state), [shared memory](guide::shared_memory) |
//! | rely on them | [failures](guide::failures), [promises](guide::promises), [testing](guide::testing) |
//! | measure them | [performance](guide::performance), [watching](guide::watching) |
//! | move over | [from rayon](guide::from_rayon), [from MPIRE, multiprocessing and their like](guide::from_mpire) |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `bincode` | yes | `Codec::Bincode`, the default and the fastest |
//! | `postcard` | yes | `Codec::Postcard`, the smallest |
//! | `messagepack` | yes | `Codec::MessagePack`, for `serde_json::Value`, untagged enums and the like |
//! | `progress` | yes | `Job::progress_bar` and `Job::progress`; the crate `indicatif` |
//! | `tracing` | yes | events of workers' lives for the program's `tracing` subscriber |
//! | `logs` | no | the workers' log records from `tracing` or `log` reach the parent's subscriber; includes `tracing` |
//! | `ndarray` | no | tasks that take chunks of arrays: `Job::map_array`, `Job::array_chunks_mut` |
//! | `stream` | no | results as asynchronous streams: `ResultStream`, `Job::stream` |
//!
//! A build needs at least one codec. All other messages between parent and workers have a format of their own, so a
//! program that leaves out a codec's feature leaves out its crate: with `default-features = false` and `features =
//! ["postcard"]` there is no bincode in its dependency tree. Without `bincode` the default codec is the first of the
//! others. Features that other crates in the program ask for are enabled too.
//!
//! # What a version promises
//!
//! Versions follow [Semantic Versioning](https://semver.org/), except for the types of other crates: those of indicatif
//! with the feature `progress` ([`Job::progress`], `pool::indicatif`), those of ndarray with `ndarray` (parameters of
//! tasks, `map_array` and `array_chunks_mut`), and [`core_affinity::CoreId`] in
//! [`cpu_ids`](WorkerPoolBuilder::cpu_ids). Any version of this crate may move to a new version of those. Nor does a
//! version promise how bytes are laid out between a program and its workers, which are always the same build.
#![deny(unsafe_code)]
#![cfg_attr(portable, allow(dead_code, unused_imports, reason = "some of it is for processes only"))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("pool needs a little-endian machine of 64 bits: that is how its lanes are laid out");
#[cfg(all(not(portable), not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "on Linux pool needs x86-64 or aarch64: its supervision makes system calls by the numbers of these two"
);

extern crate self as pool;

// A file imports from its own folder and from modules further down this list, never up: see `tests/directions.rs`.
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod worker_pool;
mod job;
mod engine;
mod init;
mod drive;
mod start;
mod worker;
mod task;
mod observe;
mod supervise;
mod work;
pub mod shared;
mod wire;
mod lane;
mod error;
mod role;
mod ids;
mod options;
mod codec;
mod sys;
mod text;
mod unwind;

pub mod guide;

#[cfg(feature = "progress")]
#[cfg_attr(docsrs, doc(cfg(feature = "progress")))]
pub use ::indicatif;
pub use codec::Codec;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use codec::{decode_any, encode_any};
pub use error::{Death, Error, PanicInfo, ReturnedError, TaskError, TaskErrorKind};
pub use init::init;
#[cfg(feature = "stream")]
#[cfg_attr(docsrs, doc(cfg(feature = "stream")))]
pub use job::ResultStream;
pub use job::{AsyncResult, CancelHandle, Deadline, Imap, Job, Retry};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use lane::read_any as read_any_lane;
pub use observe::insights::{Insights, SlowTask, WorkerInsights};
#[cfg(all(fuzzing, feature = "logs"))]
#[doc(hidden)]
pub use observe::logs::read_any as read_any_log;
pub use observe::stats::Stats;
pub use observe::timeline::Timeline;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use observe::timeline::read_any as read_any_track;
pub use options::{CpuIds, Resource, StartMethod};
/// ```
/// use pool::{Shares, WorkerPool, worker_task};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Model {
///     factor: f64,
/// }
///
/// #[derive(Shares, Serialize, Deserialize)]
/// struct Common {
///     model: Model,
///     names: Vec<String>,
/// }
///
/// #[worker_task]
/// fn rate(#[shared] model: &Model, x: f64) -> f64 {
///     model.factor * x
/// }
///
/// #[worker_task]
/// fn show(#[shared] all: &Common, name: usize) -> String {
///     format!("{} × {}", all.names[name], all.model.factor)
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), pool::Error> {
///     let common = Common { model: Model { factor: 2.0 }, names: vec!["one".into()] };
///     let pool = WorkerPool::builder().workers(2).shared(common).build()?;
///     assert_eq!(rate::par_map(&pool, [1.0, 2.5])?, [2.0, 5.0]);
///     assert_eq!(show::apply(&pool, 0)?, "one × 2");
///     Ok(())
/// }
/// ```
#[doc(inline)]
pub use pool_macros::Shares;
/// ```
/// use pool::{WorkerPool, worker_task};
///
/// #[worker_task]
/// fn word_count(text: &str) -> usize {
///     text.split_whitespace().count()
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), pool::Error> {
///     let pool = WorkerPool::new(2)?;
///     assert_eq!(word_count::par_map(&pool, ["one", "and two"])?, [1, 2]);
///     // The function itself is unchanged.
///     assert_eq!(word_count("and then three"), 3);
///     Ok(())
/// }
/// ```
///
/// A task that takes references. What all items have in common may also be the pool's shared value, which crosses once:
///
/// ```
/// use pool::{WorkerPool, worker_task};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Config {
///     factor: f64,
/// }
///
/// #[worker_task]
/// fn scale(config: &Config, rows: &[f64]) -> f64 {
///     rows.iter().sum::<f64>() * config.factor
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), pool::Error> {
///     let pool = WorkerPool::new(2)?;
///     let config = Config { factor: 2.0 };
///     let table = vec![vec![1.0, 2.0], vec![3.0]];
///     let scaled = scale::par_map(&pool, table.iter().map(|rows| (&config, &**rows)))?;
///     assert_eq!(scaled, [6.0, 6.0]);
///     Ok(())
/// }
/// ```
///
/// A task that can fail:
///
/// ```
/// use pool::{TaskErrorKind, WorkerPool, worker_task};
///
/// #[worker_task(fallible)]
/// fn parse(text: &str) -> anyhow::Result<u32> {
///     Ok(text.parse()?)
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), pool::Error> {
///     let pool = WorkerPool::new(2)?;
///     assert_eq!(parse::par_map(&pool, ["1", "2"])?, [1, 2]);
///     let error = parse::par_map(&pool, ["1", "two"]).unwrap_err();
///     let TaskErrorKind::Failed(why) = error.task().unwrap().kind() else { panic!("{error}") };
///     assert_eq!(why.to_string(), "invalid digit found in string");
///     Ok(())
/// }
/// ```
///
/// A generic task, for a list of types:
///
/// ```
/// use std::iter::Sum;
///
/// use pool::{WorkerPool, worker_task};
///
/// #[worker_task(for T in [f32, f64])]
/// fn mean<T: Copy + Sum<T> + std::ops::Div<Output = T> + From<u8>>(values: &[T]) -> T {
///     let count: T = values.iter().map(|_| T::from(1)).sum();
///     values.iter().copied().sum::<T>() / count
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), pool::Error> {
///     let pool = WorkerPool::new(2)?;
///     assert_eq!(mean::<f32>::par_map(&pool, [&[1.0, 2.0][..], &[3.0]])?, [1.5, 3.0]);
///     assert_eq!(mean::<f64>::apply(&pool, &[0.5, 1.0])?, 0.75);
///     Ok(())
/// }
/// ```
///
/// [`guide::a_task`] shows the calls of such a task in full.
#[doc(alias(
    "par_map",
    "par_map_unordered",
    "par_map_into",
    "par_map_outcomes",
    "par_imap",
    "par_imap_unordered",
    "par_stream"
))]
#[doc(alias(
    "par_map_slice",
    "par_chunks_mut",
    "par_map_array",
    "par_array_chunks_mut",
    "apply",
    "apply_async"
))]
#[doc(inline)]
pub use pool_macros::worker_task;
pub use pool_macros::{main, worker_exit, worker_init};
pub use sys::cpu::cpu_count;
#[cfg(feature = "ndarray")]
#[cfg_attr(docsrs, doc(cfg(feature = "ndarray")))]
pub use task::chunk::{ArrayChunk, ArrayChunkMut, Arrays};
pub use task::chunk::{Chunk, ChunkMut, Concatenate, Concatenated, OneAChunk, Outputs, Slices};
pub use task::seed::task_seed;
pub use task::{
    BorrowsFrom, ExitOf, InitOf, ReadyFor, Reduces, RunsOn, Task, WithArg, WorkerExit, WorkerId, WorkerInit,
};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use wire::read_any as read_any_record;
pub use worker_pool::{ExitResults, WorkerPool, WorkerPoolBuilder};

/// Tests the programs of the README like those of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
