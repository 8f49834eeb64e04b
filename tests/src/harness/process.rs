//! A trial's process, from both sides.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use pool::StartMethod;

use super::Case;
use super::leftovers::Snapshot;

/// Names the trial that a process is for.
const TRIAL: &str = "POOL_CONFORMANCE_TRIAL";
/// A trial that takes longer counts as hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// The trial that this process is for; none in the runner.
pub(super) fn wanted() -> Option<String> {
    std::env::var(TRIAL).ok()
}

/// Runs the trial in this process, then looks for what it has left behind.
pub(super) fn run(case: &Case, method: StartMethod) -> ExitCode {
    let before = Snapshot::take();
    if let Err(error) = (case.run)(method) {
        eprintln!("the case ended with: {error}\n{error:?}");
        return ExitCode::FAILURE;
    }
    let left = before.left_behind(method);
    for what in &left {
        eprintln!("left behind: {what}");
    }
    if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The command that runs a trial in a process of its own.
pub(super) fn command(program: &Path, trial: &str) -> Command {
    let mut command = Command::new(program);
    // Output for a terminal is made for one of the usual kind.
    command.env(TRIAL, trial).env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
    command
}

/// Runs the trial in a process of its own, and kills that process if it hangs.
pub(super) fn watch(trial: &str) -> Result<(), Failed> {
    // A file, not a pipe: it never fills up, and a process that outlives the trial cannot keep its end away.
    let output = File::from(memfd_create("trial output", MFdFlags::MFD_CLOEXEC)?);
    let child = command(Path::new("/proc/self/exe"), trial)
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()?;
    let verdict = match wait(child)? {
        Ended::InTime(status) if status.success() => return Ok(()),
        Ended::InTime(status) => format!("the trial failed: {status}"),
        Ended::Killed { threads } => format!("the trial hung for {LIMIT:?} and was killed\n{threads}"),
    };
    let mut text = vec![0; usize::try_from(output.metadata()?.len())?];
    output.read_exact_at(&mut text, 0)?;
    Err(format!("{verdict}\n{}", String::from_utf8_lossy(&text)).into())
}

enum Ended {
    InTime(ExitStatus),
    /// With what its threads were doing.
    Killed {
        threads: String,
    },
}

fn wait(mut child: Child) -> Result<Ended, Failed> {
    let group = Pid::from_raw(child.id().cast_signed());
    let (send, ended) = mpsc::channel();
    thread::spawn(move || send.send(child.wait()));
    if let Ok(status) = ended.recv_timeout(LIMIT) {
        return Ok(Ended::InTime(status?));
    }
    let threads = threads_of(group);
    killpg(group, Signal::SIGKILL)?;
    ended.recv()??;
    Ok(Ended::Killed { threads })
}

/// A line for each thread of the process: its name, and where in the kernel it waits.
fn threads_of(pid: Pid) -> String {
    let read = |path: std::path::PathBuf| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return String::new() };
    let line = |task: fs::DirEntry| {
        let place = |file: &str| read(task.path().join(OsStr::new(file)));
        format!("thread `{}` waits in {} (syscall {})\n", place("comm"), place("wchan"), place("syscall"))
    };
    tasks.flatten().map(line).collect()
}
