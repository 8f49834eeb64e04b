//! How much CPU time a child has used.

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::process::Process;
use super::read_text;

/// The CPU time of a child with all its threads, and of processes that it has started, has waited for, and that have
/// ended; in nanoseconds. Nothing if it has ended itself.
pub(crate) fn of(child: &Process) -> Option<u64> {
    let clock = clock_getcpuclockid(Pid::from_raw(child.pid())).ok()?;
    let own = clock_gettime(clock).ok()?;
    let own = (own.tv_sec() as u64).saturating_mul(1_000_000_000).saturating_add(own.tv_nsec() as u64);
    // Without a /proc, only its own time is known.
    let stat = child.directory().and_then(|dir| read_text(dir + "/stat")).unwrap_or_default();
    Some(own.saturating_add(of_children(&stat).unwrap_or(0)))
}

/// The CPU time of this thread.
#[cfg(all(test, not(loom)))]
pub(crate) fn of_this_thread() -> std::time::Duration {
    clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has this clock").into()
}

/// The most CPUs that a process can run on at once, whatever it was pinned to: it may change that.
pub(crate) fn most_cpus() -> usize {
    let configured = sysconf(SysconfVar::_NPROCESSORS_CONF).ok().flatten();
    configured.and_then(|cpus| usize::try_from(cpus).ok()).unwrap_or(1).max(1)
}

/// proc_pid_stat(5): the name is in parentheses and may contain anything. The times of children are fields 16 and 17,
/// in ticks, and the state after the name is field 3.
fn of_children(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(13);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()?.saturating_add(ticks()?);
    let a_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
    Some(ticks.saturating_mul(1_000_000_000 / a_second.unwrap_or(100).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_is_found_behind_any_name() {
        let fields = "S 1 2 3 0 -1 4194304 5 6 7 8 11 12 13 14 20 0 1 0 100 200";
        for name in ["worker", "a) S 1 2", "(((", ""] {
            assert_eq!(of_children(&format!("42 ({name}) {fields}")), Some(27 * 10_000_000), "{name}");
        }
        assert_eq!(of_children("42 (worker) S 1"), None);
        assert_eq!(of_children(""), None);
    }

    #[test]
    fn there_are_as_many_cpus_as_threads_can_use() {
        assert!(most_cpus() >= std::thread::available_parallelism().unwrap().get());
    }
}
