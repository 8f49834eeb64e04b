//! CPUs: how many this process may use, and which ones.
//!
//! Affinity masks are the C library's, through the crates core_affinity and nix, and end at [`MOST_CPUS`].

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::available_parallelism;

use core_affinity::CoreId;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::read_text;

/// The number of CPUs for which the C library's masks have room. Each CPU's number is lower.
pub(crate) const MOST_CPUS: usize = CpuSet::count();

/// Whether a thread can be restricted to several CPUs, not only to one.
pub(crate) const HAS_SETS: bool = true;

/// How many CPUs this process may use: at least 1, and at most the CPU quota of its cgroup at the first call, rounded
/// up.
///
/// It counts the CPUs in the affinity mask that the process had when it called [`pool::init`](crate::init), as set by
/// `taskset`, a batch system or a cgroup's cpuset, and those in the masks of its threads. So a thread that pins itself
/// later, like real-time loops and OpenMP threads, does not lower the number. If the masks can't be read, as on
/// machines that can have more than 1024 CPUs, the number is that of [`std::thread::available_parallelism`].
#[must_use]
pub fn cpu_count() -> usize {
    // Cached: to find the quota takes reading a dozen files.
    static QUOTA: LazyLock<Option<usize>> = LazyLock::new(|| quota_of_process(|path| read_text(path).ok()));
    let allowed = match of_process().len() {
        0 => available_parallelism().map_or(1, usize::from),
        allowed => allowed,
    };
    QUOTA.map_or(allowed, |quota| allowed.min(quota)).max(1)
}

/// The CPUs in the mask of the main thread when the process started.
static AT_START: Mutex<Vec<CoreId>> = Mutex::new(Vec::new());

/// Notes the CPUs that the process was given, before its threads pin themselves: at the start of the program, or of a
/// worker.
pub(crate) fn note_start() {
    *AT_START.lock().unwrap_or_else(PoisonError::into_inner) = of_this_thread();
}

/// The CPUs that this process may use, in ascending order: those in the masks of its threads, and those that it was
/// given at its start. None if the kernel does not tell.
pub(crate) fn of_process() -> Vec<usize> {
    let at_start = AT_START.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut all: BTreeSet<_> = at_start.into_iter().chain(of_this_thread()).map(|core| core.id).collect();
    // If there is no /proc, the mask of this thread must do.
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let number = thread.file_name().to_str().and_then(|name| name.parse().ok());
        let mask = number.and_then(|number| sched_getaffinity(Pid::from_raw(number)).ok());
        all.extend(mask.iter().flat_map(|mask| (0..MOST_CPUS).filter(|&cpu| mask.is_set(cpu) == Ok(true))));
    }
    all.into_iter().collect()
}

/// The CPUs of the process, if this thread may not use all of them: processes that it starts would inherit its mask.
/// None, which pins nothing, if this thread may use them all.
pub(crate) fn unless_this_thread_has_all() -> Vec<usize> {
    let all = of_process();
    if of_this_thread().into_iter().map(|core| core.id).eq(all.iter().copied()) { Vec::new() } else { all }
}

/// The CPUs in this thread's mask, in ascending order; none if the kernel does not tell.
fn of_this_thread() -> Vec<CoreId> {
    core_affinity::get_core_ids().unwrap_or_default()
}

/// Restricts a process to these CPUs.
pub(crate) fn pin_process(pid: Pid, cpus: &[usize]) -> io::Result<()> {
    let mut mask = CpuSet::new();
    cpus.iter().try_for_each(|&cpu| mask.set(cpu))?;
    Ok(sched_setaffinity(pid, &mask)?)
}

/// Restricts this thread to these CPUs.
pub(crate) fn pin_this_thread(cpus: &[usize]) -> io::Result<()> {
    const THIS_THREAD: Pid = Pid::from_raw(0);
    match *cpus {
        // nix refuses larger numbers.
        [id] if id < MOST_CPUS => {
            let pinned = core_affinity::set_for_current(CoreId { id });
            // core_affinity makes the system call last, so errno comes from it.
            if pinned { Ok(()) } else { Err(io::Error::last_os_error()) }
        }
        _ => pin_process(THIS_THREAD, cpus),
    }
}

/// The smallest quota of the cgroups that this process is in, in whole CPUs, rounded up.
fn quota_of_process(read: impl Fn(&Path) -> Option<String>) -> Option<usize> {
    let cgroups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let of_group = |(mount, group): (Mount, PathBuf)| {
        // The limit of any ancestor also applies to the group.
        let up_to_mount = group.ancestors().take_while(|dir| dir.starts_with(&mount.at)).collect::<Vec<_>>();
        up_to_mount.into_iter().filter_map(|dir| mount.version.quota(dir, &read)).min()
    };
    mounts
        .lines()
        .filter_map(Mount::parse)
        .filter_map(|mount| mount.group_of(&cgroups))
        .filter_map(of_group)
        .min()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The quota that is set in this directory itself.
    fn quota(self, dir: &Path, read: impl Fn(&Path) -> Option<String>) -> Option<usize> {
        let (quota, period) = match self {
            Self::One => (read(&dir.join("cpu.cfs_quota_us"))?, read(&dir.join("cpu.cfs_period_us"))?),
            Self::Two => {
                let max = read(&dir.join("cpu.max"))?;
                let (quota, period) = max.trim().split_once(' ')?;
                (quota.to_owned(), period.to_owned())
            }
        };
        // `max` in version 2 and -1 in version 1 mean no limit, and are no unsigned numbers.
        let (quota, period) = (quota.trim().parse::<usize>().ok()?, period.trim().parse::<usize>().ok()?);
        (quota > 0 && period > 0).then(|| quota.div_ceil(period))
    }
}

/// A mounted cgroup hierarchy that can limit CPU time.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    version: Version,
    /// The cgroup that is visible at the mount point.
    root: PathBuf,
    at: PathBuf,
}

impl Mount {
    /// A line of proc_pid_mountinfo(5): `36 35 98:0 /root /at rw,noatime master:1 - type source options`.
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, at) = (mount.next()?.into(), mount.next()?.into());
        let mut file_system = file_system.split(' ');
        let version = match file_system.next()? {
            "cgroup2" => Version::Two,
            "cgroup" if file_system.nth(1)?.split(',').any(|option| option == "cpu") => Version::One,
            _ => return None,
        };
        Some(Self { version, root, at })
    }

    /// The directory of the process's group, found by a line of proc_pid_cgroup(5): `4:cpu,cpuacct:/group`.
    fn group_of(self, cgroups: &str) -> Option<(Self, PathBuf)> {
        let group = cgroups.lines().find_map(|line| {
            let (id, rest) = line.split_once(':')?;
            let (controllers, group) = rest.split_once(':')?;
            let here = match self.version {
                Version::One => controllers.split(',').any(|controller| controller == "cpu"),
                Version::Two => id == "0" && controllers.is_empty(),
            };
            here.then_some(group)
        })?;
        // In a container the group's path may be the host's, and the mount shows only its end, or none of it.
        let below = Path::new(group).strip_prefix(&self.root).unwrap_or(Path::new(""));
        let dir = self.at.join(below);
        Some((self, dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS_V2: &str =
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const MOUNTS_V1: &str = "35 23 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                             36 23 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct\n";

    fn quota(files: &[(&str, &str)]) -> Option<usize> {
        quota_of_process(|path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn version_2_takes_the_smallest_limit_on_the_way_up() {
        let with = |leaf, above| {
            quota(&[
                ("/proc/self/cgroup", "0::/user.slice/job\n"),
                ("/proc/self/mountinfo", MOUNTS_V2),
                ("/sys/fs/cgroup/user.slice/job/cpu.max", leaf),
                ("/sys/fs/cgroup/user.slice/cpu.max", above),
            ])
        };
        assert_eq!(with("max 100000\n", "max 100000\n"), None);
        assert_eq!(with("150000 100000\n", "max 100000\n"), Some(2));
        assert_eq!(with("max 100000\n", "300000 100000\n"), Some(3));
        assert_eq!(with("50000 100000\n", "300000 100000\n"), Some(1));
        assert_eq!(with("garbage", ""), None);
    }

    #[test]
    fn version_1_is_found_by_its_controller() {
        let with = |quota_us| {
            quota(&[
                ("/proc/self/cgroup", "5:memory:/m\n4:cpu,cpuacct:/docker/abc\n0::/\n"),
                ("/proc/self/mountinfo", MOUNTS_V1),
                ("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", quota_us),
                ("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
            ])
        };
        assert_eq!(with("-1\n"), None);
        assert_eq!(with("250000\n"), Some(3));
        assert_eq!(with("100000\n"), Some(1));
    }

    #[test]
    fn a_container_sees_its_group_at_the_mount_point() {
        let mounts = "36 23 0:31 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        let files = [
            ("/proc/self/cgroup", "4:cpu:/docker/abc\n"),
            ("/proc/self/mountinfo", mounts),
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
        ];
        assert_eq!(quota(&files), Some(4));
    }

    #[test]
    fn without_cgroups_there_is_no_quota() {
        assert_eq!(quota(&[]), None);
        assert_eq!(quota(&[("/proc/self/cgroup", "0::/\n"), ("/proc/self/mountinfo", "")]), None);
    }

    #[test]
    fn the_count_is_at_least_one_and_at_most_the_mask() {
        assert!((1..=of_process().len().max(1)).contains(&cpu_count()));
    }

    #[test]
    fn a_pinned_thread_has_its_cpus() {
        let all = of_process();
        let (first, last) = (all[0], all[all.len() - 1]);
        for cpus in [vec![first], vec![last], vec![first, last], all] {
            let thread = std::thread::spawn(move || {
                pin_this_thread(&cpus).unwrap();
                let (mut expected, got) = (cpus, of_this_thread());
                expected.dedup();
                assert_eq!(got.into_iter().map(|core| core.id).collect::<Vec<_>>(), expected);
            });
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_thread_that_cannot_be_pinned_says_so() {
        let last = MOST_CPUS - 1;
        assert!(!of_process().contains(&last), "this test takes CPU {last} for one that is not there");
        for cpus in [&[][..], &[last], &[MOST_CPUS], &[usize::MAX], &[0, MOST_CPUS]] {
            let error = pin_this_thread(cpus).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(nix::libc::EINVAL), "{cpus:?}");
        }
    }
}
