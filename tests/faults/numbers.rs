//! Process IDs that mean another process: reused IDs, adopted children, and a /proc of another namespace.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use pool::{Error, StartMethod, TaskErrorKind, worker_task};

use crate::harness::{apart, cases};
use crate::limits;
use crate::support::{assert_usable, builder, pool, task_error};

cases! {
    Processes: given_to_another, adopted, in_another_namespace;
    Apart: as_first_of_a_namespace;
}

#[worker_task]
fn number() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// A child of this process with a process ID that is free now, and a group of its own; none if that can't be had.
#[expect(unsafe_code)]
fn child_with(number: i32) -> Option<Pid> {
    let numbers = [number];
    // SAFETY: all zeroes are valid for this struct of numbers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    args.set_tid = numbers.as_ptr() as u64;
    args.set_tid_size = 1;
    // SAFETY: without flags and a stack this is a fork, and the struct outlives the call. The child makes system calls
    // only.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) } {
        // SAFETY: as above.
        0 => unsafe {
            libc::setpgid(0, 0);
            loop {
                libc::pause();
            }
        },
        1.. => Some(Pid::from_raw(number)),
        _ => None,
    }
}

fn given_to_another(method: StartMethod) -> Result<(), Error> {
    for drops in [true, false] {
        let pool = builder(method).workers(1).build()?;
        let worker = Pid::from_raw(number::apply(&pool, ())?);
        kill(worker, Signal::SIGKILL).unwrap();
        // Other code in the program reaps any child that there is.
        assert_eq!(waitpid(worker, None).unwrap().pid(), Some(worker));
        let Some(stranger) = child_with(worker.as_raw()) else {
            println!("nothing is checked: no process can be given a number here");
            return Ok(());
        };
        while nix::unistd::getpgid(Some(stranger)) != Ok(stranger) {
            thread::yield_now();
        }
        if drops {
            drop(pool);
        } else {
            assert_usable(&pool);
        }
        assert_eq!(waitpid(stranger, Some(WaitPidFlag::WNOHANG)).unwrap(), WaitStatus::StillAlive);
        kill(stranger, Signal::SIGKILL).unwrap();
        waitpid(stranger, None).unwrap();
    }
    Ok(())
}

/// Starts processes, and outlives none of them.
#[worker_task]
#[expect(clippy::zombie_processes, reason = "nobody waits: that is the fault")]
fn leave_children(aborts: bool) {
    for _ in 0..3 {
        Command::new("sh").args(["-c", "sleep 1000 & sleep 1000"]).spawn().unwrap();
    }
    if aborts {
        std::process::abort();
    }
    loop {
        thread::park();
    }
}

/// The zombies that this process must reap, except this one.
fn zombies(but: i32) -> Vec<i32> {
    let own = std::process::id().to_string();
    let is_ours = |number: &i32| {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let mut fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
        fields.next() == Some("Z") && fields.next() == Some(&own)
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number| *number != but && is_ours(number)).collect()
}

/// Children of killed tasks become this process's, as they do in a container whose first process it is.
#[expect(
    clippy::zombie_processes,
    reason = "a trial that ends early has failed, and its children end with it"
)]
fn adopted(method: StartMethod) -> Result<(), Error> {
    set_child_subreaper(true).unwrap();
    let mut stranger = Command::new("true").spawn().unwrap();
    let pool = pool(method)?;
    for _ in 0..3 {
        let job = leave_children::job(&pool).task_timeout(Duration::from_millis(100)).chunk_size(1);
        for outcome in job.map_outcomes([false, true, false, true])? {
            let error = outcome.unwrap_err();
            assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_) | TaskErrorKind::Died(_)), "{error}");
        }
    }
    let pending = leave_children::apply_async(&pool, false);
    assert_usable(&pool);
    drop((pending, pool));
    assert_eq!(zombies(stranger.id().cast_signed()), Vec::<i32>::new());
    assert!(stranger.wait().unwrap().success(), "its status is left to who has started it");
    set_child_subreaper(false).unwrap();
    Ok(())
}

fn in_another_namespace(method: StartMethod) -> Result<(), Error> {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWPID) {
        println!("nothing is checked: no namespace of processes can be made here: {error}");
        return Ok(());
    }
    // This process stays where it was, and its /proc is that of the part, too.
    let status = apart(Path::new("/proc/self/exe"), as_first_of_a_namespace, method).status().unwrap();
    assert!(status.success(), "{status}");
    Ok(())
}

fn as_first_of_a_namespace(method: StartMethod) -> Result<(), Error> {
    assert_eq!(std::process::id(), 1);
    limits::bursts(method)?;
    let pool = builder(method).memory_limit(1 << 30).build()?;
    let limit = Duration::from_millis(200);
    let error = task_error(leave_children::job(&pool).task_timeout(limit).apply(false));
    assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_)), "{error}");
    assert_usable(&pool);
    pool.join()?;
    Ok(())
}
