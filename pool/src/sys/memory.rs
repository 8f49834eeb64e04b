//! How much memory a process holds, and whether the kernel has run out of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::fd::above_standard;
use super::read_text;

/// Tells how much memory a process holds.
#[derive(Debug)]
pub(crate) struct Meter(File);

impl Meter {
    /// For this process.
    pub(crate) fn own() -> io::Result<Self> {
        Self::open("/proc/self/statm")
    }

    /// For a child whose status is not taken yet, so that the number is its own.
    pub(crate) fn of(child: i32) -> io::Result<Self> {
        Self::open(&format!("/proc/{child}/statm"))
    }

    fn open(path: &str) -> io::Result<Self> {
        Ok(Self(above_standard(File::open(path)?.into())?.into()))
    }

    /// The bytes that it holds for itself alone, in memory: what is resident and no file's. 0 when it has ended.
    pub(crate) fn read(&self) -> u64 {
        let mut text = [0; 128];
        let len = self.0.read_at(&mut text, 0).unwrap_or(0);
        pages(&text[..len]).unwrap_or(0).saturating_mul(page_size())
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

/// How many processes the kernel has killed for want of memory since it started; none if it does not tell.
pub(crate) fn oom_kills() -> Option<u64> {
    let text = read_text("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_does_not_count() {
        assert_eq!(pages(b"5000 1200 200 10 0 900 0\n"), Some(1000));
        assert_eq!(pages(b"5000 12"), None);
        assert_eq!(pages(b""), None);
    }

    #[test]
    fn memory_that_is_written_counts() {
        const LEN: usize = 32 << 20;
        let meter = Meter::own().unwrap();
        let before = meter.read();
        let held = std::hint::black_box(vec![1u8; LEN]);
        assert!(meter.read() >= before + LEN as u64 * 9 / 10);
        drop(held);
    }
}
