//! The role of this process or thread: the user's own program, or a worker that this crate started.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// The first argument of a process that this crate starts.
pub(crate) const MARKER: &str = "__pool_worker__";
/// The second argument. The process overwrites both to show in `ps` what it is.
pub(crate) const ROOM_FOR_A_TITLE: &str = "(starting)            ";

static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// Notes that `init` runs. False if it has run before.
pub(crate) fn note_init() -> bool {
    !INITIALIZED.swap(true, Ordering::Relaxed)
}

/// Whether `init` was called.
pub(crate) fn initialized() -> bool {
    INITIALIZED.load(Ordering::Relaxed)
}

/// Whether this process was started as a worker but runs the user's `main`, because that did not begin with `init`.
pub(crate) fn started_as_worker() -> bool {
    !initialized() && has_marker()
}

/// Whether a pool started this process. Cached, because a worker overwrites its arguments.
pub(crate) fn has_marker() -> bool {
    static HAS_MARKER: OnceLock<bool> = OnceLock::new();
    *HAS_MARKER.get_or_init(|| std::env::args_os().nth(1).is_some_and(|argument| argument == MARKER))
}

/// The kind of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerKind {
    Process,
    Thread,
}

/// The role of a process or thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Role {
    /// The user's own program.
    Main,
    /// A worker that may have pools of its own.
    Worker,
    /// A worker that may not.
    DaemonicWorker,
}

static PROCESS: AtomicU8 = AtomicU8::new(Role::Main as u8);

thread_local! {
    static THREAD: Cell<Role> = const { Cell::new(Role::Main) };
}

/// The role of this thread: its own, or else that of its process.
pub(crate) fn role() -> Role {
    match THREAD.get() {
        Role::Main => role_of_process(),
        worker => worker,
    }
}

fn role_of_process() -> Role {
    match PROCESS.load(Ordering::Relaxed) {
        worker if worker == Role::Worker as u8 => Role::Worker,
        daemonic if daemonic == Role::DaemonicWorker as u8 => Role::DaemonicWorker,
        _ => Role::Main,
    }
}

/// Whether this process is a worker. With `Threads`, workers live in the main process.
#[cfg(feature = "progress")]
pub(crate) fn is_worker_process() -> bool {
    role_of_process() != Role::Main
}

/// Makes this process, or this thread, a worker from now on.
pub(crate) fn enter_worker(daemon: bool, kind: WorkerKind) {
    let role = if daemon { Role::DaemonicWorker } else { Role::Worker };
    match kind {
        WorkerKind::Thread => THREAD.set(role),
        WorkerKind::Process => PROCESS.store(role as u8, Ordering::Relaxed),
    }
}
