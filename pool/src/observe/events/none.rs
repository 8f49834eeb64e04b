//! Without the feature `tracing` nobody is told.

use crate::error::{Death, TaskErrorKind};
use crate::ids::{TaskIndex, WorkerId};
use crate::observe::logs;

#[derive(Debug, Default)]
pub(crate) struct Events {}

impl Events {
    pub(crate) fn started(&mut self, _: WorkerId, _: Option<i32>, _: u32) {}

    pub(crate) fn not_started(&mut self, _: WorkerId, _: &impl ToString) {}

    pub(crate) fn lost(&mut self, _: WorkerId, _: &'static str, _: TaskIndex, _: &TaskErrorKind) {}

    pub(crate) fn died(&mut self, _: WorkerId, _: Death, _: Option<&str>) {}

    pub(crate) fn ended(&mut self, _: WorkerId) {}

    pub(crate) fn logged(&mut self, _: WorkerId, record: logs::Record) {
        match record {}
    }

    #[inline]
    pub(crate) fn tell(self) {}
}
