//! The output of a process that is being started. Until it reaches this crate's code, it prints into memory files:
//! every process of a program prints the same before `init`, which is of interest only if the process gets no further.
//! From then on it has the streams of the process that started it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdout, pipe2};

use super::fd::{Fd, above_standard};
pub(crate) use super::fork::flush;
use super::{memfile, named};

/// How many bytes of the output go into an error message: about a screenful.
const TAIL_BYTES: u64 = 2 << 10;

/// The memory files, on the side of the process that starts the other.
#[derive(Debug)]
pub(crate) struct Printed {
    out: Fd,
    err: Fd,
}

impl Printed {
    pub(crate) fn new() -> io::Result<Self> {
        let file = || Fd::new(memfile::create("pool output")?);
        Ok(Self { out: file()?, err: file()? })
    }

    /// Makes the command print into the files.
    pub(crate) fn catch(&self, command: &mut Command) -> io::Result<()> {
        let stdio = |file: &Fd| {
            let copy = file.as_fd().try_clone_to_owned();
            copy.map(Stdio::from).map_err(named("a copy of the file for its output"))
        };
        command.stdout(stdio(&self.out)?).stderr(stdio(&self.err)?);
        Ok(())
    }

    /// The output that says most about its end: stderr, or stdout if that is empty.
    pub(crate) fn output(&self) -> String {
        let text = |file| String::from_utf8_lossy(&tail(file)).trim().to_owned();
        Some(text(&self.err)).filter(|text| !text.is_empty()).unwrap_or_else(|| text(&self.out))
    }
}

/// The end of the file.
fn tail(file: &Fd) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let file = File::from(file.as_fd().try_clone_to_owned()?);
        let len = file.metadata()?.len();
        let tail = len.min(TAIL_BYTES);
        let mut bytes = vec![0; tail as usize];
        file.read_exact_at(&mut bytes, len - tail)?;
        Ok(bytes)
    };
    // The other process may still run, and make the file shorter.
    read().unwrap_or_default()
}

/// This process's own stdout and stderr, for a process that it starts; none for a closed one.
pub(crate) fn own() -> [Option<BorrowedFd<'static>>; 2] {
    // std's handles stand for the numbers 1 and 2, whether open or not.
    let is_open = |fd: &BorrowedFd<'_>| !matches!(fcntl(fd, FcntlArg::F_GETFD), Err(Errno::EBADF));
    [Some(stdout()).filter(is_open), Some(stderr()).filter(is_open)]
}

fn stdout() -> BorrowedFd<'static> {
    static STDOUT: std::sync::LazyLock<io::Stdout> = std::sync::LazyLock::new(io::stdout);
    STDOUT.as_fd()
}

fn stderr() -> BorrowedFd<'static> {
    static STDERR: std::sync::LazyLock<io::Stderr> = std::sync::LazyLock::new(io::stderr);
    STDERR.as_fd()
}

/// Takes over the streams of the process that started this one. For a stream that it lacks, output is lost.
pub(crate) fn take_over([out, err]: [Option<OwnedFd>; 2]) -> io::Result<()> {
    flush();
    let null = || above_standard(nothing(OFlag::O_CLOEXEC)?);
    dup2_stdout(out.map_or_else(null, Ok)?)?;
    dup2_stderr(err.map_or_else(null, Ok)?)?;
    Ok(())
}

/// A file that is empty to a reader: `/dev/null`. On a host without one, such as a bare container, the read end of a
/// pipe without writers. Writing to that fails like writing to a closed stream, which std takes for success.
pub(super) fn nothing(flags: OFlag) -> io::Result<OwnedFd> {
    let null = open("/dev/null", OFlag::O_RDWR | flags, Mode::empty());
    null.or_else(|error| match pipe2(flags) {
        Ok((reader, _)) => Ok(reader),
        // The missing device is the better explanation: a host should have it.
        Err(_) => Err(named("/dev/null")(error)),
    })
}
