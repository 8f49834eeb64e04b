//! The end of a worker: told, forced, and noticed.

use super::*;

impl WorkerHandle {
    pub(in crate::drive) fn pid(&self) -> Option<i32> {
        self.process().map(Process::pid)
    }

    pub(in crate::drive) fn kill(&mut self) {
        self.is_killed = true;
        self.process_mut().into_iter().for_each(Process::kill);
    }

    /// Kills it because it has sent something that no sound worker sends.
    pub(super) fn kill_corrupt(&mut self) {
        self.is_corrupt = true;
        self.kill();
    }

    /// Begins its end when the pool is dropped. An idle process leaves by itself, a busy one is killed. A thread leaves
    /// after its task.
    pub(in crate::drive) fn dismiss(&mut self, is_idle: bool) {
        match &mut self.child {
            Some(Child::Process(process)) if self.is_corrupt || !is_idle => process.kill(),
            Some(Child::Process(_) | Child::Thread(_)) => self.lane.close(),
            None => {}
        }
    }

    /// Kills it if it has not ended within this time.
    pub(in crate::drive) fn end_within(&mut self, limit: Duration) {
        if let Some(process) = self.process_mut()
            && process.reap_within(limit).is_none()
        {
            process.kill();
        }
    }

    /// Whether the poll set would not report its end.
    pub(in crate::drive) fn is_unwatched(&self) -> bool {
        self.process().is_some_and(Process::is_unwatched)
    }

    /// Whether it was killed and has not ended yet.
    pub(in crate::drive) fn is_dying(&self) -> bool {
        self.process().is_some_and(Process::is_dying)
    }

    /// Whether it was killed so long ago that the pool no longer waits for its end.
    pub(in crate::drive) fn is_stuck(&self) -> bool {
        self.process().is_some_and(Process::is_stuck)
    }

    /// Whether it is a thread that has ended. The poll set does not report that.
    pub(in crate::drive) fn is_finished_thread(&self) -> bool {
        matches!(&self.child, Some(Child::Thread(thread)) if thread.is_finished())
    }

    /// Returns how it ended, if it has. If it is stuck, it counts as ended, and `keep_stuck` gets its handle.
    pub(in crate::drive) fn try_reap(&mut self, keep_stuck: impl FnOnce(Arc<Handle>)) -> Option<Death> {
        match &mut self.child {
            Some(Child::Process(process)) => match process.try_reap() {
                Some(status) => Some(status.into()),
                None if process.is_stuck() => {
                    keep_stuck(process.give_up());
                    Some(Death::new(DeathCause::Stuck))
                }
                None => None,
            },
            Some(Child::Thread(thread)) => thread.is_finished().then(|| Death::new(DeathCause::Exited(0))),
            None => None,
        }
    }

    /// Its control groups and memory, if SIGKILL has ended it.
    pub(in crate::drive) fn killed_as(&self) -> Option<&Killed> {
        self.process().and_then(Process::killed_as)
    }

    /// Whether it was killed as corrupt before its `READY` reply was taken. Only user code can have overwritten that
    /// reply, so the worker was ready.
    pub(in crate::drive) fn has_lost_ready(&self) -> bool {
        self.is_corrupt && !self.is_ready
    }

    /// Records its end, after its last reply was taken. `next` is the first unit without an answer.
    pub(in crate::drive) fn record_end(
        &mut self,
        worker: WorkerId,
        death: Death,
        next: Option<Unit>,
        observer: &mut Observer,
    ) -> &Ended {
        // A corrupt lane may have lost replies. A task that was started may be finished, and must not run again.
        let was_running = |unit| match self.is_corrupt {
            true => self.lane.has_started(unit),
            false => self.lane.is_running(unit),
        };
        let running = next.is_some_and(was_running);
        let death = if self.is_corrupt { Death::new(DeathCause::Corrupt) } else { death };
        let ended = observer.worker_ended(worker, &mut self.probes, death, running);
        self.stats.deaths = u32::from(!ended.is_orderly);
        self.ended.insert(ended)
    }

    /// Details of its end: the last lines on stderr, and why it could not be killed.
    pub(in crate::drive) fn end_notes(&self) -> EndNotes {
        let stderr_tail = self.ended.as_ref().and_then(|ended| ended.stderr_tail.clone());
        let kill_refused = self.process().and_then(Process::kill_refused);
        EndNotes { stderr_tail, kill_refused }
    }

    /// How it ended.
    pub(in crate::drive) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }
}
