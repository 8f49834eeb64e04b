//! Where a process finds out what it is: the main process, or a worker that this crate has started.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::cpu;
use crate::start::newborn;
use crate::sys::faults::note_std_handlers;
use crate::worker::LivesIn;

/// The first argument of a process that this crate starts.
pub(crate) const MARKER: &str = "__pool_worker__";
/// The second one. Where it stands, and the first, the process shows what it is.
pub(crate) const ROOM_FOR_A_TITLE: &str = "(starting)            ";

static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// Takes over in worker processes, and returns at once in all others. Must run before anything else that `main`
/// does: start methods `Spawn` and `ForkServer` start this program anew, and a worker's `main` must not go past this
/// call. The attribute `#[pool::main]` puts it there.
///
/// ```
/// pool::init();
/// // Only the main process comes here.
/// println!("{} CPUs", pool::cpu_count());
/// ```
pub fn init() {
    // Once only: later calls come from the main process, or from the user's code inside a worker.
    if INITIALIZED.swap(true, Ordering::Relaxed) {
        return;
    }
    note_std_handlers();
    cpu::note_start();
    if has_marker() {
        newborn::live();
    }
}

/// Whether `init` was called.
pub(crate) fn initialized() -> bool {
    INITIALIZED.load(Ordering::Relaxed)
}

/// Whether this process was started as a worker and runs the user's `main` nevertheless, since that did not begin
/// with `init`.
pub(crate) fn started_as_worker() -> bool {
    !initialized() && has_marker()
}

/// Asked once: a worker writes over its arguments.
fn has_marker() -> bool {
    static HAS_MARKER: OnceLock<bool> = OnceLock::new();
    *HAS_MARKER.get_or_init(|| std::env::args_os().nth(1).is_some_and(|argument| argument == MARKER))
}

/// Who runs here.
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

/// Who runs on this thread: what the thread itself is, or else what its process is.
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

/// Whether this process is a worker; with `Threads` workers live in the main process.
pub(crate) fn is_worker_process() -> bool {
    role_of_process() != Role::Main
}

/// This process, or this thread, is a worker from here on.
pub(crate) fn enter_worker(daemon: bool, lives_in: LivesIn) {
    let role = if daemon { Role::DaemonicWorker } else { Role::Worker };
    match lives_in {
        LivesIn::Thread => THREAD.set(role),
        LivesIn::Process => PROCESS.store(role as u8, Ordering::Relaxed),
    }
}

/// Lets `Spawn` and `ForkServer` workers start in a test program, whose `main` belongs to the test harness: put it
/// once into the test crate, outside of all functions.
///
/// ```
/// pool::test_support!();
/// ```
#[macro_export]
macro_rules! test_support {
    () => {
        const _: () = {
            extern "C" fn boot() {
                $crate::init();
            }
            // The C library runs what stands in this section before it calls `main`.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static BOOT: extern "C" fn() = boot;
        };
    };
}
