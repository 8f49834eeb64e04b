//! Without the feature `tracing` nobody is told.

use crate::error::{Death, TaskErrorKind};
use crate::observe::logs;

#[derive(Debug, Default)]
pub(crate) struct Events {}

impl Events {
    pub(crate) fn started(&mut self, _: usize, _: Option<i32>, _: u32) {}

    pub(crate) fn not_started(&mut self, _: usize, _: &impl ToString) {}

    pub(crate) fn lost(&mut self, _: usize, _: &'static str, _: crate::ids::TaskIndex, _: &TaskErrorKind) {}

    pub(crate) fn died(&mut self, _: usize, _: Death, _: Option<&str>) {}

    pub(crate) fn ended(&mut self, _: usize) {}

    pub(crate) fn logged(&mut self, _: usize, record: logs::Record) {
        match record {}
    }

    #[inline]
    pub(crate) fn tell(self) {}
}
