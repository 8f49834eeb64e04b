//! The guide: one page for each question. The [front page](crate) has the first program, and each item's own page says
//! exactly what the item does.
//!
//! | page | after reading it |
//! |---|---|
//! | [`why_processes`] | you know what a process costs and gives, and when threads are enough |
//! | [`start_methods`] | you can choose how workers start, and know what they inherit from your program |
//! | [`state`] | your workers load their model once, know their number, and return what they have counted |
//! | [`shared_memory`] | your tasks write into one array, in place, and never wait for a worker that was killed |
//! | [`failures`] | you know what happens to a task that panics, crashes, hangs or eats memory, and to the others |
//! | [`promises`] | you know what always holds, and where each promise ends |
//! | [`performance`] | you know what a task costs, and what to change if that is too much |
//! | [`watching`] | you see progress, where the time goes, what workers log, and their last output before a death |
//! | [`testing`] | your tests run over worker processes, crashes included |
//! | [`from_rayon`] | your rayon program runs on processes |
//! | [`from_mpire`] | your program for MPIRE, multiprocessing, concurrent.futures or joblib runs here |
//!
//! | [`a_task`] | you have seen everything that `#[worker_task]` adds to a function |
//!
//! All examples run on worker processes each time the crate is tested.

#[doc = include_str!("why_processes.md")]
pub mod why_processes {}

#[doc = include_str!("start_methods.md")]
pub mod start_methods {}

#[doc = include_str!("state.md")]
pub mod state {}

#[doc = include_str!("shared_memory.md")]
pub mod shared_memory {}

#[doc = include_str!("failures.md")]
pub mod failures {}

#[doc = include_str!("promises.md")]
pub mod promises {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("watching.md")]
#[doc = "\n<div style=\"overflow-x: auto\">"]
#[doc = include_str!("watch.svg")]
#[doc = "</div>"]
pub mod watching {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("from_rayon.md")]
pub mod from_rayon {}

#[doc = include_str!("from_mpire.md")]
pub mod from_mpire {}

/// A sample of the output of [`worker_task`](crate::worker_task): the [function](a_task::word_count()), which stays as
/// it is, and beside it a [type](type@a_task::word_count) of the same name, whose page lists its calls.
///
/// This module is only for reading: it exists in the documentation, not in the crate.
#[cfg(doc)]
pub mod a_task {
    /// Counts the words of a text, in a worker.
    ///
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
    ///     let texts = ["one", "and two", "and then three"];
    ///     assert_eq!(word_count::par_map(&pool, texts)?, [1, 2, 3]);
    ///     for count in word_count::par_imap(&pool, texts) {
    ///         println!("{}", count?);
    ///     }
    ///     assert_eq!(word_count::job(&pool).chunk_size(2).map(texts)?, [1, 2, 3]);
    ///     assert_eq!(word_count::apply_async(&pool, "one more").get()?, 2);
    ///     Ok(())
    /// }
    /// ```
    #[crate::worker_task]
    pub fn word_count(text: &str) -> usize {
        text.split_whitespace().count()
    }
}
