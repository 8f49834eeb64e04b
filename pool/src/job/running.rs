//! A job that is under way, as its caller drives it: items out, outcomes in.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::codec::Codec;
use crate::drive::{Arrival, Awaits, Core, Inbox, Loss, What};
use crate::error::{Error, TaskError, TaskErrorKind};
use crate::lane::padded;
use crate::supervise::JobId;
use crate::task::{Output, Task};

use super::supply::Supply;

/// One task's outcome, with its index.
pub(super) type Outcome<R> = (u64, Result<R, TaskError>);

pub(super) struct Running<'p, 'i, T: Task, I: Iterator<Item = T::Item<'i>>> {
    pub(super) core: &'p Core,
    pub(super) job: JobId,
    pub(super) supply: Supply<'i, T, I>,
    /// Items of a chunk that must be whole.
    pub(super) chunk: u64,
    pub(super) codec: Codec,
    pub(super) inbox: Inbox,
    /// Results taken since the last turn.
    pub(super) taken: u64,
    /// When the workers were looked at last, unless the user's code has run since.
    pub(super) watched: Option<u64>,
    /// When this ends, nobody is at work on the job any more.
    pub(super) settles: bool,
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Running<'_, 'i, T, I> {
    /// Moves the job on; every outcome that came goes to `sink`. `Some` when the job is over.
    pub(super) fn pump(
        &mut self,
        wait: bool,
        mut sink: impl FnMut(Outcome<T::Output>) -> Result<(), Error>,
    ) -> Option<Result<(), Error>> {
        // The user's input takes its own time.
        let pulling = self.supply.pull(self.chunk).as_nanos() as u64;
        let watched = self.watched.take().map(|at| at.saturating_add(pulling));
        let taken = std::mem::take(&mut self.taken);
        let looked = self.core.turn(self.job, taken, watched, &mut self.supply, &mut self.inbox);
        if self.inbox.is_empty() {
            self.watched = Some(looked);
            if wait && !self.supply.is_short() {
                self.watched = Some(self.core.wait(Awaits::Job(self.job)));
            }
            return None;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut over = inbox.end.take();
        for arrival in &inbox.arrivals {
            if let Err(error) = open::<T>(arrival, &inbox.tape, self.codec, &mut sink) {
                over = Some(Err(error));
                break;
            }
        }
        inbox.clear();
        self.inbox = inbox;
        over
    }

    /// Moves the job on until it is over.
    pub(super) fn run(
        &mut self,
        mut sink: impl FnMut(Outcome<T::Output>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let mut taken = 0;
            let over = self.pump(true, |outcome| {
                taken += 1;
                sink(outcome)
            });
            self.taken += taken;
            if let Some(over) = over {
                return over;
            }
        }
    }
}

impl<'i, T: Task, I: Iterator<Item = T::Item<'i>>> Drop for Running<'_, 'i, T, I> {
    fn drop(&mut self) {
        self.core.close(self.job);
        if self.settles {
            self.core.settle(self.job);
        }
    }
}

/// Decodes what arrived, outcome by outcome.
pub(super) fn open<T: Task>(
    arrival: &Arrival,
    tape: &[u8],
    codec: Codec,
    mut sink: impl FnMut(Outcome<T::Output>) -> Result<(), Error>,
) -> Result<(), Error> {
    let Arrival { index, worker, ref what } = *arrival;
    let fail = |index: u64, attempts, argument, kind| {
        TaskError::new(T::entry().name(), index as usize, worker, attempts, argument, kind)
    };
    match what {
        What::Values { start, len, count } => {
            let mut index = index;
            let values = (0..*count).map(|place| &tape[*start + place * padded(*len)..][..*len]);
            decode_each::<T::Output>(codec, values, |value| {
                let result = value.map_err(|why| fail(index, 1, None, TaskErrorKind::Decode(why)));
                let outcome = (index, result);
                index += 1;
                sink(outcome)
            })
        }
        What::Failed(loss) => {
            let Loss { attempts, kind, earlier, item } = &**loss;
            let argument = item.as_ref().and_then(|item| show::<T>(codec, item));
            sink((index, Err(fail(index, *attempts, argument, kind.clone()).after(earlier.clone()))))
        }
    }
}

/// Decodes values until `sink` has enough. What a worker wrote may make no sense, or make a `Deserialize` impl panic:
/// that is this value's error.
fn decode_each<'v, R: Output>(
    codec: Codec,
    mut values: impl Iterator<Item = &'v [u8]>,
    mut sink: impl FnMut(Result<R, String>) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        // A panic leaves the loop, once for many values: to catch one costs more than to decode a number.
        let mut decoding = false;
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            for value in &mut values {
                decoding = true;
                let value = R::decode(codec, value);
                decoding = false;
                sink(value)?;
            }
            Ok(())
        }));
        match decoded {
            Ok(over) => return over,
            Err(panic) if !decoding => resume_unwind(panic),
            Err(_) => sink(Err("its `Deserialize` implementation panicked".into()))?,
        }
    }
}

/// Shows the argument of a failed task, where its type can be shown.
fn show<T: Task>(codec: Codec, item: &[u8]) -> Option<String> {
    const LONGEST: usize = 200;
    let debug = T::DEBUG_ITEM?;
    let shown = || T::decode(codec, item).ok().map(|item| debug(&item));
    let mut text = catch_unwind(shown).ok()??;
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push_str("...");
    }
    Some(text)
}
