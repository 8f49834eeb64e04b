//! The calls that are open, and what the driver keeps of each.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, TaskErrorKind};
use crate::ids::{JobId, ProfileId};
use crate::wire::{ChunkHead, ExecFlags, Packing};
use crate::work::{Inbox, JobSpec, Plan, ProfileSpec, TaskRef};

/// The calls that are open, by number.
#[derive(Default)]
pub(super) struct Jobs {
    open: BTreeMap<JobId, Box<Job>>,
    last: JobId,
    /// Worker states, by their numbers.
    profiles: Vec<ProfileSpec>,
    /// No more of them are opened.
    closed: bool,
}

/// A call.
pub(super) struct Job {
    task: TaskRef,
    profile: Option<ProfileId>,
    flags: ExecFlags,
    /// How many bytes an item has had lately.
    pub(super) item_bytes: usize,
    pub(super) inbox: Inbox,
    /// The bytes of items that came back, or were encoded before the call was opened.
    retained: HashMap<u64, Vec<u8>>,
    /// What ended earlier attempts at tasks that were tried again.
    earlier: HashMap<u64, Vec<TaskErrorKind>>,
    /// Its caller was told to stop.
    is_cancelled: bool,
    /// Its caller has items that no worker takes now.
    pub(super) has_items: bool,
    /// Somebody watches how far it is.
    is_shown: bool,
    /// The background driver takes what comes for it.
    is_background: bool,
}

impl Jobs {
    /// Opens a call; says under which number, and how it is to be carried out.
    pub(super) fn open(&mut self, spec: JobSpec) -> Result<(JobId, Plan, u64), Error> {
        if self.closed {
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
            retained: (0..count).zip(encoded).collect(),
            earlier: HashMap::new(),
            is_cancelled: false,
            has_items: false,
            is_shown,
            is_background,
        };
        self.last = self.last.next();
        self.open.insert(self.last, Box::new(job));
        Ok((self.last, plan, count))
    }

    /// The number of a worker state: the same for the same functions.
    fn id_of(&mut self, wanted: ProfileSpec) -> ProfileId {
        let place = self.profiles.iter().position(|known| known.is_same_state(&wanted));
        let place = place.unwrap_or_else(|| {
            self.profiles.push(wanted);
            self.profiles.len() - 1
        });
        ProfileId::at(place)
    }

    /// The worker state of this number.
    pub(super) fn profile(&self, profile: ProfileId) -> ProfileSpec {
        self.profiles[profile.index()]
    }

    /// How many of the worker states end with a function.
    pub(super) fn exits(&self) -> usize {
        self.profiles.iter().filter(|profile| profile.exit.is_some()).count()
    }

    /// Whether a worker state ends with this function.
    pub(super) fn has_exit(&self, exit: u32) -> bool {
        self.profiles.iter().any(|profile| profile.exit == Some(exit))
    }

    /// From here on none can be opened.
    pub(super) fn close_for_good(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed_for_good(&self) -> bool {
        self.closed
    }

    /// Closes one; false if it was not open.
    pub(super) fn close(&mut self, job: JobId) -> bool {
        self.open.remove(&job).is_some()
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

    /// Where the results of a call go; nowhere if nobody wants them any more.
    pub(super) fn inbox_of(&mut self, job: JobId) -> Option<&mut Inbox> {
        self.get_mut(job).filter(|job| !job.is_cancelled).map(|job| &mut job.inbox)
    }

    /// Ends a call with an error, unless it is over; false if it is.
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

    /// Whether somebody watches how far one of them is.
    pub(super) fn is_any_shown(&self) -> bool {
        self.open.values().any(|job| job.is_shown)
    }

    pub(super) fn is_shown(&self, job: JobId) -> bool {
        self.get(job).is_some_and(|job| job.is_shown)
    }

    /// Those that go on in the background.
    pub(super) fn in_background(&self) -> impl Iterator<Item = &Job> {
        self.open.values().map(|job| &**job).filter(|job| job.is_background)
    }
}

impl Job {
    pub(super) fn task(&self) -> TaskRef {
        self.task
    }

    /// The head of a chunk of so many tasks from this one on.
    pub(super) fn head(&self, first: u64, count: u32) -> ChunkHead {
        let Self { task: TaskRef { index: task, .. }, profile, flags, .. } = *self;
        ChunkHead { task, profile, first, count, flags, packing: Packing::Prefixed }
    }

    /// The bytes of items that were sent come back: they will be sent again.
    pub(super) fn retain(&mut self, first: u64, items: Vec<Vec<u8>>) {
        self.retained.extend((first..).zip(items));
    }

    /// Gives away the bytes of an item.
    pub(super) fn take_retained(&mut self, index: u64) -> Vec<u8> {
        self.retained.remove(&index).unwrap_or_default()
    }

    /// Notes what ended an attempt at a task that is tried again.
    pub(super) fn note_attempt(&mut self, index: u64, why: TaskErrorKind) {
        self.earlier.entry(index).or_default().push(why);
    }

    /// What ended the attempts at a task before its last.
    pub(super) fn take_attempts(&mut self, index: u64) -> Vec<TaskErrorKind> {
        self.earlier.remove(&index).unwrap_or_default()
    }

    /// Every task has its outcome.
    pub(super) fn complete(&mut self) {
        self.inbox.end.get_or_insert(Ok(()));
    }

    /// It can't go on, or was cancelled.
    pub(super) fn fail(&mut self, error: Error) {
        self.inbox.end.get_or_insert(Err(error));
        self.is_cancelled = true;
    }
}
