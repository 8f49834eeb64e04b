//! Who carries calls out. Calls and pools know it by this name only, and by what it does: `open`, `turn`, `wait`,
//! `close`, `quiesce` and `cancel` for a call; `turn_background` for those that nobody waits for; `wait_idle`,
//! `shut_down`, `wait_stopped` and `terminate` for the pool as a whole.
//!
//! There is one so far, workers of this machine.

pub(crate) use crate::drive::{Awaits, LocalEngine as Engine};
