//! Asynchronous calls that are open: the outcomes so far, and what is left to do at the end.

use std::sync::Arc;

use super::batch::PendingBatch;
use super::callbacks::Notice;
use super::completion::{Arrivals, Completion, run_callback};
use super::retry::Judge;
use super::room::Places;
use crate::engine::Engine;
use crate::error::Error;
use crate::ids::{JobId, TaskIndex};
use crate::observe::End;
use crate::observe::progress::Progress;
use crate::work::{Arrival, Asked, Inbox};

/// One call, or several that are open as one.
pub(super) enum Pending {
    Whole(PendingCall),
    Batch(PendingBatch),
}

impl Pending {
    /// Ends it with this error. Returns what is left to do for the user.
    pub(super) fn end(self, error: &Error) -> Vec<Notice> {
        let mut notices = Vec::new();
        match self {
            Self::Whole(call) => notices.extend(call.complete(End::Interrupted, Err(error.clone()))),
            Self::Batch(mut batch) => batch.end(error, &mut notices),
        }
        notices
    }

    /// What is left to do about failures that the caller is asked about.
    pub(super) fn ask(&self, engine: &Arc<Engine>, job: JobId, asked: Vec<Asked>) -> Vec<Notice> {
        match self {
            Self::Whole(PendingCall { judge: Some(judge), .. }) => {
                judge.notice(engine, job, asked, |index| index)
            }
            // Each of them is a call of its own, whose only task is the first.
            Self::Batch(PendingBatch { judge: Some(judge), .. }) => {
                judge.notice(engine, job, asked, |_| TaskIndex::default())
            }
            Self::Whole(_) | Self::Batch(_) => Vec::new(),
        }
    }

    /// Draws its bar again, if it has one.
    pub(super) fn tick(&self, job: JobId) -> Option<Notice> {
        let Self::Whole(PendingCall { progress, .. }) = self else { return None };
        Some(Notice::Count { job, progress: progress.clone()?, done: 0, failed: 0 })
    }
}

/// A running call. If it is dropped before it is complete, it completes as cancelled, so that nothing waits for it in
/// vain.
pub(super) struct PendingCall {
    completion: Arc<Completion>,
    inbox: Inbox,
    progress: Option<Progress>,
    /// Those of its tasks, where they are bounded.
    places: Option<Places>,
    /// Decides which failed tasks are tried again, if not the engine alone.
    judge: Option<Judge>,
}

impl PendingCall {
    pub(super) fn new(
        completion: Arc<Completion>,
        progress: Option<Progress>,
        places: Option<Places>,
        judge: Option<Judge>,
    ) -> Self {
        Self { completion, inbox: Inbox::default(), progress, places, judge }
    }

    /// Whether it shows its progress.
    pub(super) fn is_shown(&self) -> bool {
        self.progress.is_some()
    }

    /// Keeps new outcomes. Returns what its bar is to count.
    pub(super) fn append(&mut self, job: JobId, news: Inbox) -> Option<Notice> {
        let (done, failed) = news.outcomes();
        self.inbox.append(news);
        Some(Notice::Count { job, progress: self.progress.clone()?, done, failed })
    }

    /// Returns whether the outcomes so far decide the result of the call.
    pub(super) fn is_over(&self) -> bool {
        self.inbox.end.is_some() || self.inbox.outcomes().1 > 0
    }

    /// Completes the call with what has arrived. Returns what is left to do for the user.
    pub(super) fn finish(mut self) -> Option<Notice> {
        let Inbox { end, mut arrivals, tape, .. } = std::mem::take(&mut self.inbox);
        let end = end.unwrap_or(Ok(()));
        arrivals.sort_by_key(|arrival| arrival.index);
        let failed = arrivals.iter().position(Arrival::is_failed);
        if let Some(place) = failed {
            arrivals.drain(..place);
        }
        let how = if failed.is_some() { End::Failed } else { End::of(&end) };
        let content = match (end, failed) {
            (Err(error), None) => Err(error),
            _ => Ok(Arrivals::new(arrivals, tape)),
        };
        self.complete(how, content)
    }

    /// Ends the progress bar and delivers the result. Returns what is left to do for the user: with a bar, everything,
    /// because it must have ended when the result is there.
    fn complete(mut self, how: End, content: Result<Arrivals, Error>) -> Option<Notice> {
        // Whoever gets the result finds room for another task.
        drop(self.places.take());
        if self.progress.is_none() {
            return self.completion.complete(content).map(Notice::Run);
        }
        Some(Notice::Run(Box::new(move || {
            self.end_progress(how);
            self.completion.complete(content).into_iter().for_each(run_callback);
        })))
    }

    fn end_progress(&mut self, how: End) {
        if let Some(progress) = self.progress.take() {
            run_callback(|| progress.end(how));
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.end_progress(End::Interrupted);
        drop(self.places.take());
        if self.completion.content().is_none() {
            self.completion.complete(Err(Error::Cancelled)).into_iter().for_each(run_callback);
        }
    }
}
