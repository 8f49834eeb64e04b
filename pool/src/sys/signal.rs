//! Linux's signals by their numbers. Other systems have other numbers, but only processes on Linux are workers that a
//! signal ends, and reports of that are read everywhere.

/// Kills, and cannot be caught.
pub(crate) const KILL: i32 = 9;

/// Their names from number 1 on, the same on all architectures that the crate supports.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The signal's name; real-time signals have none.
pub(crate) fn name_of(signal: i32) -> Option<&'static str> {
    let place = usize::try_from(signal).ok()?.checked_sub(1)?;
    NAMES.get(place).copied()
}

#[cfg(all(test, not(portable)))]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn each_has_the_name_that_the_system_knows() {
        for number in -1..100 {
            assert_eq!(name_of(number), Signal::try_from(number).ok().map(Signal::as_str), "{number}");
        }
        assert_eq!(KILL, Signal::SIGKILL as i32);
    }
}
