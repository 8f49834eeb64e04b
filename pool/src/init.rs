//! What runs first in every process of a program that uses pools.

use crate::role;
use crate::start::child;
use crate::sys::cpu;
use crate::sys::faults::note_std_handlers;

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
    if !role::note_init() {
        return;
    }
    note_std_handlers();
    cpu::note_start();
    if role::has_marker() {
        child::live();
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
