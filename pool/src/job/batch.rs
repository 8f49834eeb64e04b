//! Asynchronous calls of one task each, as tasks of one call of the engine's. Such calls come by the thousand: those
//! that follow each other closely are gathered, and the background driver opens them together. Each has a result of its
//! own: one that fails or is cancelled costs the others nothing.

use std::sync::Arc;

use super::callbacks::Notice;
use super::completion::{Arrivals, Completion};
use super::retry::Judge;
use crate::error::Error;
use crate::ids::{JobId, TaskIndex};
use crate::work::{Arrival, Chunking, EncodedInput, Inbox, Items, JobSpec, Outcome};

/// A call counts as close to the one before if that was made less than this long ago: about the price of opening a few
/// calls one by one.
const CLOSE_NS: u64 = 20_000;

/// A call is compared with the last few batches only: each of thousands may have a label of its own.
const MOST_COMPARED: usize = 8;

/// The calls that are gathered, and not opened yet.
#[derive(Default)]
pub(super) struct Gathering {
    batches: Vec<Batch>,
    /// The background driver runs, and will open them.
    pub(super) is_served: bool,
    /// When the last call was made.
    last_ns: u64,
}

/// Calls that are alike in all but their items and results.
pub(super) struct Batch {
    pub(super) spec: JobSpec,
    pub(super) items: Items,
    pub(super) results: Vec<Arc<Completion>>,
    /// Decides which failed tasks are tried again, if not the engine alone.
    judge: Option<Judge>,
}

impl Gathering {
    /// Whether a call that is made now is to be gathered, and not opened at once.
    pub(super) fn takes(&mut self, now: u64) -> bool {
        let is_close = now.saturating_sub(std::mem::replace(&mut self.last_ns, now)) < CLOSE_NS;
        self.is_served && (is_close || !self.batches.is_empty())
    }

    /// Adds a call. Returns whether it is the first, so that the background driver must be told.
    pub(super) fn add(&mut self, mut call: Batch) -> bool {
        let is_first = self.batches.is_empty();
        let mut last = self.batches.iter_mut().rev().take(MOST_COMPARED);
        let Some(batch) = last.find(|batch| batch.is_like(&call)) else {
            self.batches.push(call);
            return is_first;
        };
        batch.items.append(&mut call.items);
        if !call.items.is_empty() {
            // There was no memory to keep them together.
            self.batches.push(call);
        } else {
            batch.results.append(&mut call.results);
        }
        is_first
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many calls there are.
    pub(super) fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.results.len()).sum()
    }

    /// Removes and returns what was gathered.
    pub(super) fn take(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.batches)
    }
}

impl Batch {
    /// One call with this item.
    pub(super) fn new(
        mut spec: JobSpec,
        items: Items,
        result: Arc<Completion>,
        judge: Option<Judge>,
    ) -> Self {
        spec.plan.most_failed = None;
        // These are about the tasks of one call, and here each call has one.
        spec.plan.chunking = Chunking::Adaptive;
        spec.plan.max_active = None;
        // No call waits behind another one that a worker happens to take with it.
        spec.flags.claim = 1;
        Self { spec, items, results: vec![result], judge }
    }

    /// Whether the calls of both can be tasks of one.
    fn is_like(&self, other: &Self) -> bool {
        let (spec, of) = (&self.spec, &other.spec);
        let is_same_state = match (&spec.profile, &of.profile) {
            (None, None) => true,
            (Some(profile), Some(of)) => profile.is_same_state(of),
            _ => false,
        };
        let flags = |spec: &JobSpec| (spec.flags.timed, spec.flags.watched, spec.flags.claim);
        let limits = |spec: &JobSpec| {
            let plan = &spec.plan;
            let limits = (plan.task_limit_ns, plan.cpu_limit_ns, plan.init_limit_ns, plan.exit_limit_ns);
            let delays = plan.retry.as_ref().map(|plan| (plan.first_ns, plan.most_ns, plan.jitter.is_some()));
            (limits, plan.lifespan, plan.retries, delays)
        };
        let is_same_judge = match (&self.judge, &other.judge) {
            (None, None) => true,
            (Some(judge), Some(of)) => judge.is_like(of),
            _ => false,
        };
        let is_same_call = spec.task == of.task && spec.site == of.site && spec.constant == of.constant;
        is_same_judge
            && is_same_call
            && is_same_state
            && flags(spec) == flags(of)
            && limits(spec) == limits(of)
    }

    /// What the engine gets, who gets the results, and who decides about failures.
    pub(super) fn into_parts(self) -> (JobSpec, Vec<Arc<Completion>>, Option<Judge>) {
        let Self { mut spec, items, results, judge } = self;
        spec.plan.total = Some(results.len() as u64);
        spec.input = Some(EncodedInput::Items(Box::new(items)));
        (spec, results, judge)
    }
}

/// Calls that are open as one.
pub(super) struct PendingBatch {
    /// By task; none once it is complete.
    results: Vec<Option<Arc<Completion>>>,
    left: usize,
    /// Decides which failed tasks are tried again, if not the engine alone.
    pub(super) judge: Option<Judge>,
}

impl PendingBatch {
    /// Notes that these are open. Returns it with the tasks that were cancelled meanwhile.
    pub(super) fn opened(
        results: Vec<Arc<Completion>>,
        job: JobId,
        judge: Option<Judge>,
    ) -> (Self, Vec<TaskIndex>) {
        let mut cancelled = Vec::new();
        for (index, result) in (0..).map(TaskIndex::new).zip(&results) {
            if result.set_place(job, index) {
                cancelled.push(index);
            }
        }
        let left = results.len();
        (Self { results: results.into_iter().map(Some).collect(), left, judge }, cancelled)
    }

    /// Delivers results. Returns whether all have theirs.
    pub(super) fn deliver(&mut self, inbox: &Inbox, notices: &mut Vec<Notice>) -> bool {
        for arrival in &inbox.arrivals {
            let Arrival { index, worker, what } = arrival;
            match what {
                Outcome::Values { start, slots, count } => {
                    for place in 0..*count {
                        let slot = &inbox.tape[start + place * slots.stride()..][..slots.stride()];
                        let content = || Arrivals::of_one(*worker, slot.into(), *slots);
                        self.complete(*index + place as u64, || Ok(content()), notices);
                    }
                }
                Outcome::Failed(_) => {
                    let failed = Arrival { index: TaskIndex::default(), ..arrival.clone() };
                    self.complete(*index, || Ok(Arrivals::new(vec![failed], Vec::new())), notices);
                }
            }
        }
        if let Some(Err(error)) = &inbox.end {
            self.end(error, notices);
        }
        self.left == 0 || inbox.end.is_some()
    }

    fn complete(
        &mut self,
        index: TaskIndex,
        content: impl FnOnce() -> Result<Arrivals, Error>,
        notices: &mut Vec<Notice>,
    ) {
        if let Some(result) = self.results.get_mut(index.as_usize()).and_then(Option::take) {
            self.left -= 1;
            notices.extend(result.complete(content()).map(Notice::Run));
        }
    }

    /// Completes those that are left with an error.
    pub(super) fn end(&mut self, error: &Error, notices: &mut Vec<Notice>) {
        self.left = 0;
        for result in self.results.drain(..).flatten() {
            notices.extend(result.complete(Err(error.clone())).map(Notice::Run));
        }
    }
}

impl Drop for PendingBatch {
    fn drop(&mut self) {
        let mut notices = Vec::new();
        self.end(&Error::Cancelled, &mut notices);
        notices.into_iter().for_each(Notice::run);
    }
}
