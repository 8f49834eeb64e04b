//! Whether there is room for a new object. The kernel has no answer for that: asked for more memory than there is, it
//! kills a process. So what is plainly too much is refused before it is asked for.

use std::path::Path;

use crate::sys::memfile::check_len;
use crate::sys::read_text;

/// Below this size the kernel is asked without a look first.
const SMALL_BYTES: u64 = 1 << 20;

/// An error, in words, if so many bytes plainly can't be had now.
pub(super) fn check(bytes: usize) -> Result<(), String> {
    let bytes = bytes as u64;
    let refuse =
        |most: u64, of: &str| Err(format!("{bytes} bytes do not fit: {most} bytes are left of {of}"));
    check_len(bytes).map_err(|error| error.to_string())?;
    if bytes < SMALL_BYTES {
        return Ok(());
    }
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

/// What the machine has left, in bytes.
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

/// What the process's control group and those above it leave, in bytes; none without a limit. Version 2 only.
fn cgroup(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(group);
    let left_in = |dir: &Path| {
        let number = |file| read(&dir.join(file))?.trim().parse::<u64>().ok();
        let (limit, current) = (number("memory.max")?, number("memory.current")?);
        // Pages that only cache a file make room for others.
        let stat = read(&dir.join("memory.stat")).unwrap_or_default();
        let caches = field(&stat, "inactive_file").unwrap_or(0) + field(&stat, "active_file").unwrap_or(0);
        Some(limit.saturating_sub(current.saturating_sub(caches)))
    };
    own.ancestors().take_while(|dir| dir.starts_with(root)).filter_map(left_in).min()
}

/// The number that stands behind a name at the start of a line.
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
    fn absurd_sizes_are_refused() {
        check(1 << 10).unwrap();
        let why = check(1 << 60).unwrap_err();
        assert!(why.contains("do not fit"), "{why}");
    }
}
