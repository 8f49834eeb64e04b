//! CPUs: how many this process may use, and which ones.
#![allow(unsafe_code, reason = "affinity masks of any size, which nix does not have")]

use std::fs;
use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::libc;

use super::read_text;

/// How many CPUs this process may use, but no more than the quota of its cgroup gives time for, rounded up, as it was
/// at the first call. At least 1.
///
/// They are those in the affinity mask that the process had when it called [`pool::init`](crate::init), as `taskset`,
/// a batch system or a cgroup's cpuset give it, and those in the masks of its threads: a thread that is pinned later,
/// as by real-time loops and OpenMP, leaves the others to the process.
#[must_use]
pub fn cpu_count() -> usize {
    // It takes a dozen files to know it.
    static QUOTA: LazyLock<Option<usize>> = LazyLock::new(|| quota_of_process(|path| read_text(path).ok()));
    let allowed = of_process().len();
    QUOTA.map_or(allowed, |quota| allowed.min(quota)).max(1)
}

/// What the main thread might use when the process began to be what it is.
static AT_START: Mutex<Option<Mask>> = Mutex::new(None);

/// Notes which CPUs the process has been given, before its threads pin themselves: the program at its start, a worker when
/// it becomes one.
pub(crate) fn note_start() {
    *AT_START.lock().unwrap_or_else(PoisonError::into_inner) = Some(mask_of(0));
}

/// The CPUs that this process may use: what the masks of its threads leave to it, and what it was given at its start.
pub(crate) fn of_process() -> Vec<usize> {
    let mut all = mask_of(0);
    if let Some(start) = &*AT_START.lock().unwrap_or_else(PoisonError::into_inner) {
        all.add(start);
    }
    // Without /proc what is known of this thread must do.
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let number = thread.file_name().to_str().and_then(|name| name.parse().ok());
        number.into_iter().for_each(|number| all.add(&mask_of(number)));
    }
    all.cpus()
}

/// The CPUs of the process where this thread may not use all of them: what it starts would have its mask. None, which
/// pins nobody, where it may.
pub(crate) fn unless_this_thread_has_all() -> Vec<usize> {
    let (own, all) = (mask_of(0).cpus(), of_process());
    if own == all { Vec::new() } else { all }
}

/// The affinity mask of a thread, this one for 0; none where it is not told.
fn mask_of(thread: libc::pid_t) -> Mask {
    let mut mask = Mask::default();
    // SAFETY: the kernel writes at most the mask's own size.
    match unsafe { libc::sched_getaffinity(thread, size_of::<Mask>(), mask.0.as_mut_ptr().cast()) } {
        0.. => mask,
        _ => Mask::default(),
    }
}

/// Lets a process run on these CPUs only.
pub(crate) fn pin_process(pid: i32, cpus: &[usize]) -> io::Result<()> {
    let mask = Mask::of(cpus)?;
    // SAFETY: the kernel reads the mask's own size.
    match unsafe { libc::sched_setaffinity(pid, size_of::<Mask>(), mask.0.as_ptr().cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets a thread run on these CPUs only.
pub(crate) fn pin_thread(thread: &JoinHandle<()>, cpus: &[usize]) -> io::Result<()> {
    let mask = Mask::of(cpus)?;
    // SAFETY: the thread is neither joined nor detached while its handle lives; the mask's own size is read.
    let error = unsafe {
        libc::pthread_setaffinity_np(thread.as_pthread_t(), size_of::<Mask>(), mask.0.as_ptr().cast())
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// An affinity mask as the kernel reads it, for as many CPUs as a kernel can be built for. The C library's own type
/// ends at 1024.
pub(crate) struct Mask([libc::c_ulong; Self::WORDS]);

impl Mask {
    const WORD_BITS: usize = libc::c_ulong::BITS as usize;
    pub(crate) const CPUS: usize = 8192;
    const WORDS: usize = Self::CPUS / Self::WORD_BITS;

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn of(cpus: &[usize]) -> io::Result<Self> {
        let mut mask = Self::default();
        for cpu in cpus {
            let word = mask.0.get_mut(cpu / Self::WORD_BITS).ok_or(io::ErrorKind::InvalidInput)?;
            *word |= 1 << (cpu % Self::WORD_BITS);
        }
        Ok(mask)
    }

    fn cpus(&self) -> Vec<usize> {
        let has = |cpu: &usize| self.0[cpu / Self::WORD_BITS] >> (cpu % Self::WORD_BITS) & 1 == 1;
        (0..Self::WORDS * Self::WORD_BITS).filter(has).collect()
    }
}

impl Default for Mask {
    fn default() -> Self {
        Self([0; Self::WORDS])
    }
}

/// The smallest quota of the cgroups that this process is in, in whole CPUs, rounded up.
fn quota_of_process(read: impl Fn(&Path) -> Option<String>) -> Option<usize> {
    let cgroups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let of_group = |(mount, group): (Mount, PathBuf)| {
        // A limit anywhere above holds for the group as well.
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
        // `max` in version 2 and -1 in version 1 are no limits, and no unsigned numbers.
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
        // In a container the group's path may be the host's, of which the mount shows only the end, or nothing.
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
    fn masks_come_back_as_they_went() {
        let cpus = [0, 1, 63, 64, 1023, 1024, 8191];
        assert_eq!(Mask::of(&cpus).unwrap().cpus(), cpus);
        assert!(Mask::of(&[8192]).is_err());
    }

    #[test]
    fn a_pinned_thread_has_its_cpus() {
        let one = of_process()[..1].to_vec();
        let (pinned, wait) = std::sync::mpsc::channel::<()>();
        let expected = one.clone();
        let thread = std::thread::spawn(move || {
            wait.recv().unwrap();
            assert_eq!(mask_of(0).cpus(), expected);
        });
        pin_thread(&thread, &one).unwrap();
        pinned.send(()).unwrap();
        thread.join().unwrap();
    }
}
