//! A job that is under way, as its caller drives it: items out, outcomes in.

use crate::codec::Codec;
use crate::engine::{Awaits, Engine};
use crate::error::{Error, TaskError, TaskErrorKind};
use crate::ids::JobId;
use crate::observe::End;
use crate::observe::progress::Progress;
use crate::task::{Output, Task, show};
use crate::work::{Arrival, Inbox, Outcome, TaskFailure};
use crate::{text, unwind};

use super::input::InputBuffer;

pub(super) struct Call<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    engine: &'p Engine,
    pub(super) job: JobId,
    pub(super) input: InputBuffer<'i, T, I>,
    /// Items of a chunk that must be whole.
    chunk: u64,
    codec: Codec,
    inbox: Inbox,
    /// Kept for its memory.
    values: Vec<T::Output>,
    /// What came of tasks in the last turn.
    came: u64,
    /// Results taken since the last turn, and where they are bounded, their bytes.
    pub(super) taken: u64,
    pub(super) taken_bytes: u64,
    /// When the workers were looked at last, unless the user's code has run since.
    pub(super) watched: Option<u64>,
    /// When this ends, nobody is at work on the job any more.
    quiesces: bool,
    progress: Option<Progress>,
}

impl<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> Call<'p, 'i, T, I> {
    pub(super) fn new(
        engine: &'p Engine,
        job: JobId,
        input: InputBuffer<'i, T, I>,
        chunk: u64,
        codec: Codec,
        quiesces: bool,
        progress: Option<Progress>,
    ) -> Self {
        Self {
            engine,
            job,
            input,
            chunk,
            codec,
            inbox: Inbox::default(),
            values: Vec::new(),
            came: 0,
            taken: 0,
            taken_bytes: 0,
            watched: None,
            quiesces,
            progress,
        }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Call<'_, 'i, T, I> {
    /// Moves the job on; what came goes to `sink`, as [`open`] gives it. `Some` when the job is over.
    pub(super) fn pump(
        &mut self,
        wait: bool,
        mut sink: impl FnMut(u64, u64, Result<&mut Vec<T::Output>, TaskError>) -> Result<(), Error>,
    ) -> Option<Result<(), Error>> {
        // The user's input takes its own time.
        let pulling = self.input.pull(self.chunk).as_nanos() as u64;
        if let Err(forked) = self.engine.check() {
            return Some(Err(forked));
        }
        let watched = self.watched.take().map(|at| at.saturating_add(pulling));
        let taken = (std::mem::take(&mut self.taken), std::mem::take(&mut self.taken_bytes));
        let looked = self.engine.turn(self.job, taken, watched, &mut self.input, &mut self.inbox);
        if let (Some(progress), Some(tasks)) = (&self.progress, self.input.total()) {
            progress.know(tasks);
        }
        if self.inbox.is_empty() {
            if let Some(progress) = &self.progress {
                progress.count(0, 0);
            }
            self.watched = Some(looked);
            if wait && !self.input.is_short() {
                self.watched = Some(self.engine.wait(Awaits::Job(self.job)));
            }
            return None;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut over = inbox.end.take();
        let (mut done, mut failed) = (0, 0);
        for arrival in &inbox.arrivals {
            let opened =
                open::<T>(arrival, &inbox.tape, self.codec, &mut self.values, |index, bytes, came| {
                    match &came {
                        Ok(values) => done += values.len() as u64,
                        Err(_) => failed += 1,
                    }
                    sink(index, bytes, came)
                });
            if let Err(error) = opened {
                over = Some(Err(error));
                break;
            }
        }
        inbox.clear();
        self.inbox = inbox;
        self.came = done + failed;
        if let Some(progress) = &self.progress {
            progress.count(done, failed);
        }
        if let Some(over) = &over {
            self.end_progress(End::of(over));
        }
        over
    }

    fn end_progress(&mut self, how: End) {
        if let Some(progress) = self.progress.take() {
            progress.end(how);
        }
    }

    /// Moves the job on until it is over.
    pub(super) fn run(
        &mut self,
        mut sink: impl FnMut(u64, Result<&mut Vec<T::Output>, TaskError>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let over = self.pump(true, |index, _, came| sink(index, came));
            self.taken += std::mem::take(&mut self.came);
            if let Some(over) = over {
                return over;
            }
        }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Drop for Call<'_, 'i, T, I> {
    fn drop(&mut self) {
        if !self.engine.is_here() {
            // The bar is the other process's too: whoever drew on it may have had its lock.
            let _never_dropped = std::mem::ManuallyDrop::new(self.progress.take());
            return;
        }
        self.end_progress(End::Interrupted);
        self.engine.close(self.job);
        if self.quiesces {
            self.engine.quiesce(self.job);
        }
    }
}

/// Decodes what arrived. `sink` gets the index of a task, how many bytes its outcome counts as, and the results of that
/// one and of those that follow it, each of as many bytes, or its error. Results that it leaves in the vector are
/// dropped.
pub(super) fn open<T: Task>(
    arrival: &Arrival,
    tape: &[u8],
    codec: Codec,
    values: &mut Vec<T::Output>,
    mut sink: impl FnMut(u64, u64, Result<&mut Vec<T::Output>, TaskError>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Arrival { mut index, worker, ref what } = *arrival;
    let fail = |index: u64, attempts, argument, kind| {
        TaskError::new(T::name(), index as usize, worker.0, attempts, argument, kind)
    };
    match what {
        Outcome::Values { start, len, stride, count } => {
            let slots = &tape[*start..][..count * stride];
            let mut slots = slots.chunks_exact(*stride).map(|slot| &slot[..*len]);
            loop {
                values.clear();
                let failed = decode_each(codec, &mut slots, values);
                let count = values.len() as u64;
                sink(index, *len as u64, Ok(values))?;
                let Some(why) = failed else { return Ok(()) };
                index += count;
                sink(index, *len as u64, Err(fail(index, 1, None, TaskErrorKind::Decode(text::cut(why)))))?;
                index += 1;
            }
        }
        Outcome::Failed(loss) => {
            let TaskFailure { attempts, kind, earlier, item, end, bytes } = &**loss;
            let argument = item.as_ref().and_then(|item| show::<T>(codec, item));
            let error = fail(index, *attempts, argument, kind.clone());
            sink(index, *bytes, Err(error.after(earlier.clone()).with_end_notes(end.clone())))
        }
    }
}

/// Decodes values up to the first that cannot be decoded: why not. What a worker wrote may make no sense, or make a
/// `Deserialize` impl panic.
fn decode_each<'v, R: Output>(
    codec: Codec,
    slots: &mut impl ExactSizeIterator<Item = &'v [u8]>,
    values: &mut Vec<R>,
) -> Option<String> {
    values.reserve(slots.len());
    let decoded = unwind::catch(|| {
        for slot in slots {
            check_room(slot.len())?;
            values.push(R::decode(codec, slot)?);
        }
        Ok(())
    });
    decoded.unwrap_or_else(|_| Err("its `Deserialize` implementation panicked".into())).err()
}

/// A result of so many bytes is not decoded before there is memory for that: types take it without asking, and a
/// program that gets none aborts.
const LARGE: usize = 16 << 20;

#[inline]
fn check_room(bytes: usize) -> Result<(), String> {
    if bytes < LARGE { Ok(()) } else { try_room(bytes) }
}

#[cold]
fn try_room(bytes: usize) -> Result<(), String> {
    let mut copy = Vec::<u8>::new();
    copy.try_reserve_exact(bytes)
        .map_err(|error| format!("there is no memory to decode a result of {bytes} bytes: {error}"))
}
