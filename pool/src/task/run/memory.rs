//! How a worker keeps to its memory limit: it checks between tasks, and starts no further one while it holds too much.
//! (During a task the parent checks.)

use crate::lane::Responder;
use crate::sys::memory::Meter;

/// The memory that the worker holds, as it measures it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// `None` if there is no limit, or if the worker can't measure its memory any more.
    meter: Option<Meter>,
    /// What it held after its init functions, in bytes.
    baseline: u64,
}

impl Memory {
    /// Begins to measure if there is a limit: before any code of the user's, which may use up what that takes.
    ///
    /// # Errors
    /// If there is a limit, and the worker can't measure its memory.
    pub(crate) fn open(&mut self, lane: &Responder<'_>) -> Result<(), String> {
        if lane.memory_limit().is_some() {
            let meter = Meter::own();
            self.meter =
                Some(meter.map_err(|error| format!("cannot measure its memory, which is limited: {error}"))?);
        }
        Ok(())
    }

    /// How many bytes the worker holds, if there is a limit and it can tell.
    pub(crate) fn read(&mut self, lane: &Responder<'_>) -> Option<u64> {
        lane.memory_limit()?;
        self.meter.as_ref().and_then(Meter::read).or_else(|| {
            // A task may have closed the meter's descriptor.
            self.meter = Meter::own().ok();
            self.meter.as_ref()?.read()
        })
    }

    /// Called after an init function, with what was held before it: the growth is part of the baseline.
    pub(crate) fn note_init(&mut self, before: Option<u64>, lane: &Responder<'_>) {
        if let (Some(before), Some(after)) = (before, self.read(lane)) {
            self.baseline =
                if self.baseline == 0 { after } else { self.baseline + after.saturating_sub(before) };
            lane.note_baseline(self.baseline);
        }
    }

    /// Called before each chunk: without init functions, the baseline is what is held before the first.
    pub(crate) fn note_start(&mut self, lane: &Responder<'_>) {
        if self.baseline == 0
            && let Some(held) = self.read(lane)
        {
            self.baseline = held.max(1);
            lane.note_baseline(self.baseline);
        }
    }

    /// Called between tasks: stops claiming if the worker holds too much, or can't tell.
    #[inline]
    pub(crate) fn look(&mut self, lane: &mut Responder<'_>) {
        if let Some(limit) = lane.memory_limit() {
            self.look_at(limit, lane);
        }
    }

    #[cold]
    fn look_at(&mut self, limit: u64, lane: &mut Responder<'_>) {
        let growth = self.read(lane).map_or(u64::MAX, |held| held.saturating_sub(self.baseline));
        lane.note_growth(growth);
        if growth > limit {
            lane.stop_claiming();
        }
    }
}
