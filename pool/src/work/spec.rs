//! The description of a call, which the engine gets to carry it out.

use std::sync::Arc;

use super::{Items, Plan};
use crate::error::CallSite;
use crate::wire::ExecFlags;

/// A call, before it is opened.
pub(crate) struct JobSpec {
    pub(crate) task: FunctionRef,
    /// The profile of the worker state that its tasks use, if any.
    pub(crate) profile: Option<ProfileSpec>,
    /// The constant that its tasks need, if they take one.
    pub(crate) constant: Option<Constant>,
    pub(crate) flags: ExecFlags,
    pub(crate) plan: Box<Plan>,
    /// When it ends at the latest, in nanoseconds.
    pub(crate) deadline_ns: Option<u64>,
    /// Where it was made.
    pub(crate) site: CallSite,
    /// Its progress is shown.
    pub(crate) is_shown: bool,
    /// No caller waits for it: the background driver takes its results.
    pub(crate) is_background: bool,
    /// The whole input, if it is encoded already.
    pub(crate) input: Option<EncodedInput>,
}

/// The whole input of a call, encoded.
pub(crate) enum EncodedInput {
    Items(Box<Items>),
    /// The one item of all tasks, if each worker gets a task; or why it could not be encoded.
    OneForEach(Result<Vec<u8>, String>),
}

/// A constant of a call, encoded.
pub(crate) type Constant = Arc<Vec<u8>>;

/// A function of the registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FunctionRef {
    /// Its index there, by which both sides know it.
    pub(crate) index: u32,
    pub(crate) name: &'static str,
}

impl PartialEq for FunctionRef {
    /// Names need not be unique.
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}

/// The functions that make and end a worker state.
#[derive(Debug, Clone)]
pub(crate) struct ProfileSpec {
    /// The key of the state's type.
    pub(crate) state_type: u64,
    /// The index in the registry of a task with such a state. Its glue knows the type's `Default`.
    pub(crate) task: u32,
    pub(crate) init: Option<FunctionRef>,
    pub(crate) exit: Option<FunctionRef>,
    /// The constant that the init function gets, if it takes one.
    pub(crate) constant: Option<Constant>,
}

impl ProfileSpec {
    /// Whether tasks with these profiles can share one state. The task whose `Default` made it does not matter.
    pub(crate) fn is_same_state(&self, other: &Self) -> bool {
        (self.state_type, self.init, self.exit) == (other.state_type, other.init, other.exit)
            && self.constant == other.constant
    }
}
