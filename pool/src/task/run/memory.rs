//! How a worker keeps to its memory limit: it looks between tasks, and stops before the next one when it holds too
//! much. (In the midst of a task the parent looks.)

use crate::lane::Responder;
use crate::sys::memory::Meter;

/// What the worker knows of the memory that it holds.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    meter: Option<Meter>,
    /// What it held after its init functions.
    baseline: u64,
}

impl Memory {
    /// What the worker holds, if there is a limit to it.
    pub(crate) fn read(&mut self, lane: &Responder<'_>) -> Option<u64> {
        lane.memory_limit()?;
        // A task may have closed the last one's descriptor.
        if !self.meter.as_ref().is_some_and(Meter::is_intact) {
            self.meter = Meter::own().ok();
        }
        self.meter.as_ref().map(Meter::read)
    }

    /// An init function has run; what was held before it.
    pub(crate) fn note_init(&mut self, before: Option<u64>, lane: &Responder<'_>) {
        if let (Some(before), Some(after)) = (before, self.read(lane)) {
            self.baseline =
                if self.baseline == 0 { after } else { self.baseline + after.saturating_sub(before) };
            lane.note_baseline(self.baseline);
        }
    }

    /// To be called before the first task: without init functions, the baseline is what is held then.
    pub(crate) fn note_start(&mut self, lane: &Responder<'_>) {
        if self.baseline == 0
            && let Some(held) = self.read(lane)
        {
            self.baseline = held.max(1);
            lane.note_baseline(self.baseline);
        }
    }

    /// To be called between tasks: takes no more of them if the worker holds too much.
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
