//! What a pool's workers did when. Each worker records it on a [`Track`], which the parent reads when it is asked for a
//! timeline. The parent itself keeps the [`History`]: lives of workers, calls, and what ended workers had recorded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

mod history;
mod picture;
mod slices;
mod trace;
mod track;

pub(crate) use history::History;
pub(crate) use slices::{EXIT, INIT};
pub(crate) use track::{Recorder, Track};

use history::{Call, Life};
use slices::Slice;

use crate::ids::PerWorker;
use crate::sys::memfile::Limited;

/// What a pool's workers did when; from [`WorkerPool::timeline`](crate::WorkerPool::timeline).
///
/// It has a track for each worker, with its start-ups, init functions, tasks and deaths, and one for the pool's calls.
/// Tasks that are shorter than a tenth of a millisecond and follow each other are shown together. In a long run longer
/// ones are, too: the memory for each worker is bounded, whatever it does. The last 1024 lives and calls are kept.
///
/// ```
/// # #[pool::worker_task]
/// # fn square(x: u64) -> u64 {
/// #     x * x
/// # }
/// #[pool::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = pool::WorkerPool::builder().workers(2).insights(true).build()?;
///     square::par_map(&pool, 0..1000)?;
/// #   let folder = std::env::temp_dir().join(format!("pool-doctest-{}", std::process::id()));
/// #   std::fs::create_dir(&folder)?;
/// #   std::env::set_current_dir(&folder)?;
///     pool.timeline().save("run.svg")?; // for a browser
///     pool.timeline().save("run.json")?; // for https://ui.perfetto.dev or chrome://tracing
/// #   std::fs::remove_dir_all(folder)?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    workers: PerWorker<WorkerLine>,
    calls: Vec<Call>,
    /// The names of tasks, by their indices in the registry.
    names: BTreeMap<u32, &'static str>,
    /// The time it covers: CLOCK_MONOTONIC in nanoseconds.
    start: u64,
    end: u64,
}

/// What one worker did.
#[derive(Debug, Clone, Default)]
struct WorkerLine {
    slices: Vec<Slice>,
    lives: Vec<Life>,
}

impl Timeline {
    /// Writes a trace in the JSON format of Chrome's trace viewer, which <https://ui.perfetto.dev> opens too. Times
    /// are in microseconds since the pool was built.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_trace(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(trace::format(self).as_bytes())
    }

    /// Writes a picture, as SVG. In a browser, tooltips tell more.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_svg(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(picture::draw(self).as_bytes())
    }

    /// Writes a picture into a file whose name ends with `.svg`, and a trace into any other.
    ///
    /// # Errors
    /// Those of creating or writing the file.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let mut out = BufWriter::new(Limited::new(File::create(path)?)?);
        if path.extension().is_some_and(|extension| extension == "svg") {
            self.write_svg(&mut out)?;
        } else {
            self.write_trace(&mut out)?;
        }
        out.flush()
    }
}

/// For the fuzzer: reads a track into which a worker wrote `bytes`, after its end and while another one lives.
#[cfg(fuzzing)]
pub fn read_any(bytes: &[u8]) {
    let (track, _) = Track::open().expect("memory for a track");
    let (worker, now) = (crate::ids::WorkerId(0), 1 << 40);
    let mut history = History::new(1, 0);
    for words in bytes.as_chunks::<8>().0.chunks(16_000) {
        track.write(words.iter().map(|word| u64::from_le_bytes(*word)));
        history.worker_starting(worker, 1);
        history.worker_ended(worker, track.read(now), None, now);
    }
    let timeline = history.timeline(std::iter::once(track.read(now)), now);
    assert!(timeline.workers.iter().all(|line| line.slices.len() <= 3 * slices::MAX_SLICES));
    assert!(trace::format(&timeline).len() + picture::draw(&timeline).len() < 8 << 20);
}

/// A function's name, without the path to it.
fn short(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

impl Timeline {
    /// The function that the slice is named after.
    fn name_of(&self, slice: &Slice) -> &'static str {
        match slice.task {
            INIT => "init",
            EXIT => "exit",
            task => short(self.names.get(&task).copied().unwrap_or("unknown")),
        }
    }

    /// The function and its tasks, in a few words.
    fn label_of(&self, slice: &Slice) -> String {
        let name = self.name_of(slice);
        match (slice.task, slice.count) {
            (INIT | EXIT, _) => name.to_owned(),
            (_, ..=1) => format!("{name} {}", slice.first),
            (_, count) => format!("{name} from {}, {count} tasks", slice.first),
        }
    }
}
