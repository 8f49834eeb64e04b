//! From a worker's death to the caller's error, beside the bare way to notice a death: a pidfd and poll.

use std::error::Error;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool::{StartMethod, worker_task};

use super::builder;
use super::start::nothing;
use crate::rounds::{Contender, Session, median};

const DEATHS: usize = 15;

/// By then a thread that waits is asleep.
const SETTLED: Duration = Duration::from_millis(20);

#[worker_task]
fn number() -> i32 {
    std::process::id().cast_signed()
}

#[worker_task]
fn sleep() {
    thread::sleep(Duration::from_secs(1000));
}

/// The median of several deaths, in microseconds. `born` returns the process, and a wait for its end.
fn median_us<W: FnOnce() + Send>(mut born: impl FnMut() -> (Pid, W)) -> f64 {
    let one = |_| {
        let (pid, wait) = born();
        let (send, ended) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                wait();
                send.send(Instant::now())
            });
            thread::sleep(SETTLED);
            let start = Instant::now();
            kill(pid, Signal::SIGKILL).expect("it lives");
            (ended.recv().expect("the end is noticed") - start).as_secs_f64() * 1e6
        })
    };
    median((0..DEATHS).map(one).collect::<Vec<_>>().into_iter())
}

fn bare() -> f64 {
    median_us(|| {
        let mut child = nothing(Stdio::piped());
        let pid = child.id();
        // SAFETY: pidfd_open takes integers, and returns a new descriptor that nothing else owns.
        #[expect(unsafe_code)]
        let pidfd = unsafe { OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32) };
        let wait = move || {
            poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).expect("a pidfd");
            assert!(child.wait().is_ok_and(|status| !status.success()));
        };
        (Pid::from_raw(pid.cast_signed()), wait)
    })
}

pub(crate) fn run(session: &mut Session) -> Result<(), Box<dyn Error>> {
    let mut contenders = vec![Contender::new("pidfd and poll", bare)];
    for method in [StartMethod::ForkServer, StartMethod::Fork, StartMethod::Spawn] {
        let pool = builder(method).workers(1).build()?;
        contenders.push(Contender::new(format!("pool, {method}"), move || {
            let pool = &pool;
            median_us(|| {
                let pid = Pid::from_raw(number::apply(pool, ()).expect("no task fails"));
                (pid, move || assert!(sleep::apply(pool, ()).is_err()))
            })
        }));
    }
    session.compare("from SIGKILL to the error in the caller's hands", "µs", contenders);
    Ok(())
}
