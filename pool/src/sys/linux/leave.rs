//! The orderly end of a process: `atexit` handlers, destructors of thread-local and static values, buffered output,
//! coverage profiles, leak checks. All of them run in `exit`.
//!
//! A fork inherits the handlers that its program has registered, but must not touch the program's temporary files,
//! locks and connections. So a fork first registers a handler that ends the process. Handlers run in reverse order, so
//! this one runs after the fork's own handlers and before the program's. Coverage and leak checks would have run with
//! the program's, so it calls them by name, if the program has them. (Python clears its list in a fork for the same
//! reason.)
#![allow(unsafe_code, reason = "registers exit handlers and calls functions that the linker may have found")]

use std::env;
use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStringExt;

use nix::libc;

use super::fork::flush;

/// Functions that only some programs have. The linker sets missing ones to zero.
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

// Only assembly can name a function that may be missing.
std::arch::global_asm!(
    ".weak __llvm_profile_set_filename",
    ".weak __llvm_profile_write_file",
    ".weak __gcov_dump",
    ".weak __lsan_do_leak_check",
    // The table itself is weak and hidden: a program may contain two releases of this crate, which can share one table.
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

/// Ends this process in an orderly way.
pub(crate) fn leave() -> ! {
    std::process::exit(0)
}

/// Keeps the end of this process, a fork of the program, from running handlers that were registered before now. Has no
/// effect if the C library has no `on_exit`.
pub(crate) fn forget_handlers() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
        }
        // SAFETY: the handler has the signature that on_exit(3) asks for, is never unloaded, and does not use its
        // argument.
        unsafe { on_exit(end_here, std::ptr::null_mut()) };
    }
}

#[cfg_attr(not(target_env = "gnu"), expect(dead_code, reason = "nothing registers it"))]
extern "C" fn end_here(status: c_int, _: *mut c_void) {
    flush();
    // SAFETY: the table above has the layout of `Hooks`, and nothing writes to it after the linker. Each function in it
    // has the signature that its library documents, takes no arguments, and may be called at any time.
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

/// Gives a forked process a coverage profile of its own. Otherwise its profile has the name that the program made at
/// its start, with the program's own process ID.
pub(crate) fn rename_profile() {
    /// The name by default.
    const DEFAULT: &str = "default_%m_%p.profraw";
    // SAFETY: as in `end_here`.
    let Some(set_name) = (unsafe { HOOKS.llvm_profile_set_filename }) else { return };
    let pattern = env::var_os("LLVM_PROFILE_FILE").filter(|pattern| !pattern.is_empty());
    let pattern = pattern.unwrap_or_else(|| DEFAULT.into()).into_vec();
    // A profile in continuous mode, which is written through a mapping of its file, keeps its name.
    if pattern.windows(2).any(|two| two == b"%c") {
        return;
    }
    let Ok(pattern) = CString::new(pattern) else { return };
    // Setting the same pattern again would have no effect, so another is set first. The function keeps the pointers, so
    // the text is never freed.
    let (other, pattern) = (c"%p.profraw".as_ptr(), CString::into_raw(pattern));
    // SAFETY: the function takes a C string that stays valid: one is static, and the other is never freed. The process
    // has one thread, so no other uses the profile's name meanwhile.
    unsafe {
        set_name(other);
        set_name(pattern);
    }
}
