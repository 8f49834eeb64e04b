//! What a call asks of whoever carries it out.

use super::Plan;
use crate::wire::ExecFlags;

/// A call, before it is opened.
pub(crate) struct JobSpec {
    pub(crate) task: TaskRef,
    /// The worker state that its tasks run on, if they have one.
    pub(crate) profile: Option<ProfileSpec>,
    pub(crate) flags: ExecFlags,
    pub(crate) plan: Plan,
    /// Somebody watches how far it is.
    pub(crate) is_shown: bool,
    /// No caller waits for it: the background driver takes what comes.
    pub(crate) is_background: bool,
    /// Items that are encoded already. If there are any, no others follow.
    pub(crate) encoded: Vec<Vec<u8>>,
}

/// A task function, as both sides know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskRef {
    /// Its index in the registry.
    pub(crate) index: u32,
    pub(crate) name: &'static str,
}

/// How a worker state begins and ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProfileSpec {
    /// The key of the state's type.
    pub(crate) state_type: u64,
    /// A task that has such a state, by its index in the registry: it knows the type's `Default`.
    pub(crate) task: u32,
    pub(crate) init: Option<u32>,
    pub(crate) exit: Option<u32>,
}

impl ProfileSpec {
    /// Whether tasks with these two can share one state: whose `Default` made it does not matter.
    pub(crate) fn is_same_state(&self, other: &Self) -> bool {
        (self.state_type, self.init, self.exit) == (other.state_type, other.init, other.exit)
    }
}
