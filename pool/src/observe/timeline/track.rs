//! A track: shared memory in which a worker records what it does, as slices. It costs the parent nothing until it reads
//! it. The track outlives the worker, and the parent trusts it no more than anything else that a worker writes.

use super::slices::{MAX_SLICES, Slice, Slices};
use crate::codec::{decode_record, encode_record};
use crate::shared::SharedArray;
use crate::sys::ticks::{self, Dial};

/// The words of a track. The version is odd while the worker rewrites slices.
const VERSION: usize = 0;
/// The number of slices.
const COUNT: usize = 1;
/// The running task and when it began; 0 if none is running.
const SINCE: usize = 2;
const TASK: usize = 3;
const INDEX: usize = 4;
/// The first word of the slices, and the words of each.
const SLICES: usize = 8;
const SLICE_WORDS: usize = 5;
/// One slice more than [`MAX_SLICES`]: the last may still grow.
const LEN: usize = SLICES + SLICE_WORDS * (MAX_SLICES + 1);

/// The parent's side of a track.
#[derive(Debug)]
pub(crate) struct Track(SharedArray<u64>);

/// What a worker has recorded.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) slices: Vec<Slice>,
    /// What it is running, or was when it died. Only its start is known.
    pub(crate) running: Option<Slice>,
}

impl Track {
    /// Makes a track, and the handle by which the worker finds it while this lives. None if there is no memory for it.
    pub(crate) fn open() -> Option<(Self, Vec<u8>)> {
        let words = SharedArray::zeroed(LEN).ok()?;
        let mut handle = Vec::new();
        encode_record(&words, &mut handle).ok()?;
        Some((Self(words), handle))
    }

    /// Reads what the worker has recorded. Drops slices that cannot be: those that overlap or end in the future.
    pub(crate) fn read(&self, now: u64) -> Recording {
        let words = self.consistent_words();
        let mut recording = Recording::default();
        let mut last = 0;
        let count = usize::try_from(words[COUNT]).unwrap_or(usize::MAX).min(MAX_SLICES + 1);
        for word in words[SLICES..].as_chunks::<SLICE_WORDS>().0.iter().take(count) {
            let [start, end, first, what, lead] = *word;
            if last <= start && start <= end && end <= now {
                let (task, count) = ((what >> 32) as u32, what as u32);
                recording.slices.push(Slice { task, count, first, start, end, lead: lead.min(end - start) });
                last = end;
            }
        }
        let (since, task, mut first) = (words[SINCE], words[TASK] as u32, words[INDEX]);
        if (1..=now).contains(&since) {
            if let Some(slice) =
                recording.slices.last().filter(|slice| slice.end > since && slice.task == task)
            {
                // Some of the tasks since then are in slices already.
                first = first.max(slice.first.saturating_add(slice.count.into()));
            }
            let start = since.max(last);
            recording.running = Some(Slice { task, count: 1, first, start, end: start, lead: 0 });
        }
        recording
    }

    /// For the fuzzer: writes words like a worker.
    #[cfg(fuzzing)]
    pub(super) fn write(&self, words: impl Iterator<Item = u64>) {
        words.zip(0..LEN).for_each(|(word, place)| self.0.set(place, word));
    }

    /// A copy of the words, made while the worker rewrote none, unless it never stops rewriting.
    fn consistent_words(&self) -> Vec<u64> {
        for _ in 0..100 {
            let version = self.0.get(VERSION);
            let words = self.0.to_vec();
            if version.is_multiple_of(2) && self.0.get(VERSION) == version {
                return words;
            }
        }
        self.0.to_vec()
    }
}

/// The worker's side of a track.
#[derive(Debug)]
pub(crate) struct Recorder {
    track: SharedArray<u64>,
    dial: Dial,
    slices: Slices,
    /// The slice that may still grow; its times are in ticks.
    open: Slice,
    /// [`Slices::grain_ns`] in ticks.
    grain: u64,
}

impl Recorder {
    /// None if the worker cannot open the track: then it records nothing.
    pub(crate) fn new(handle: &[u8]) -> Option<Self> {
        let track: SharedArray<u64> = decode_record(handle).ok()?;
        let (dial, slices) = (Dial::new(), Slices::default());
        // The first task sets the grain: by then the length of a tick is known.
        (track.len() == LEN).then_some(Self { track, dial, slices, open: Slice::default(), grain: u64::MAX })
    }

    /// Begins the first task of a run.
    #[inline]
    pub(crate) fn begin(&mut self, task: u32, index: u64, now: u64) {
        let Slice { task: last, first, count, end, .. } = self.open;
        let follows =
            last == task && first + u64::from(count) == index && now.saturating_sub(end) < self.grain / 4;
        if count > 0 && !follows {
            self.close_slice();
        }
        if self.grain == u64::MAX {
            self.set_dial();
        }
        if self.open.count == 0 {
            self.open = Slice { task, count: 0, first: index, start: now, end: now, lead: 0 };
        }
        self.track.set(TASK, task.into());
        self.track.set(INDEX, index);
        self.track.set(SINCE, self.dial.at(now));
    }

    /// Ends a task. The next one of the run begins now.
    #[inline]
    pub(crate) fn end(&mut self, now: u64) {
        let open = &mut self.open;
        open.count = open.count.saturating_add(1);
        open.end = now;
        if now.saturating_sub(open.start) >= self.grain {
            self.close_slice();
        }
    }

    /// Ends the run, and shows the parent the open slice.
    pub(crate) fn pause(&mut self) {
        self.track.set(SINCE, 0);
        if self.open.count > 0 {
            let slice = self.in_ns(self.open);
            self.write_slice(self.slices.list().len(), slice);
        }
    }

    /// Ends an init or exit function.
    pub(crate) fn end_phase(&mut self) {
        self.end(ticks::now());
        if self.open.count > 0 {
            self.close_slice();
        }
        self.track.set(SINCE, 0);
    }

    #[cold]
    fn close_slice(&mut self) {
        let slice = self.in_ns(self.open);
        if self.slices.push(slice) {
            let version = self.track.get(VERSION);
            self.track.set(VERSION, version | 1);
            for place in 0..self.slices.list().len() {
                self.write_slice(place, self.slices.list()[place]);
            }
            self.track.set(VERSION, (version | 1).wrapping_add(1));
        } else {
            self.write_slice(self.slices.list().len() - 1, slice);
        }
        let Slice { task, first, count, end, .. } = self.open;
        self.open = Slice { task, count: 0, first: first + u64::from(count), start: end, end, lead: 0 };
        self.set_dial();
    }

    fn set_dial(&mut self) {
        self.dial.set();
        self.grain = self.dial.ticks(self.slices.grain_ns());
    }

    fn write_slice(&mut self, place: usize, Slice { task, count, first, start, end, lead }: Slice) {
        let what = u64::from(task) << 32 | u64::from(count);
        for (word, value) in [start, end, first, what, lead].into_iter().enumerate() {
            self.track.set(SLICES + SLICE_WORDS * place + word, value);
        }
        self.track.set(COUNT, place as u64 + 1);
    }

    /// Converts a slice to nanoseconds. The length of a tick is known better with time, so the start is moved behind
    /// the end of the last slice where they would overlap.
    fn in_ns(&self, slice: Slice) -> Slice {
        let last = self.slices.list().last().map_or(0, |last| last.end);
        let start = self.dial.at(slice.start).max(last);
        let end = self.dial.at(slice.end).max(start);
        Slice { start, end, lead: end - start, ..slice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::now_ns;

    fn spin(ns: u64) {
        let end = now_ns() + ns;
        while now_ns() < end {}
    }

    #[test]
    fn the_parent_reads_what_the_worker_records() {
        let (track, handle) = Track::open().unwrap();
        let mut recorder = Recorder::new(&handle).unwrap();
        assert!(Recorder::new(b"nonsense").is_none());
        let began = now_ns();
        for claim in 0..5 {
            recorder.begin(3, claim * 10, ticks::now());
            let running = track.read(now_ns()).running.unwrap();
            assert_eq!((running.task, running.first), (3, claim * 10));
            for _ in 0..10 {
                spin(100_000);
                recorder.end(ticks::now());
            }
            recorder.pause();
            assert!(track.read(now_ns()).running.is_none());
        }
        recorder.begin(4, 0, ticks::now());
        spin(1000);
        recorder.end(ticks::now());
        recorder.pause();
        let recording = track.read(now_ns());
        let count = |task| {
            recording.slices.iter().filter(|slice| slice.task == task).map(|slice| slice.count).sum::<u32>()
        };
        assert_eq!((count(3), count(4)), (50, 1), "{recording:?}");
        assert!(
            recording.slices[0].start + 1_000_000 >= began && recording.slices[0].first == 0,
            "{recording:?}"
        );
        let busy: u64 = recording.slices.iter().map(Slice::len).sum();
        assert!(busy >= 4_900_000, "50 tasks of a tenth of a millisecond took {busy} ns");
    }

    #[test]
    fn the_running_task_begins_where_the_last_slice_ends() {
        let (track, handle) = Track::open().unwrap();
        let mut recorder = Recorder::new(&handle).unwrap();
        recorder.begin(3, 100, ticks::now());
        for _ in 0..20 {
            spin(40_000);
            recorder.end(ticks::now());
        }
        let Recording { slices, running } = track.read(now_ns());
        let (last, running) = (slices.last().unwrap(), running.unwrap());
        assert!(running.start >= last.end, "{running:?} after {last:?}");
        assert_eq!(running.first, last.first + u64::from(last.count));
        assert!(running.first > 100);
    }

    #[test]
    fn nonsense_is_not_believed() {
        let (track, _) = Track::open().unwrap();
        track.0.fill(u64::MAX);
        let recording = track.read(now_ns());
        assert!(recording.slices.is_empty() && recording.running.is_none(), "{recording:?}");
        track.0.fill(1);
        assert!(track.read(now_ns()).slices.len() <= 1);
    }
}
