//! The threads of this process.

use std::env;
use std::io;
use std::sync::LazyLock;
use std::thread::{Builder, JoinHandle};

use super::own_stack;

/// Does nothing: only forks care about threads.
pub(crate) fn expect_own() {}

/// Does nothing, like [`expect_own`].
pub(crate) fn become_resting() {}

/// Waits.
pub(crate) fn rest<R>(wait: impl FnOnce() -> R) -> R {
    wait()
}

/// How often this thread has waited, if the system tells.
pub(crate) fn waits() -> Option<i64> {
    None
}

/// Notes that this is the program's first thread, and that it has just begun.
pub(crate) fn note_main() {
    /// The least that a system gives, which is what Windows does.
    const LEAST: usize = 1 << 20;
    own_stack::begin(LEAST);
}

/// The size of a process's first stack, as most systems have it. Only the part that is used takes memory.
pub(crate) fn main_stack() -> usize {
    8 << 20
}

/// As much stack as std gives a thread.
static USUAL_STACK: LazyLock<usize> = LazyLock::new(|| {
    let asked = env::var_os("RUST_MIN_STACK").and_then(|bytes| bytes.to_str()?.parse().ok());
    asked.unwrap_or(2 << 20)
});

/// Starts a thread with this name and stack, by default with as much as std gives.
pub(crate) fn spawn<T: Send + 'static>(
    name: String,
    stack: Option<usize>,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let stack = stack.unwrap_or(*USUAL_STACK);
    Builder::new().name(name).stack_size(stack).spawn(move || {
        own_stack::begin(stack);
        run()
    })
}
