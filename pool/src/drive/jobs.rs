//! The open calls, with the driver's data on each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use crate::codec::try_grow;
use crate::error::{CallSite, Error, TaskErrorKind};
use crate::ids::{JobId, PerJob, ProfileId, TaskIndex};
use crate::wire::{ChunkHead, ExecFlags, Folding, Packing};
use crate::work::{Constant, EncodedInput, FunctionRef, Inbox, Items, JobSpec, Plan, ProfileSpec};

/// The open calls by id, and the profiles of all calls so far.
#[derive(Default)]
pub(super) struct Jobs {
    open: PerJob<Box<Job>>,
    last: JobId,
    /// How many open calls show their progress.
    shown: usize,
    /// How many of the open calls have a caller that drives them.
    with_caller: usize,
    /// Calls that may have new results since the last look.
    news: Vec<JobId>,
    /// Calls in the background that may have new results since the background driver has looked.
    background_news: Vec<JobId>,
    /// The calls that end at a time, by that time.
    deadlines: BTreeSet<(u64, JobId)>,
    /// Calls with new items to send.
    with_items: BTreeSet<JobId>,
    /// How many of those are in the background.
    background_with_items: usize,
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
    /// The constant that its tasks need, if they take one.
    constant: Option<Constant>,
    flags: ExecFlags,
    /// Where it was made.
    site: CallSite,
    /// New items to send.
    pub(super) items: Items,
    /// The item after these waits with its caller.
    pub(super) has_lent: bool,
    /// No items will follow these.
    pub(super) has_all_items: bool,
    /// None will follow for a while.
    pub(super) is_silent: bool,
    /// The one item of all tasks, if each worker gets a task; or why it could not be encoded.
    each_item: Option<Result<Vec<u8>, String>>,
    pub(super) inbox: Inbox,
    /// Items that were taken back from a worker, to send them again.
    retained: HashMap<TaskIndex, Vec<u8>>,
    /// The errors of earlier attempts, for tasks that are retried.
    earlier: BTreeMap<TaskIndex, Vec<TaskErrorKind>>,
    /// When it ends at the latest.
    deadline_ns: Option<u64>,
    /// It has ended with an error. Further results are discarded.
    is_cancelled: bool,
    /// Its progress is shown.
    is_shown: bool,
    /// The background driver takes its results.
    is_background: bool,
    /// It is among those in the background that may have new results.
    is_noted: bool,
    /// Tasks that nobody wants any more.
    dropped: BTreeSet<TaskIndex>,
}

impl Jobs {
    /// Opens a call. Returns its id and its plan.
    pub(super) fn open(&mut self, spec: JobSpec) -> Result<(JobId, Box<Plan>), Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let JobSpec {
            task,
            profile,
            constant,
            flags,
            mut plan,
            deadline_ns,
            site,
            is_shown,
            is_background,
            input,
        } = spec;
        plan.profile = profile.map(|profile| self.id_of(profile));
        let mut job = Box::new(Job {
            task,
            profile: plan.profile,
            constant,
            flags,
            site,
            has_lent: false,
            has_all_items: input.is_some(),
            is_silent: false,
            items: Items::default(),
            each_item: None,
            inbox: Inbox::default(),
            retained: HashMap::new(),
            earlier: BTreeMap::new(),
            deadline_ns,
            is_cancelled: false,
            is_shown,
            is_background,
            is_noted: false,
            dropped: BTreeSet::new(),
        });
        match input {
            Some(EncodedInput::Items(items)) => job.items = *items,
            Some(EncodedInput::OneForEach(item)) => job.each_item = Some(item),
            None => {}
        }
        self.shown += usize::from(is_shown);
        self.with_caller += usize::from(!is_background);
        self.last = self.last.next();
        self.deadlines.extend(deadline_ns.map(|at| (at, self.last)));
        self.open.insert(self.last, job);
        self.count_items(self.last);
        Ok((self.last, plan))
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
    pub(super) fn profile(&self, profile: ProfileId) -> &ProfileSpec {
        &self.profiles[profile.index()]
    }

    /// The init function of the worker state that a call's tasks run on.
    pub(super) fn init_of(&self, job: JobId) -> Option<FunctionRef> {
        self.profile(self.get(job)?.profile?).init
    }

    /// Lets no further call be opened. Those that are open go on.
    pub(super) fn refuse(&mut self) {
        self.refuses = true;
    }

    /// Whether no further call can be opened.
    pub(super) fn is_closed(&self) -> bool {
        self.closed || self.refuses
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
        self.note_items(job, false);
        let Some(closed) = self.open.remove(&job) else { return false };
        closed.deadline_ns.into_iter().for_each(|at| _ = self.deadlines.remove(&(at, job)));
        self.shown -= usize::from(closed.is_shown);
        self.with_caller -= usize::from(!closed.is_background);
        true
    }

    /// Whether this call is open, and a caller drives it when it is there.
    pub(super) fn has_caller(&self, job: JobId) -> bool {
        self.get(job).is_some_and(|job| !job.is_background)
    }

    /// Whether a call is open that a caller drives, when it is there.
    pub(super) fn any_with_caller(&self) -> bool {
        self.with_caller > 0
    }

    /// The next call that may have new results, once.
    pub(super) fn next_news(&mut self) -> Option<JobId> {
        self.news.pop()
    }

    pub(super) fn clear_news(&mut self) {
        self.news.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The open calls, oldest first.
    pub(super) fn ids(&self) -> Vec<JobId> {
        let mut ids: Vec<JobId> = self.open.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn get(&self, job: JobId) -> Option<&Job> {
        self.open.get(&job).map(|job| &**job)
    }

    pub(super) fn get_mut(&mut self, job: JobId) -> Option<&mut Job> {
        self.open.get_mut(&job).map(|job| &mut **job)
    }

    /// The inbox for results of a call; none if they are discarded.
    pub(super) fn inbox_of(&mut self, job: JobId) -> Option<&mut Inbox> {
        self.note_news(job);
        self.get_mut(job).filter(|job| !job.is_cancelled).map(|job| &mut job.inbox)
    }

    /// Notes that the call may have new results.
    fn note_news(&mut self, job: JobId) {
        if let Some(open) = self.open.get_mut(&job).filter(|open| open.is_background) {
            if !std::mem::replace(&mut open.is_noted, true) {
                self.background_news.push(job);
            }
            return;
        }
        if self.news.last() != Some(&job) {
            self.news.push(job);
        }
    }

    /// The call, whose inbox gets an outcome or the end.
    pub(super) fn get_for_news(&mut self, job: JobId) -> Option<&mut Job> {
        self.note_news(job);
        self.get_mut(job)
    }

    /// Ends a call with an error; false if it had ended before.
    pub(super) fn cancel(&mut self, job: JobId, error: Error) -> bool {
        let Some(job) = self.get_for_news(job).filter(|job| job.inbox.end.is_none()) else { return false };
        job.fail(error);
        true
    }

    /// When the next call ends that has a deadline.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The calls whose deadline has come, each once.
    pub(super) fn take_overdue(&mut self, now: u64) -> Vec<JobId> {
        let mut overdue = Vec::new();
        while let Some((_, job)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            overdue.push(*job);
            self.deadlines.pop_first();
        }
        overdue
    }

    /// Swaps the call's inbox with an empty one.
    pub(super) fn take_inbox(&mut self, job: JobId, empty: &mut Inbox) {
        debug_assert!(empty.is_empty());
        match self.get_mut(job) {
            Some(job) => std::mem::swap(&mut job.inbox, empty),
            None => empty.end = Some(Err(Error::Closed)),
        }
    }

    /// The first call after this one with new items to send.
    pub(super) fn next_with_items(&self, last: Option<JobId>) -> Option<JobId> {
        let after = (last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.with_items.range(after).next().copied()
    }

    /// Notes whether the call has new items to send.
    pub(super) fn count_items(&mut self, job: JobId) {
        let has_items = self.get(job).is_some_and(|open| !open.items.is_empty());
        self.note_items(job, has_items);
    }

    fn note_items(&mut self, job: JobId, has_items: bool) {
        if !has_items && self.with_items.is_empty() {
            return;
        }
        let is_background = self.get(job).is_some_and(|open| open.is_background);
        if has_items && self.with_items.insert(job) {
            self.background_with_items += usize::from(is_background);
        } else if !has_items && self.with_items.remove(&job) {
            self.background_with_items -= usize::from(is_background);
        }
    }

    /// How many calls in the background have items to send.
    pub(super) fn background_with_items(&self) -> usize {
        self.background_with_items
    }

    /// Whether the progress of any call is shown.
    pub(super) fn is_any_shown(&self) -> bool {
        self.shown > 0
    }

    pub(super) fn is_shown(&self, job: JobId) -> bool {
        self.get(job).is_some_and(|job| job.is_shown)
    }

    /// Whether the background driver takes the results of any call.
    pub(super) fn any_in_background(&self) -> bool {
        self.open.len() > self.with_caller
    }

    /// Whether calls in the background may have new results.
    pub(super) fn has_background_news(&self) -> bool {
        !self.background_news.is_empty()
    }

    /// Removes and returns these calls.
    pub(super) fn take_background_news(&mut self) -> Vec<JobId> {
        let news = std::mem::take(&mut self.background_news);
        for job in &news {
            self.open.get_mut(job).into_iter().for_each(|job| job.is_noted = false);
        }
        news
    }
}

impl Job {
    pub(super) fn task(&self) -> FunctionRef {
        self.task
    }

    pub(super) fn site(&self) -> &CallSite {
        &self.site
    }

    /// How many new items wait, here or with the caller.
    pub(super) fn waiting(&self) -> u64 {
        self.items.len() + u64::from(self.has_lent)
    }

    /// The constant that its tasks need, if they take one.
    pub(super) fn constant(&self) -> Option<&Constant> {
        self.constant.as_ref()
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

    /// Whether encoded items that are taken back from a worker are to be retained, to send them again.
    pub(super) fn retains(&self) -> bool {
        self.each_item.is_none()
    }

    /// Keeps an encoded item that was taken back from a worker, to send it again, if there is memory to list it.
    pub(super) fn retain(&mut self, index: TaskIndex, item: Vec<u8>) {
        if self.retains() && self.retained.try_reserve(1).is_ok() {
            self.retained.insert(index, item);
        }
    }

    /// The length of a retained item; 0 if there is none.
    pub(super) fn retained_len(&self, index: TaskIndex) -> usize {
        match &self.each_item {
            Some(item) => item.as_ref().map_or(0, Vec::len),
            None => self.retained.get(&index).map_or(0, Vec::len),
        }
    }

    /// Removes and returns a retained item, or a copy of the one item of all tasks. If there is none, returns why.
    pub(super) fn take_retained(&mut self, index: TaskIndex) -> Result<Vec<u8>, String> {
        let Some(item) = &self.each_item else {
            let why = "there was no memory to keep it when its worker gave it back";
            return self.retained.remove(&index).ok_or_else(|| why.into());
        };
        let item = item.as_ref().map_err(String::clone)?;
        let mut copy = Vec::new();
        try_grow(&mut copy, item.len())?;
        copy.extend_from_slice(item);
        Ok(copy)
    }

    /// Notes that nobody wants this task any more.
    pub(super) fn drop_task(&mut self, index: TaskIndex) {
        self.dropped.insert(index);
    }

    /// Whether nobody wants this task any more.
    pub(super) fn is_dropped(&self, index: TaskIndex) -> bool {
        self.dropped.contains(&index)
    }

    /// The first task from this one on that nobody wants.
    pub(super) fn next_dropped(&self, from: TaskIndex) -> Option<TaskIndex> {
        self.dropped.range(from..).next().copied()
    }

    /// Adds the error of an attempt at a task that is retried.
    pub(super) fn add_attempt(&mut self, index: TaskIndex, why: TaskErrorKind) {
        self.earlier.entry(index).or_default().push(why);
    }

    /// Notes the errors of all attempts so far at a task that is retried.
    pub(super) fn put_attempts(
        &mut self,
        index: TaskIndex,
        mut earlier: Vec<TaskErrorKind>,
        why: TaskErrorKind,
    ) {
        earlier.push(why);
        self.earlier.insert(index, earlier);
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
