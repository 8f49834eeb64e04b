//! Refuses an object for which there is plainly not enough memory. The kernel does not refuse: asked for more memory
//! than there is, it kills a process.

use std::path::Path;

use crate::sys::memfile::check_len;
use crate::sys::read_text;

/// Objects below this size are not checked: reading the two files would cost more than allocating them.
const SMALL_BYTES: u64 = 1 << 20;

fn refuse(bytes: u64, most: u64, of: &str) -> Result<(), String> {
    Err(format!("{bytes} bytes do not fit: {most} bytes are left of {of}"))
}

/// An error message if there is plainly not enough memory for an object of this size.
pub(in crate::shared) fn check(bytes: usize) -> Result<(), String> {
    let bytes = bytes as u64;
    check_len(bytes).map_err(|error| error.to_string())?;
    if bytes < SMALL_BYTES { Ok(()) } else { memory(bytes) }
}

/// The machine's memory and swap in bytes, used or not; none if the system does not tell.
pub(crate) fn whole() -> Option<u64> {
    let text = read_text("/proc/meminfo").ok()?;
    let bytes_of = |name| Some(field(&text, name)? << 10);
    Some(bytes_of("MemTotal:")? + bytes_of("SwapTotal:").unwrap_or(0))
}

/// An error message if plainly fewer than this many bytes of memory are left.
pub(crate) fn memory(bytes: u64) -> Result<(), String> {
    let refuse = |most: u64, of: &str| refuse(bytes, most, of);
    let read = |path: &Path| read_text(path).ok();
    match machine(read) {
        Some(Machine { available, swap }) if bytes > available + swap => {
            return refuse(available + swap, "the machine's memory");
        }
        Some(Machine { swap, .. }) => match cgroup(read).map(|left| left.saturating_add(swap)) {
            Some(left) if bytes > left => return refuse(left, "the control group's memory"),
            _ => {}
        },
        None => {}
    }
    Ok(())
}

/// The memory that the machine has left, in bytes.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    available: u64,
    swap: u64,
}

fn machine(read: impl Fn(&Path) -> Option<String>) -> Option<Machine> {
    let text = read(Path::new("/proc/meminfo"))?;
    let bytes_of = |name| Some(field(&text, name)? << 10);
    Some(Machine { available: bytes_of("MemAvailable:")?, swap: bytes_of("SwapFree:").unwrap_or(0) })
}

/// The files in which one version of control groups shows its numbers.
struct Hierarchy {
    root: &'static str,
    limit: &'static str,
    current: &'static str,
    /// The sizes of the page cache, which the kernel frees if memory is needed.
    caches: [&'static str; 2],
}

const FIRST: Hierarchy = Hierarchy {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    current: "memory.usage_in_bytes",
    caches: ["total_inactive_file", "total_active_file"],
};

const SECOND: Hierarchy = Hierarchy {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    current: "memory.current",
    caches: ["inactive_file", "active_file"],
};

/// How many bytes the limits of the process's control groups and their ancestors leave; none without a limit.
fn cgroup(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let first = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == "memory").then(|| path.to_owned())
    };
    let second = |line: &str| Some(line.strip_prefix("0::")?.to_owned());
    let left = |hierarchy: Hierarchy, path: Option<String>| {
        let root = Path::new(hierarchy.root);
        let own = root.join(path?.trim_start_matches('/'));
        let left_in = |dir: &Path| {
            let number = |file| read(&dir.join(file))?.trim().parse::<u64>().ok();
            let (limit, current) = (number(hierarchy.limit)?, number(hierarchy.current)?);
            let stat = read(&dir.join("memory.stat")).unwrap_or_default();
            let caches: u64 = hierarchy.caches.iter().filter_map(|name| field(&stat, name)).sum();
            Some(limit.saturating_sub(current.saturating_sub(caches)))
        };
        own.ancestors().take_while(|dir| dir.starts_with(root)).filter_map(left_in).min()
    };
    let first = left(FIRST, groups.lines().find_map(first));
    first.into_iter().chain(left(SECOND, groups.lines().find_map(second))).min()
}

/// The number after this name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        if words.next()? == name { words.next()?.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&Path) -> Option<String> + Copy + 'a {
        |path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
    }

    #[test]
    fn the_machine_has_what_is_available_and_its_swap() {
        let meminfo = "MemTotal: 100 kB\nMemAvailable:   40 kB\nSwapFree:  2 kB\n";
        let expected = Machine { available: 40 << 10, swap: 2 << 10 };
        assert_eq!(machine(reader(&[("/proc/meminfo", meminfo)])), Some(expected));
        assert_eq!(machine(reader(&[])), None);
    }

    #[test]
    fn the_tightest_control_group_counts_without_its_caches() {
        let files = [
            ("/proc/self/cgroup", "0::/jobs/one\n"),
            ("/sys/fs/cgroup/jobs/one/memory.max", "max\n"),
            ("/sys/fs/cgroup/jobs/one/memory.current", "10\n"),
            ("/sys/fs/cgroup/jobs/memory.max", "1000\n"),
            ("/sys/fs/cgroup/jobs/memory.current", "900\n"),
            ("/sys/fs/cgroup/jobs/memory.stat", "anon 100\ninactive_file 200\nactive_file 100\n"),
        ];
        assert_eq!(cgroup(reader(&files)), Some(400));
        assert_eq!(cgroup(reader(&files[..3])), None);
    }

    #[test]
    fn control_groups_of_the_first_version_count_too() {
        let files = [
            ("/proc/self/cgroup", "11:cpu,cpuacct:/jobs\n5:hugetlb,memory:/jobs/one\n0::/jobs/one\n"),
            ("/sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/jobs/one/memory.usage_in_bytes", "10\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "900\n"),
            ("/sys/fs/cgroup/memory/memory.stat", "inactive_file 7\ntotal_inactive_file 50\n"),
        ];
        assert_eq!(cgroup(reader(&files)), Some(150));
    }

    #[test]
    fn absurd_sizes_are_refused() {
        check(1 << 10).unwrap();
        let why = check(1 << 60).unwrap_err();
        assert!(why.contains("do not fit"), "{why}");
    }
}
