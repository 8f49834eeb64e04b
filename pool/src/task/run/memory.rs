//! How a worker keeps to its memory limit: it checks between tasks, and starts no further one while it holds too much.
//! (During a task the parent checks.)

use crate::lane::Responder;
use crate::sys::memory::Meter;

/// The memory that the worker holds, as it measures it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    meter: Option<Meter>,
    /// What it held after its init functions, in bytes.
    baseline: u64,
}

impl Memory {
    /// How many bytes the worker holds, if there is a limit.
    pub(crate) fn read(&mut self, lane: &Responder<'_>) -> Option<u64> {
        lane.memory_limit()?;
        // A task may have closed the meter's descriptor.
        if !self.meter.as_ref().is_some_and(Meter::is_intact) {
            self.meter = Meter::own().ok();
        }
        self.meter.as_ref().map(Meter::read)
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

    /// Called between tasks: stops claiming if the worker holds too much.
    #[inline]
    pub(crate) fn look(&mut self, lane: &mut Responder<'_>) {
        if let Some(limit) = lane.memory_limit() {
            self.look_at(limit, lane);
        }
    }

    #[cold]
    fn look_at(&mut self, limit: u64, lane: &mut Responder<'_>) {
        let growth = self.read(lane).unwrap_or(0).saturating_sub(self.baseline);
        lane.note_growth(growth);
        if growth > limit {
            lane.stop_claiming();
        }
    }
}
