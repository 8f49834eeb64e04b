//! Finds what a trial leaves behind: child processes, descriptors, mappings, threads.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use pool::StartMethod;

/// The state before the trial.
pub(super) struct Snapshot {
    descriptors: Vec<(String, PathBuf)>,
    mappings: Vec<String>,
    threads: usize,
}

impl Snapshot {
    pub(super) fn take() -> Self {
        Self { descriptors: descriptors(), mappings: mappings(), threads: threads().len() }
    }

    /// A line for each thing that exists now and did not then.
    pub(super) fn left_behind(&self, method: StartMethod) -> Vec<String> {
        // Threads get time to end: a dropped pool does not wait for its own, because they may be in user code, and a
        // scope ends when its threads have returned, not when they are gone.
        let end = Instant::now() + Duration::from_secs(20);
        while self.more_threads().is_some() && Instant::now() < end {
            thread::yield_now();
        }
        // A dropped pool leaves nothing else, except what such a thread has held until now.
        let end = if method.is_process() { Instant::now() } else { end };
        loop {
            let left = self.left_now();
            if left.is_empty() || Instant::now() >= end {
                return left;
            }
            thread::yield_now();
        }
    }

    fn more_threads(&self) -> Option<String> {
        let threads = threads();
        (threads.len() > self.threads)
            .then(|| format!("more threads than the {} before: {threads:?}", self.threads))
    }

    fn left_now(&self) -> Vec<String> {
        let mut left: Vec<String> = self.more_threads().into_iter().collect();
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => {}
            Ok(WaitStatus::StillAlive) => left.push("a child process that still runs".into()),
            other => left.push(format!("a zombie: {other:?}")),
        }
        let new = descriptors().into_iter().filter(|descriptor| !self.descriptors.contains(descriptor));
        left.extend(new.map(|(number, file)| format!("descriptor {number}: {}", file.display())));
        let new = mappings().into_iter().filter(|mapping| !self.mappings.contains(mapping));
        left.extend(new.map(|mapping| format!("mapping {mapping}")));
        left
    }
}

/// The descriptors of this process, each with what it is open on.
fn descriptors() -> Vec<(String, PathBuf)> {
    let listed = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let numbers: Vec<String> =
        listed.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    // The descriptor of the listing itself is closed by now.
    let file = |number: String| {
        let file = fs::read_link(Path::new("/proc/self/fd").join(&number)).ok()?;
        Some((number, file))
    };
    numbers.into_iter().filter_map(file).collect()
}

/// The memory files of the crate that this process has mapped, a line of proc_pid_maps(5) for each.
fn mappings() -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    maps.lines().filter(|line| line.contains("/memfd:pool")).map(str::to_owned).collect()
}

/// The names of the threads of this process.
pub fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    tasks.flatten().filter_map(|task| live_name(&task.path())).collect()
}

/// The thread's name, unless it is past its last instruction: one that was just joined is listed for a moment more.
fn live_name(task: &Path) -> Option<String> {
    /// Bit of the kernel's task flags, the ninth field of proc_pid_stat(5).
    const PF_EXITING: u32 = 0x4;
    let stat = fs::read_to_string(task.join("stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (name, fields) = stat.rsplit_once(')')?;
    let flags: u32 = fields.split_ascii_whitespace().nth(6)?.parse().ok()?;
    (flags & PF_EXITING == 0).then(|| name.split_once('(').map_or(name, |(_, name)| name).to_owned())
}
