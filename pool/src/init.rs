//! Code that runs first in every process of a program that uses pools.

use crate::role;
use crate::start;
use crate::sys::faults::note_std_handlers;
use crate::sys::{cpu, threads};

/// Takes over in worker processes, and returns at once in all others. Must be the first thing that `main` does: the
/// start methods `Spawn` and `ForkServer` execute this program again, and a worker's `main` must not get past this
/// call. The attribute `#[pool::main]` inserts it.
///
/// ```
/// pool::init();
/// // Only the main process gets here.
/// println!("{} CPUs", pool::cpu_count());
/// ```
pub fn init() {
    // Only the first call counts: later ones come from the main process, or from user code inside a worker.
    if !role::note_init() {
        return;
    }
    note_std_handlers();
    cpu::note_start();
    threads::note_main();
    if role::has_marker() {
        start::live();
    }
}

/// Lets `Spawn` and `ForkServer` workers start in a test program, whose `main` belongs to the test harness. Put it once
/// into the test crate, outside of any function.
///
/// ```
/// pool::test_support!();
/// ```
#[macro_export]
macro_rules! test_support {
    () => {
        const _: () = {
            // Elsewhere no worker starts a program again.
            #[cfg(target_os = "linux")]
            extern "C" fn boot() {
                $crate::init();
            }
            // The C library calls the functions in this section before `main`.
            #[cfg(target_os = "linux")]
            #[used]
            #[unsafe(link_section = ".init_array")]
            static BOOT: extern "C" fn() = boot;
        };
    };
}
