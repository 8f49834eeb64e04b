//! The clock of the process.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// When the clock began, so that no time is 0, which means "never" in places.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
const FIRST: Duration = Duration::from_secs(1);

/// A time that never goes back, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    (BEGINNING.elapsed() + FIRST).as_nanos() as u64
}
