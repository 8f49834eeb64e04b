//! The engine carries calls out. Calls and pools use it only through this name and these methods: `open`, `turn`,
//! `wait`, `close`, `quiesce` and `cancel` for one call; `turn_background` for all calls in the background;
//! `wait_idle`, `shut_down`, `wait_stopped` and `terminate` for the whole pool.
//!
//! So far there is one engine. Its workers run on this machine.

pub(crate) use crate::drive::{Awaits, LocalEngine as Engine, Opened, Submission};
