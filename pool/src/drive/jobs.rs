//! The open calls, with the driver's data on each.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, TaskErrorKind};
use crate::ids::{JobId, ProfileId, TaskIndex};
use crate::wire::{ChunkHead, ExecFlags, Folding, Packing};
use crate::work::{FunctionRef, Inbox, JobSpec, Plan, ProfileSpec};

/// The open calls by id, and the profiles of all calls so far.
#[derive(Default)]
pub(super) struct Jobs {
    open: BTreeMap<JobId, Box<Job>>,
    last: JobId,
    /// How many open calls show their progress.
    shown: usize,
    /// The profiles by id.
    profiles: Vec<ProfileSpec>,
    /// No further calls can be opened.
    closed: bool,
    /// The same, but calls that are open go on.
    refuses: bool,
}

/// An open call.
pub(super) struct Job {
    task: FunctionRef,
    profile: Option<ProfileId>,
    flags: ExecFlags,
    /// The length of recent items in bytes.
    pub(super) item_bytes: usize,
    pub(super) inbox: Inbox,
    /// Encoded items to send: those taken back from a worker, and those encoded before the call was opened.
    retained: HashMap<TaskIndex, Vec<u8>>,
    /// The errors of earlier attempts, for tasks that are retried.
    earlier: HashMap<TaskIndex, Vec<TaskErrorKind>>,
    /// It has ended with an error. Further results are discarded.
    is_cancelled: bool,
    /// The caller has items that no worker can take now.
    pub(super) has_items: bool,
    /// Its progress is shown.
    is_shown: bool,
    /// The background driver takes its results.
    is_background: bool,
}

impl Jobs {
    /// Opens a call. Returns its id, its plan, and how many items are encoded already.
    pub(super) fn open(&mut self, spec: JobSpec) -> Result<(JobId, Plan, u64), Error> {
        if self.closed || self.refuses {
            return Err(Error::Closed);
        }
        let JobSpec { task, profile, flags, mut plan, is_shown, is_background, encoded } = spec;
        plan.profile = profile.map(|profile| self.id_of(profile));
        let count = encoded.len() as u64;
        let job = Job {
            task,
            profile: plan.profile,
            flags,
            item_bytes: 0,
            inbox: Inbox::default(),
            retained: TaskIndex::default().range(count).zip(encoded).collect(),
            earlier: HashMap::new(),
            is_cancelled: false,
            has_items: false,
            is_shown,
            is_background,
        };
        self.shown += usize::from(is_shown);
        self.last = self.last.next();
        self.open.insert(self.last, Box::new(job));
        Ok((self.last, plan, count))
    }

    /// The id of this profile; the same for the same functions.
    fn id_of(&mut self, wanted: ProfileSpec) -> ProfileId {
        let place = self.profiles.iter().position(|known| known.is_same_state(&wanted));
        let place = place.unwrap_or_else(|| {
            self.profiles.push(wanted);
            self.profiles.len() - 1
        });
        ProfileId::at(place)
    }

    /// The profile with this id.
    pub(super) fn profile(&self, profile: ProfileId) -> ProfileSpec {
        self.profiles[profile.index()]
    }

    /// The init function of the worker state that a call's tasks run on.
    pub(super) fn init_of(&self, job: JobId) -> Option<FunctionRef> {
        self.profile(self.get(job)?.profile?).init
    }

    /// Lets no further call be opened. Those that are open go on.
    pub(super) fn refuse(&mut self) {
        self.refuses = true;
    }

    /// Lets no further call be opened.
    pub(super) fn close_for_good(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed_for_good(&self) -> bool {
        self.closed
    }

    /// Closes a call; false if it was not open.
    pub(super) fn close(&mut self, job: JobId) -> bool {
        let closed = self.open.remove(&job);
        self.shown -= usize::from(closed.as_ref().is_some_and(|job| job.is_shown));
        closed.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn ids(&self) -> Vec<JobId> {
        self.open.keys().copied().collect()
    }

    pub(super) fn get(&self, job: JobId) -> Option<&Job> {
        self.open.get(&job).map(|job| &**job)
    }

    pub(super) fn get_mut(&mut self, job: JobId) -> Option<&mut Job> {
        self.open.get_mut(&job).map(|job| &mut **job)
    }

    /// The inbox for results of a call; none if they are discarded.
    pub(super) fn inbox_of(&mut self, job: JobId) -> Option<&mut Inbox> {
        self.get_mut(job).filter(|job| !job.is_cancelled).map(|job| &mut job.inbox)
    }

    /// Ends a call with an error; false if it had ended before.
    pub(super) fn cancel(&mut self, job: JobId, error: Error) -> bool {
        let Some(job) = self.get_mut(job).filter(|job| job.inbox.end.is_none()) else { return false };
        job.fail(error);
        true
    }

    /// Swaps the call's inbox with an empty one.
    pub(super) fn take_inbox(&mut self, job: JobId, empty: &mut Inbox) {
        debug_assert!(empty.is_empty());
        match self.get_mut(job) {
            Some(job) => std::mem::swap(&mut job.inbox, empty),
            None => empty.end = Some(Err(Error::Closed)),
        }
    }

    /// Whether the progress of any call is shown.
    pub(super) fn is_any_shown(&self) -> bool {
        self.shown > 0
    }

    pub(super) fn is_shown(&self, job: JobId) -> bool {
        self.get(job).is_some_and(|job| job.is_shown)
    }

    /// The calls whose results the background driver takes.
    pub(super) fn in_background(&self) -> impl Iterator<Item = &Job> {
        self.open.values().map(|job| &**job).filter(|job| job.is_background)
    }
}

impl Job {
    pub(super) fn task(&self) -> FunctionRef {
        self.task
    }

    /// Whether the results of its tasks are folded.
    pub(super) fn folds(&self) -> bool {
        self.flags.folding != Folding::Off
    }

    /// The head of a chunk of `count` tasks, beginning with task `first`.
    pub(super) fn head(&self, first: TaskIndex, count: u32) -> ChunkHead {
        let Self { task: FunctionRef { index: task, .. }, profile, flags, .. } = *self;
        ChunkHead { task, profile, first, count, flags, packing: Packing::Prefixed }
    }

    /// Keeps an encoded item that was taken back from a worker, to send it again, if there is memory to list it.
    pub(super) fn retain(&mut self, index: TaskIndex, item: Vec<u8>) {
        if self.retained.try_reserve(1).is_ok() {
            self.retained.insert(index, item);
        }
    }

    /// Removes and returns a retained item; nothing if there was no memory to keep it.
    pub(super) fn take_retained(&mut self, index: TaskIndex) -> Option<Vec<u8>> {
        self.retained.remove(&index)
    }

    /// Adds the error of an attempt at a task that is retried.
    pub(super) fn add_attempt(&mut self, index: TaskIndex, why: TaskErrorKind) {
        self.earlier.entry(index).or_default().push(why);
    }

    /// Removes and returns the errors of earlier attempts at a task.
    pub(super) fn take_attempts(&mut self, index: TaskIndex) -> Vec<TaskErrorKind> {
        self.earlier.remove(&index).unwrap_or_default()
    }

    /// Ends the call: every task has its outcome.
    pub(super) fn complete(&mut self) {
        self.inbox.end.get_or_insert(Ok(()));
    }

    /// Ends the call with this error.
    pub(super) fn fail(&mut self, error: Error) {
        self.inbox.end.get_or_insert(Err(error));
        self.is_cancelled = true;
    }
}
