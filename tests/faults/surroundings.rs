//! Hosts without a terminal, a session, a home or a user's name. And a terminal that stops background processes that
//! use it.

use std::fs::File;
use std::io::{Read, stdout};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::libc;
use nix::pty::openpty;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::setsid;
use pool::{Error, StartMethod, TaskErrorKind, worker_task};

use crate::harness::{apart, cases};
use crate::signals::hang_and_ignore_sigterm;
use crate::streams::Altered;
use crate::support::{as_a_user_of_its_own, assert_usable, pool, square, squares, task_error};

cases! {
    Processes: bare_host, terminal;
    Apart: on_a_bare_host, on_a_terminal;
}

fn bare_host(method: StartMethod) -> Result<(), Error> {
    let mut part = apart(Path::new("/proc/self/exe"), on_a_bare_host, method);
    let kept: Vec<_> =
        part.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    part.env_clear().envs(kept).current_dir("/").stdin(Stdio::null());
    as_a_user_of_its_own(&mut part);
    let status = part.status().unwrap();
    assert!(status.success(), "{status}");
    Ok(())
}

/// Leaves the trial's session, and so its process group; it still ends with the trial.
fn leave_session() {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
    setsid().unwrap();
}

fn on_a_bare_host(method: StartMethod) -> Result<(), Error> {
    leave_session();
    assert!(std::env::var_os("HOME").is_none() && File::open("/dev/tty").is_err());
    let pool = pool(method)?;
    assert_eq!(square::job(&pool).worker_lifespan(20).map(0..100)?, squares(100));
    let limit = Duration::from_millis(100);
    let error = task_error(hang_and_ignore_sigterm::job(&pool).task_timeout(limit).apply(()));
    assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_)), "{error}");
    assert_usable(&pool);
    pool.join()?;
    Ok(())
}

/// Uses the terminal both ways; says how reading from it ended.
#[worker_task]
fn use_terminal(x: u64) -> (u64, Option<i32>) {
    println!("task {x}");
    let read = File::open("/dev/tty").unwrap().read(&mut [0]);
    (x, read.err().and_then(|error| error.raw_os_error()))
}

fn terminal(method: StartMethod) -> Result<(), Error> {
    let status = apart(Path::new("/proc/self/exe"), on_a_terminal, method).status().unwrap();
    assert!(status.success(), "{status}");
    Ok(())
}

fn on_a_terminal(method: StartMethod) -> Result<(), Error> {
    leave_session();
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring runs no code.
    #[expect(unsafe_code)]
    unsafe {
        // The terminal's end hangs up its session.
        sigaction(Signal::SIGHUP, &ignore).unwrap();
    }
    let ends = openpty(None, None).unwrap();
    // SAFETY: the call takes an integer.
    #[expect(unsafe_code)]
    let is_ours = unsafe { libc::ioctl(ends.slave.as_raw_fd(), libc::TIOCSCTTY, 0) };
    assert_eq!(is_ours, 0);
    let mut modes = tcgetattr(&ends.slave).unwrap();
    // Background writers are stopped too, as background readers always are.
    modes.local_flags |= LocalFlags::TOSTOP;
    tcsetattr(&ends.slave, SetArg::TCSANOW, &modes).unwrap();
    let altered = Altered::open_on(&[stdout().as_raw_fd()], &ends.slave);
    let result = pool(method).and_then(|pool| {
        let limit = Duration::from_secs(5);
        use_terminal::job(&pool).task_timeout(limit).worker_lifespan(3).chunk_size(1).map(0..12)
    });
    drop((altered, ends));
    let expected: Vec<_> = (0..12).map(|x| (x, Some(libc::EIO))).collect();
    assert_eq!(result?, expected);
    Ok(())
}
