//! How calls that have no caller are opened: one by one, or several that follow each other closely as one.

use super::*;
use crate::job::batch::{Batch, PendingBatch};
use crate::job::completion::Completion;
use crate::job::pending::PendingCall;
use crate::job::retry::Judge;
use crate::job::room::Places;
use crate::observe::progress::Progress;
use crate::sys::clock::now_ns;
use crate::work::JobSpec;

impl BackgroundDriver {
    /// Opens a call whose result goes to `completion`.
    pub(in crate::job) fn submit(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        spec: JobSpec,
        completion: &Arc<Completion>,
        (progress, places): (Option<Progress>, Option<Places>),
        judge: Option<Judge>,
    ) -> Result<JobId, Error> {
        let mut state = self.lock();
        let job = self.open_call(&state, engine, spec)?;
        let completion = Arc::clone(completion);
        state.shown += usize::from(progress.is_some());
        let call = PendingCall::new(completion, progress, places, judge);
        state.calls.insert(job, Pending::Whole(call));
        self.start_for(job, state, engine)?;
        Ok(job)
    }

    /// Opens a call of one task, or leaves that to the background driver, which then opens several at once.
    pub(in crate::job) fn submit_single(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        call: Batch,
    ) -> Result<(), Error> {
        let mut gathering = self.gathering();
        if gathering.takes(now_ns()) {
            let is_first = gathering.add(call);
            drop(gathering);
            if is_first {
                engine.summon_background();
            }
            return Ok(());
        }
        drop(gathering);
        let mut state = self.lock();
        let job = self.open(&mut state, engine, call).map_err(|(error, _)| error)?;
        self.start_for(job, state, engine)
    }

    /// Opens a call. This starts the workers before the thread, because fork is refused while there are other threads.
    /// Nothing is sent before there is a thread: without one the call is no call.
    fn open_call(&self, state: &State, engine: &Engine, spec: JobSpec) -> Result<JobId, Error> {
        let has_thread = self.is_running.load(Ordering::SeqCst) || state.is_lingering;
        let opened = if has_thread { engine.open(spec) } else { engine.open_unsent(spec) };
        opened.map(|opened| opened.job)
    }

    /// Starts the thread for this new call. If that fails, closes the call.
    fn start_for(
        self: &Arc<Self>,
        job: JobId,
        mut state: MutexGuard<'_, State>,
        engine: &Arc<Engine>,
    ) -> Result<(), Error> {
        let started = self.start(&mut state, engine);
        if started.is_err() {
            let call = state.calls.remove(&job);
            state.shown -= usize::from(matches!(&call, Some(Pending::Whole(call)) if call.is_shown()));
            drop(state);
            engine.close(job);
        }
        started
    }

    /// Opens calls as one. If that fails, returns why, and who waits for their results.
    fn open(
        &self,
        state: &mut State,
        engine: &Engine,
        calls: Batch,
    ) -> Result<JobId, (Error, Vec<Arc<Completion>>)> {
        let (spec, results, judge) = calls.into_parts();
        match self.open_call(state, engine, spec) {
            Ok(job) => {
                let (batch, cancelled) = PendingBatch::opened(results, job, judge);
                state.calls.insert(job, Pending::Batch(batch));
                cancelled.into_iter().for_each(|index| engine.drop_task_silently(job, index));
                Ok(job)
            }
            Err(error) => Err((error, results)),
        }
    }

    /// Opens the calls that were gathered.
    pub(crate) fn open_gathered(&self, engine: &Engine) {
        let mut notices = Vec::new();
        {
            let mut state = self.lock();
            let gathered = self.gathering().take();
            for calls in gathered {
                if let Err((error, results)) = self.open(&mut state, engine, calls) {
                    let results = results.into_iter();
                    notices.extend(results.filter_map(|result| result.complete(Err(error.clone()))));
                }
            }
        }
        self.callbacks.post(notices.into_iter().map(Notice::Run));
    }
}
