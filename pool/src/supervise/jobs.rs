//! All jobs, counted by what events ask for, so that none has to look at each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

use super::count_looks;
use super::job::{Facts, Job};
use super::queue::{Batch, OrderKind};
use crate::ids::{JobId, PerJob, ProfileId, TaskIndex};
use crate::work::EachWorker;

#[derive(Debug, Default)]
pub(super) struct Jobs {
    by_id: PerJob<Box<Job>>,
    counts: Counts,
    /// The tasks that wait to be tried again, by the end of that.
    delays: BTreeSet<(u64, JobId, TaskIndex)>,
    /// The lifespans that open jobs ask for.
    lifespans: Multiset,
    /// By number.
    profiles: Vec<Profile>,
}

#[derive(Debug, Default)]
struct Counts {
    /// How many have something to hand out.
    with_work: usize,
    /// How many are open and have tasks without an outcome.
    unfinished: usize,
    /// Those with tasks to be sent again; first those that have no other tasks under way.
    with_backlog: BTreeSet<(bool, JobId)>,
    /// How many workers they could keep busy, all together.
    demand: u64,
}

/// The open jobs that use a profile.
#[derive(Debug, Default)]
pub(super) struct Profile {
    users: usize,
    /// Their limits for its init function.
    limits: Multiset,
    /// The shortest of them. It stays when all these jobs are left, because a worker may still run the function.
    pub(super) limit_ns: Option<u64>,
    /// Each worker that takes orders has it, or was told to make it.
    pub(super) is_everywhere: bool,
}

impl Jobs {
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Job> {
        count_looks(1);
        self.by_id.get(&id).map(|job| &**job)
    }

    /// Whether the job is open. One that was left is not.
    pub(super) fn is_open(&self, id: JobId) -> bool {
        self.get(id).is_some_and(|job| job.open)
    }

    /// Whether this begins with a task that nobody wants.
    pub(super) fn is_dropped(&self, batch: Option<Batch>) -> bool {
        let Some(Batch { kind: OrderKind::Tasks { job, first, .. }, .. }) = batch else { return false };
        self.get(job).is_some_and(|job| job.dropped.contains(&first))
    }

    /// Whether the results of the job's tasks are folded.
    pub(super) fn folds(&self, id: JobId) -> bool {
        self.get(id).is_some_and(|job| job.plan.folds)
    }

    /// The job, to be changed. It is counted anew when this is dropped.
    pub(super) fn edit(&mut self, id: JobId) -> Option<Edit<'_>> {
        count_looks(1);
        let job = self.by_id.get_mut(&id)?;
        Some(Edit { id, job, counts: &mut self.counts })
    }

    /// Counts outcomes that the caller has taken. What is counted over all jobs does not depend on them. Returns
    /// whether each worker gets a task of the job: then more of them may be assigned.
    pub(super) fn release(&mut self, id: JobId, count: u64, bytes: u64) -> bool {
        let Some(job) = self.by_id.get_mut(&id) else { return false };
        job.release(count, bytes);
        job.plan.each_worker == Some(EachWorker::RunsTask)
    }

    /// Notes how many items wait to be sent. What is counted over all jobs depends on that only where the job is not
    /// known to have so many tasks anyway.
    pub(super) fn set_waiting(&mut self, id: JobId, count: u64) {
        let Some(job) = self.by_id.get_mut(&id) else { return };
        let known = job.known();
        job.waiting = count;
        if job.known() != known {
            self.counts.update(id, job);
        }
    }

    /// Adds an open job.
    pub(super) fn insert(&mut self, id: JobId, mut job: Box<Job>) {
        if let Some(lifespan) = job.plan.lifespan {
            self.lifespans.insert(lifespan);
        }
        if let Some(profile) = job.plan.profile {
            let profile = self.profile_mut(profile);
            profile.users += 1;
            if let Some(limit) = job.plan.init_limit_ns {
                profile.limits.insert(limit);
            }
            profile.limit_ns = profile.limits.min();
        }
        self.counts.update(id, &mut job);
        self.by_id.insert(id, job);
    }

    /// Marks a job as left. False if it is not open.
    pub(super) fn leave(&mut self, id: JobId) -> bool {
        let Some(mut job) = self.edit(id).filter(|job| job.open) else { return false };
        job.open = false;
        job.backlog.clear();
        let put_off = job.put_off.take();
        let (lifespan, profile, limit) = (job.plan.lifespan, job.plan.profile, job.plan.init_limit_ns);
        drop(job);
        for (index, (_, until)) in put_off.into_iter().flat_map(|tasks| tasks.delayed) {
            self.delays.remove(&(until, id, index));
        }
        lifespan.into_iter().for_each(|lifespan| self.lifespans.remove(lifespan));
        if let Some(profile) = profile {
            let profile = self.profile_mut(profile);
            profile.users -= 1;
            limit.into_iter().for_each(|limit| profile.limits.remove(limit));
            if profile.users > 0 {
                profile.limit_ns = profile.limits.min();
            }
        }
        true
    }

    /// Lets a task, of which this attempt has failed, wait until this time.
    pub(super) fn delay(&mut self, id: JobId, index: TaskIndex, attempts: u32, until: u64) {
        let Some(mut job) = self.edit(id) else { return };
        job.put_off_mut().delayed.insert(index, (attempts, until));
        drop(job);
        self.delays.insert((until, id, index));
    }

    /// Ends the wait of a task, if it waits. Returns the number of its last attempt.
    pub(super) fn end_delay(&mut self, id: JobId, index: TaskIndex) -> Option<u32> {
        self.get(id)?.put_off.as_ref()?.delayed.get(&index)?;
        let (attempts, until) = self.edit(id)?.put_off_mut().delayed.remove(&index)?;
        self.delays.remove(&(until, id, index));
        Some(attempts)
    }

    /// The task whose wait ends first, and when that is.
    pub(super) fn first_delayed(&self) -> Option<(u64, JobId, TaskIndex)> {
        self.delays.first().copied()
    }

    /// Removes a job that was left.
    pub(super) fn remove(&mut self, id: JobId) {
        let job = self.by_id.remove(&id);
        debug_assert!(job.is_none_or(|job| Facts::of(&job) == Facts::default()));
    }

    /// How many have something to hand out.
    pub(super) fn with_work(&self) -> usize {
        self.counts.with_work
    }

    /// How many workers they could keep busy, all together.
    pub(super) fn demand(&self) -> u64 {
        self.counts.demand
    }

    /// Looks at each.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.by_id.values().inspect(|_| count_looks(1)).map(|job| &**job)
    }

    /// Whether an open job has tasks without an outcome.
    pub(super) fn are_any_unfinished(&self) -> bool {
        self.counts.unfinished > 0
    }

    /// The jobs that have tasks to be sent again; first those that have no other tasks under way.
    pub(super) fn with_backlog(&self) -> impl Iterator<Item = JobId> {
        self.counts.with_backlog.iter().map(|(_, job)| *job)
    }

    /// The shortest lifespan that an open job asks for.
    pub(super) fn lifespan(&self) -> u64 {
        self.lifespans.min().unwrap_or(u64::MAX)
    }

    /// The profiles that open jobs use.
    pub(super) fn profiles_in_use(&self) -> impl Iterator<Item = ProfileId> {
        let used = self.profiles.iter().enumerate().filter(|(_, profile)| profile.users > 0);
        used.map(|(place, _)| ProfileId::at(place))
    }

    /// A profile that some job has used.
    pub(super) fn profile(&self, profile: ProfileId) -> Option<&Profile> {
        self.profiles.get(profile.index())
    }

    pub(super) fn profile_mut(&mut self, profile: ProfileId) -> &mut Profile {
        let place = profile.index();
        if place >= self.profiles.len() {
            self.profiles.resize_with(place + 1, Profile::default);
        }
        &mut self.profiles[place]
    }

    /// Notes that there is a new worker, which has none of the profiles that no open job uses.
    pub(super) fn worker_started(&mut self) {
        for profile in self.profiles.iter_mut().filter(|profile| profile.users == 0) {
            profile.is_everywhere = false;
        }
    }

    /// The open jobs for which this holds, oldest first. Looks at each.
    pub(super) fn open_where(&self, which: impl Fn(&Job) -> bool) -> Vec<JobId> {
        count_looks(self.by_id.len());
        let holds = |(id, job): (&JobId, &Box<_>)| {
            let job: &Job = job;
            (job.open && which(job)).then_some(*id)
        };
        let mut ids: Vec<JobId> = self.by_id.iter().filter_map(holds).collect();
        ids.sort_unstable();
        ids
    }
}

/// A job that is being changed.
pub(super) struct Edit<'j> {
    id: JobId,
    job: &'j mut Job,
    counts: &'j mut Counts,
}

impl Deref for Edit<'_> {
    type Target = Job;

    fn deref(&self) -> &Job {
        self.job
    }
}

impl DerefMut for Edit<'_> {
    fn deref_mut(&mut self) -> &mut Job {
        self.job
    }
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        self.counts.update(self.id, self.job);
    }
}

impl Counts {
    fn update(&mut self, id: JobId, job: &mut Job) {
        let now = Facts::of(job);
        let was = std::mem::replace(&mut job.counted, now);
        if was == now {
            return;
        }
        self.with_work = self.with_work + usize::from(now.has_work) - usize::from(was.has_work);
        self.unfinished = self.unfinished + usize::from(now.is_unfinished) - usize::from(was.is_unfinished);
        self.demand = self.demand + now.demand - was.demand;
        if was.backlog != now.backlog {
            was.backlog.into_iter().for_each(|rank| _ = self.with_backlog.remove(&(rank, id)));
            self.with_backlog.extend(now.backlog.map(|rank| (rank, id)));
        }
    }
}

/// Numbers, each as often as it was inserted.
#[derive(Debug, Default)]
struct Multiset(BTreeMap<u64, usize>);

impl Multiset {
    fn insert(&mut self, number: u64) {
        *self.0.entry(number).or_default() += 1;
    }

    fn remove(&mut self, number: u64) {
        if let Some(times) = self.0.get_mut(&number) {
            *times -= 1;
            if *times == 0 {
                self.0.remove(&number);
            }
        }
    }

    fn min(&self) -> Option<u64> {
        self.0.first_key_value().map(|(number, _)| *number)
    }
}

#[cfg(test)]
impl Jobs {
    /// How many workers each job waits for.
    pub(super) fn awaiting(&self) -> BTreeMap<JobId, u64> {
        let counts = self.by_id.iter().map(|(id, job)| (*id, job.awaiting));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    pub(super) fn profiles_everywhere(&self) -> impl Iterator<Item = ProfileId> {
        let known = self.profiles.iter().enumerate().filter(|(_, profile)| profile.is_everywhere);
        known.map(|(place, _)| ProfileId::at(place))
    }

    /// Compares the counts with a look at each job.
    pub(super) fn check(&self) {
        let facts: Vec<_> = self.by_id.iter().map(|(id, job)| (*id, Facts::of(job))).collect();
        assert_eq!(self.counts.with_work, facts.iter().filter(|(_, facts)| facts.has_work).count());
        assert_eq!(self.counts.unfinished, facts.iter().filter(|(_, facts)| facts.is_unfinished).count());
        let with_backlog = facts.iter().filter_map(|(id, facts)| Some((facts.backlog?, *id))).collect();
        assert_eq!(self.counts.with_backlog, with_backlog);
        assert_eq!(self.counts.demand, facts.iter().map(|(_, facts)| facts.demand).sum::<u64>());
        let open = || self.by_id.values().filter(|job| job.open);
        assert_eq!(self.lifespan(), open().filter_map(|job| job.plan.lifespan).min().unwrap_or(u64::MAX));
        for (place, profile) in self.profiles.iter().enumerate() {
            let users = || open().filter(move |job| job.plan.profile == Some(ProfileId::at(place)));
            assert_eq!(profile.users, users().count());
            assert_eq!(profile.limits.min(), users().filter_map(|job| job.plan.init_limit_ns).min());
        }
        let delayed = |(id, job): (&JobId, &Box<_>)| {
            let job: &Job = job;
            let tasks = job.put_off.iter().flat_map(|tasks| &tasks.delayed);
            tasks.map(|(index, (_, until))| (*until, *id, *index)).collect::<Vec<_>>()
        };
        assert_eq!(self.delays, self.by_id.iter().flat_map(delayed).collect());
        for job in self.by_id.values() {
            assert_eq!(job.in_flight, job.queued.workers().map(|worker| job.queued_at(worker)).sum::<u64>());
        }
    }
}
