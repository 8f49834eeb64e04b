//! What a pool does now, and what it has done so far.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::insights::WorkerInsights;
use crate::error::TaskErrorKind;
use crate::supervise::Census;

/// What a pool does now, and what it has done since it was built; from [`WorkerPool::stats`](crate::WorkerPool::stats).
///
/// A task counts as done or failed when its outcome reaches the program, before its caller has it. `Display` gives
/// three lines. It can be serialized; fields may be added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    up: usize,
    busy: usize,
    starting: usize,
    backing_off: usize,
    queued: u64,
    running: u64,
    done: u64,
    failed: BTreeMap<String, u64>,
    starts: u64,
    restarts: u64,
    deaths: u64,
    retries: u64,
    bytes_sent: u64,
    bytes_received: u64,
}

/// The outcomes of tasks, counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    done: u64,
    failed: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn add_done(&mut self, count: u64) {
        self.done += count;
    }

    pub(super) fn add_failed(&mut self, kind: &TaskErrorKind) {
        *self.failed.entry(kind.name()).or_default() += 1;
    }
}

impl Stats {
    pub(super) fn new(census: &Census, tally: &Tally, workers: &[WorkerInsights]) -> Self {
        let sum = |of: fn(&WorkerInsights) -> u64| workers.iter().map(of).sum();
        Self {
            up: census.up,
            busy: census.busy,
            starting: census.starting,
            backing_off: census.backing_off,
            queued: census.unfinished.saturating_sub(census.running),
            running: census.running,
            done: tally.done,
            failed: tally.failed.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            starts: sum(|worker| worker.starts.into()),
            restarts: sum(|worker| worker.starts.saturating_sub(1).into()),
            deaths: sum(|worker| worker.deaths.into()),
            retries: sum(|worker| worker.retries.into()),
            bytes_sent: sum(|worker| worker.bytes_sent),
            bytes_received: sum(|worker| worker.bytes_received),
        }
    }

    /// Counts tasks that are not even open yet.
    pub(crate) fn add_queued(mut self, count: u64) -> Self {
        self.queued += count;
        self
    }

    // ---- workers ----

    /// How many workers are up: idle ones, busy ones, and those that are about to end.
    #[must_use]
    pub fn up(&self) -> usize {
        self.up
    }

    /// How many of them have something to do: a task, or an init or exit function.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// How many workers are being started.
    #[must_use]
    pub fn starting(&self) -> usize {
        self.starting
    }

    /// How many workers could not be started, or ended at once several times, and wait before they are started again.
    #[must_use]
    pub fn backing_off(&self) -> usize {
        self.backing_off
    }

    /// How often any worker was started.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.starts
    }

    /// How many of these starts were in the place of an earlier worker.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// How many workers ended without being told to.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.deaths
    }

    // ---- tasks ----

    /// How many tasks wait: their calls have taken the items from their inputs, and no worker runs them yet.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// How many tasks are at the head of a worker that is up: at most one a worker. Very short tasks may have run
    /// already.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.running
    }

    /// How many tasks have given a result.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// How many tasks have failed, after their retries. One whose call was over by then counts nowhere; one whose
    /// result cannot be decoded counts as done.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// The same by the kind of failure, named as in the [JSON form](crate::TaskErrorKind#in-a-log-or-a-report) of
    /// [`TaskErrorKind`]: `"panicked"`, `"died"`, and so on. Kinds that did not occur are left out.
    #[must_use]
    pub fn failed_by_kind(&self) -> &BTreeMap<String, u64> {
        &self.failed
    }

    /// How often a task was tried again.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries
    }

    // ---- bytes ----

    /// The bytes of orders to workers: arguments, and a few bytes around them.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }

    /// The bytes of results.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.bytes_received
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { up, busy, starting, backing_off, queued, running, done, .. } = self;
        let Self { starts, deaths, retries, bytes_sent, bytes_received, .. } = self;
        writeln!(
            f,
            "workers: {up} up, {busy} busy, {starting} starting, {backing_off} backing off; \
             {starts} starts, {deaths} deaths"
        )?;
        write!(f, "tasks: {queued} queued, {running} running, {done} done, {} failed", self.failed())?;
        for (place, (kind, count)) in self.failed.iter().enumerate() {
            write!(f, "{}{count} {}", if place == 0 { " (" } else { ", " }, kind.replace('_', " "))?;
        }
        let close = if self.failed.is_empty() { "" } else { ")" };
        writeln!(f, "{close}; {retries} retries")?;
        write!(f, "bytes: {bytes_sent} sent, {bytes_received} received")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_shown_and_stored() {
        let mut tally = Tally::default();
        tally.add_done(7);
        for kind in [TaskErrorKind::TimedOut(Duration::ZERO), TaskErrorKind::Encode("why".into())] {
            tally.add_failed(&kind);
            tally.add_failed(&kind);
        }
        let census = Census { up: 2, busy: 1, starting: 3, backing_off: 4, unfinished: 6, running: 1 };
        let worker =
            WorkerInsights { starts: 3, deaths: 2, retries: 1, bytes_sent: 5, ..WorkerInsights::default() };
        let stats = Stats::new(&census, &tally, &[worker, WorkerInsights::default(), worker]).add_queued(1);
        assert_eq!((stats.queued(), stats.failed(), stats.restarts()), (6, 4, 4));
        assert_eq!(
            stats.to_string(),
            "workers: 2 up, 1 busy, 3 starting, 4 backing off; 6 starts, 4 deaths\n\
             tasks: 6 queued, 1 running, 7 done, 4 failed (2 encode, 2 timed out); 2 retries\n\
             bytes: 10 sent, 0 received"
        );
        let stored = serde_json::to_string(&stats).unwrap();
        assert!(stored.contains(r#""failed":{"encode":2,"timed_out":2}"#), "{stored}");
        assert_eq!(serde_json::from_str::<Stats>(&stored).unwrap(), stats);
    }
}
