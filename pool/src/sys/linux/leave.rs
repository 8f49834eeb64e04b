//! The end of a process in good order: handlers of `atexit`, destructors of thread-local and static values, what was
//! printed, profiles of coverage, checks for leaks. All of it runs in `exit`.
//!
//! A fork has copies of the handlers that its program has registered, and the program's temporary files, locks and
//! connections are none of its business. So in a fork of the program the first thing that is registered is a handler
//! that ends the process: as handlers run in the reverse order, it comes behind those of the fork's own, and before the
//! program's. What measures the process and would have come with the latter is called by name there, if the program has
//! it. (Python clears its list in a fork for the same reason.)
#![allow(unsafe_code, reason = "registers exit handlers and calls what the linker may have found")]

use std::env;
use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStringExt;

use nix::libc;

use super::fork::flush;

/// What only some programs have; the linker leaves the others zero.
#[repr(C)]
struct Hooks {
    llvm_profile_set_filename: Option<unsafe extern "C" fn(*const c_char)>,
    llvm_profile_write_file: Option<unsafe extern "C" fn() -> c_int>,
    gcov_dump: Option<unsafe extern "C" fn()>,
    lsan_do_leak_check: Option<unsafe extern "C" fn()>,
}

unsafe extern "C" {
    #[link_name = "pool_exit_hooks"]
    static HOOKS: Hooks;
}

// Only an assembler can name what need not be there.
std::arch::global_asm!(
    ".weak __llvm_profile_set_filename",
    ".weak __llvm_profile_write_file",
    ".weak __gcov_dump",
    ".weak __lsan_do_leak_check",
    // Weak and hidden itself: a program may have two releases of this crate, and each may use either's.
    ".weak pool_exit_hooks",
    ".hidden pool_exit_hooks",
    ".pushsection .data.rel.ro.pool_exit_hooks, \"aw\", %progbits",
    ".balign 8",
    ".type pool_exit_hooks, %object",
    "pool_exit_hooks:",
    ".quad __llvm_profile_set_filename",
    ".quad __llvm_profile_write_file",
    ".quad __gcov_dump",
    ".quad __lsan_do_leak_check",
    ".size pool_exit_hooks, 32",
    ".popsection",
);

/// Ends this process in good order.
pub(crate) fn leave() -> ! {
    std::process::exit(0)
}

/// From here on the end of this process, which was forked from the program, runs no handler that was registered before.
/// Where the C library has no handlers that are told how the process ends, they run.
pub(crate) fn forget_handlers() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
        }
        // SAFETY: the handler has the signature that on_exit(3) asks for and does not use its argument. Without memory
        // for one more handler nothing is registered.
        unsafe { on_exit(end_here, std::ptr::null_mut()) };
    }
}

#[cfg_attr(not(target_env = "gnu"), expect(dead_code, reason = "nothing registers it"))]
extern "C" fn end_here(status: c_int, _: *mut c_void) {
    flush();
    // SAFETY: the table above has the layout of `Hooks` and is never written after the linker; each function in it has
    // the signature that its library documents, takes no arguments, and may be called at any time.
    unsafe {
        if let Some(write) = HOOKS.llvm_profile_write_file {
            write();
        }
        if let Some(dump) = HOOKS.gcov_dump {
            dump();
        }
        if let Some(check) = HOOKS.lsan_do_leak_check {
            check();
        }
        libc::_exit(status)
    }
}

/// Has a forked process write a coverage profile of its own: the name was made when the program started, with the
/// number of the process that it was then.
pub(crate) fn rename_profile() {
    /// What the compiler gives programs that are to be measured.
    const DEFAULT: &str = "default_%m_%p.profraw";
    // SAFETY: as in `end_here`.
    let Some(set_name) = (unsafe { HOOKS.llvm_profile_set_filename }) else { return };
    let pattern = env::var_os("LLVM_PROFILE_FILE").filter(|pattern| !pattern.is_empty());
    let pattern = pattern.unwrap_or_else(|| DEFAULT.into()).into_vec();
    // A profile that is written all the time, through a mapping of its file, stays where it is.
    if pattern.windows(2).any(|two| two == b"%c") {
        return;
    }
    let Ok(pattern) = CString::new(pattern) else { return };
    // The same pattern once more would change nothing, so another comes before it. The texts are kept by whom they are
    // given to.
    let (other, pattern) = (c"%p.profraw".as_ptr(), CString::into_raw(pattern));
    // SAFETY: the function takes a text that ends with a zero, which both are, for good. The process has one thread.
    unsafe {
        set_name(other);
        set_name(pattern);
    }
}
