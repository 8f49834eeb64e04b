//! How much memory a process holds, and whether the kernel killed for lack of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::uio::pread;

use super::fd::Guarded;
use super::process::Process;
use super::{named, read_text, retry};

/// Measures how much memory a process holds.
#[derive(Debug)]
pub(crate) struct Meter(Guarded);

impl Meter {
    /// For this process.
    pub(crate) fn own() -> io::Result<Self> {
        Self::open("/proc/self/statm")
    }

    /// For a child.
    pub(crate) fn of(child: &Process) -> io::Result<Self> {
        Self::open(&(child.directory()? + "/statm"))
    }

    fn open(path: &str) -> io::Result<Self> {
        let file = File::open(path).map_err(named(path))?;
        Ok(Self(Guarded::new(file.into())?))
    }

    /// How many bytes of memory the process holds that belong to no file; 0 once it has ended. Nothing if that can't be
    /// told any more: user code may have closed the descriptor.
    pub(crate) fn read(&self) -> Option<u64> {
        let meter = self.0.intact().ok()?;
        let mut text = [0; 128];
        match retry(|| pread(meter, &mut text, 0)) {
            Ok(len) => Some(pages(&text[..len])?.saturating_mul(page_size())),
            Err(Errno::ESRCH) => Some(0),
            Err(_) => None,
        }
    }
}

/// proc_pid_statm(5): size, resident, shared, and more, in pages.
fn pages(statm: &[u8]) -> Option<u64> {
    let mut fields = std::str::from_utf8(statm).ok()?.split_ascii_whitespace().skip(1);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(field()?.saturating_sub(field()?))
}

fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

/// How many processes the kernel has killed for lack of memory, as far as it tells. Each control group is counted
/// separately, so that deaths in other groups do not matter.
#[derive(Debug, Default)]
pub(crate) struct OutOfMemory {
    /// For each counter file, its value when last read, less the kills that are not matched with deaths yet.
    kills: BTreeMap<PathBuf, u64>,
}

/// A process that SIGKILL has ended.
#[derive(Debug)]
pub(crate) struct Killed {
    /// Its control groups, in the format of proc_pid_cgroup(5).
    pub(super) groups: String,
    /// The most memory that it has held, in bytes.
    pub(super) peak: u64,
}

impl OutOfMemory {
    /// Notes the count of this process's own group, where its workers start.
    pub(crate) fn note_own(&mut self) {
        if self.kills.is_empty()
            && let Some(file) = own_groups().and_then(|groups| counter(&groups))
        {
            let kills = kills_in(&file).unwrap_or(0);
            self.kills.insert(file, kills);
        }
    }

    /// Whether the kernel has killed a process in this worker's control group since the last call. It may have been
    /// this worker, or one of the `others`, which are asked about next.
    pub(crate) fn has_killed(&mut self, worker: &Killed, others: u64) -> bool {
        if !worker.groups.lines().any(is_of_first_version) {
            return counter(&worker.groups).is_some_and(|file| self.has_news(file, others));
        }
        // Version 1 of control groups shows dead processes in the root group. The worker was in this process's group,
        // unless it had moved to a group below; that is assumed if it could have filled such a group.
        let Some(file) = own_groups().and_then(|groups| counter(&groups)) else { return false };
        let below = file.parent().map(groups_below).unwrap_or_default();
        self.has_news(file, others)
            || below.into_iter().any(|dir| {
                let limit = read_text(dir.join("memory.limit_in_bytes")).ok();
                let limit = limit.and_then(|limit| limit.trim().parse::<u64>().ok());
                limit.is_some_and(|limit| worker.peak >= limit / 2)
                    && self.has_news(dir.join(FIRST_COUNTER), others)
            })
    }

    fn has_news(&mut self, file: PathBuf, others: u64) -> bool {
        let Some(now) = kills_in(&file) else { return false };
        // A group that is not known yet was made for this worker.
        let known = self.kills.entry(file).or_insert(0);
        let new = now.saturating_sub(*known);
        *known = now - others.min(new.saturating_sub(1));
        new > 0
    }
}

/// The counter file in version 1 of control groups.
const FIRST_COUNTER: &str = "memory.oom_control";

fn own_groups() -> Option<String> {
    read_text("/proc/self/cgroup").ok()
}

/// Whether a line of proc_pid_cgroup(5) names the memory group of version 1.
fn is_of_first_version(line: &str) -> bool {
    line.split(':').nth(1).is_some_and(|controllers| controllers.split(',').any(|name| name == "memory"))
}

/// The most groups to search. It bounds the time, and is far more than machines have.
const MOST_GROUPS: usize = 1000;

/// The control groups below this one, the nearest first.
fn groups_below(group: &Path) -> Vec<PathBuf> {
    let mut found = vec![group.to_owned()];
    let mut next = 0;
    while next < found.len() && found.len() < MOST_GROUPS {
        let entries = fs::read_dir(&found[next]).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        found.extend(dirs.map(|dir| dir.path()));
        next += 1;
    }
    found.split_off(1)
}

/// The counter file of these groups, or of the whole machine if the groups do not count memory.
fn counter(groups: &str) -> Option<PathBuf> {
    counter_in(groups, |path| path.exists())
}

fn counter_in(groups: &str, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let first = groups.lines().find(|line| is_of_first_version(line));
    let places: &[(&str, &str)] = match first {
        Some(_) => &[("/sys/fs/cgroup/memory", FIRST_COUNTER)],
        None => &[("/sys/fs/cgroup", "memory.events.local"), ("/sys/fs/cgroup", "memory.events")],
    };
    let line = first.or_else(|| groups.lines().find(|line| line.starts_with("0::")));
    let group = line.and_then(|line| line.splitn(3, ':').nth(2)).unwrap_or("").trim_start_matches('/');
    // In a container the group may have the name that the host sees, while its files are at the root.
    let files = places
        .iter()
        .flat_map(|(root, file)| [Path::new(root).join(group).join(file), Path::new(root).join(file)]);
    files.chain([PathBuf::from("/proc/vmstat")]).find(|file| exists(file))
}

fn kills_in(file: &Path) -> Option<u64> {
    let text = read_text(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;

    use nix::libc;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, waitpid};
    use nix::unistd::{Pid, pipe, read, write};

    use super::*;

    #[test]
    fn what_is_shared_does_not_count() {
        assert_eq!(pages(b"5000 1200 200 10 0 900 0\n"), Some(1000));
        assert_eq!(pages(b"5000 12"), None);
        assert_eq!(pages(b""), None);
    }

    #[test]
    fn each_group_has_its_own_counter() {
        let find = |groups: &str, there: &[&str]| {
            counter_in(groups, |path| {
                path == Path::new("/proc/vmstat") || there.iter().any(|it| path == Path::new(it))
            })
            .unwrap()
            .display()
            .to_string()
        };
        let first = "/sys/fs/cgroup/memory/job/memory.oom_control";
        let second = "/sys/fs/cgroup/job/memory.events.local";
        let both =
            [first, second, "/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events"];
        assert_eq!(find("4:cpu:/x\n3:rdma,memory:/job\n0::/\n", &both), first);
        assert_eq!(find("3:memory:/elsewhere\n0::/job\n", &both), both[2], "seen from inside a container");
        assert_eq!(find("4:cpu:/x\n0::/job\n", &both), second);
        assert_eq!(
            find("0::/job\n", &["/sys/fs/cgroup/job/memory.events"]),
            "/sys/fs/cgroup/job/memory.events"
        );
        assert_eq!(find("0::/\n", &[]), "/proc/vmstat");
    }

    /// Uses a counter of its own, because the system's may change at any moment.
    #[test]
    fn a_kill_is_news_once() {
        let file = File::from(memfd_create("pool test kills", MFdFlags::MFD_CLOEXEC).unwrap());
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let count =
            |kills: u64| file.write_all_at(format!("low 7\noom_kill {kills}\n").as_bytes(), 0).unwrap();
        let mut known = OutOfMemory::default();
        known.kills.insert(path.clone(), 3);
        count(3);
        assert!(!known.has_news(path.clone(), 0));
        count(5);
        assert!(known.has_news(path.clone(), 1) && known.has_news(path.clone(), 0));
        assert!(!known.has_news(path.clone(), 0));
        count(6);
        assert!(known.has_news(path.clone(), 5), "others can't have had all of it");
        assert!(!known.has_news(path, 0));
        assert!(!OutOfMemory::default().has_news("/proc/self/fd/none".into(), 0), "nothing tells");
    }

    #[test]
    fn the_own_group_is_noted_once() {
        let mut known = OutOfMemory::default();
        known.note_own();
        let Some(file) = own_groups().and_then(|groups| counter(&groups)) else { return };
        assert_eq!(known.kills.keys().collect::<Vec<_>>(), [&file]);
        known.kills.insert(file.clone(), 0);
        known.note_own();
        assert_eq!(known.kills[&file], 0);
    }

    /// A child with memory of its own, in which no other test's thread runs. It shares this process's descriptors:
    /// copies would keep files open that other tests have closed and wait to see closed. Dropping it kills it.
    struct Child(Pid);

    impl Child {
        /// Makes a child that calls this and then waits. The function may only make system calls and touch memory that
        /// exists.
        #[expect(unsafe_code, reason = "makes a process that shares its descriptors")]
        fn that(life: impl FnOnce()) -> Self {
            // SAFETY: without CLONE_VM this is a fork: the child has its own memory, with a copy of this stack. Callers
            // pass functions that take no lock and allocate nothing, and the child never returns from here.
            match unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_FILES, 0, 0, 0, 0) } {
                -1 => panic!("clone: {}", io::Error::last_os_error()),
                0 => {
                    if nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).is_ok() {
                        life();
                    }
                    loop {
                        nix::unistd::pause();
                    }
                }
                child => Self(Pid::from_raw(child as libc::pid_t)),
            }
        }
    }

    impl Drop for Child {
        fn drop(&mut self) {
            let _ = kill(self.0, Signal::SIGKILL);
            // It sends no signal when it ends, so only a wait for all kinds of children finds it.
            let _ = waitpid(self.0, Some(WaitPidFlag::__WALL));
        }
    }

    #[test]
    fn memory_that_is_written_counts() {
        // Since Linux 6.2 the sum misses some pages of each CPU, which are megabytes on a large machine.
        const LEN: usize = 128 << 20;
        // Large enough for a mapping of its own, which takes no memory until it is written.
        let mut held = vec![0u8; LEN];
        let ((go, send_go), (done, send_done)) = (pipe().unwrap(), pipe().unwrap());
        let child = Child::that(|| {
            if read(&go, &mut [0]) == Ok(1) {
                held.fill(1);
                let _ = write(&send_done, &[1]);
            }
        });
        let meter = Meter::open(&format!("/proc/{}/statm", child.0)).unwrap();
        let held = || meter.read().unwrap();
        let before = held();
        write(&send_go, &[1]).unwrap();
        read(&done, &mut [0]).unwrap();
        let grown = held().saturating_sub(before);
        assert!((LEN as u64 / 4 * 3..LEN as u64 / 4 * 5).contains(&grown), "{grown}");
        assert!(before > 0 && Meter::own().unwrap().read() > Some(0));
        drop(child);
        assert_eq!(held(), 0, "it has ended");
    }
}
