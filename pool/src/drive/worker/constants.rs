//! The constants of calls that one worker has.
//!
//! A constant goes to a worker once a call, before the first chunk of the call. The worker keeps those of all open
//! calls, so that calls that take turns send theirs only once, too; a small order says which one the next chunks need.
//! When the call is closed, the worker is told to forget it.
//!
//! Orders about constants have no units, and the supervisor knows nothing of them: a worker carries them out in order,
//! even between a recall and `RESUME`. It acknowledges each like a part of an item, which frees its space.

use super::WorkerHandle;
use crate::ids::JobId;
use crate::lane::order;
use crate::wire::{ConstantAction, ConstantOrder};
use crate::work::Constant;

/// The constants that the worker has, once it has carried out its orders.
#[derive(Default)]
pub(super) struct Constants {
    kept: Vec<JobId>,
    /// That of the call whose chunk was sent last, of those with constants.
    current: Option<JobId>,
}

impl WorkerHandle {
    /// Whether the next chunks would find the constant of this call, if it has one.
    pub(in crate::drive) fn is_provided(&self, job: JobId, constant: Option<&Constant>) -> bool {
        constant.is_none() || self.constants.current == Some(job)
    }

    /// Sees to it that the next chunks find the constant of this call, if it has one. It may have to wait for space in
    /// the lane, and a task must follow, behind it: only a worker that has a task to answer is looked after.
    pub(in crate::drive) fn provide(&mut self, job: JobId, constant: Option<&Constant>) {
        let Some(constant) = constant else { return };
        let Constants { kept, current } = &mut self.constants;
        if *current == Some(job) {
            return;
        }
        *current = Some(job);
        let (action, constant) = if kept.contains(&job) {
            (ConstantAction::Use, None)
        } else {
            kept.push(job);
            (ConstantAction::Keep, Some(constant.clone()))
        };
        let order = ConstantOrder { call: job.number(), action };
        self.outbox.send(&mut self.lane, order::CONSTANT, &order.to_bytes(), constant, 0);
    }

    /// Tells the worker that this call is over, if it has its constant.
    pub(in crate::drive) fn forget(&mut self, job: JobId) {
        let Constants { kept, current } = &mut self.constants;
        let Some(place) = kept.iter().position(|kept| *kept == job) else { return };
        kept.swap_remove(place);
        *current = current.filter(|current| *current != job);
        let order = ConstantOrder { call: job.number(), action: ConstantAction::Forget };
        self.outbox.send(&mut self.lane, order::CONSTANT, &order.to_bytes(), None, 0);
        self.wake();
    }
}
