//! A program that gives up its privileges after its first call, like one that begins as root.

use std::path::Path;
use std::time::Duration;

use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use pool::{Error, StartMethod, TaskError, TaskErrorKind, worker_task};

use crate::harness::{apart, cases};
use crate::support::{assert_usable, pool, task_error};

cases! {
    Processes: given_up;
    Apart: given_up_after_a_call, given_up_with_workers_at_work;
}

fn given_up(method: StartMethod) -> Result<(), Error> {
    if !geteuid().is_root() {
        println!("nothing is checked: this user has no privileges to give up");
        return Ok(());
    }
    let mut parts = [
        apart(Path::new("/proc/self/exe"), given_up_after_a_call, method),
        apart(Path::new("/proc/self/exe"), given_up_with_workers_at_work, method),
    ];
    for part in &mut parts {
        let status = part.status().unwrap();
        assert!(status.success(), "{status}");
    }
    Ok(())
}

/// Becomes a user of its own.
fn give_up() -> u32 {
    let user = 1_000_000 + std::process::id();
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(user)).unwrap();
    setuid(Uid::from_raw(user)).unwrap();
    user
}

/// Returns the user of this process, and of files that it would make; or never ends.
#[worker_task]
fn live(hangs: bool) -> (u32, u32) {
    if hangs {
        loop {
            std::hint::spin_loop();
        }
    }
    (geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// If the worker had more privileges than the program, the error says that it could not be killed, and why.
fn assert_timed_out(error: &TaskError, was_refused: bool) {
    assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_)), "{error}");
    for said in [error.to_string(), format!("{error:?}")] {
        assert_eq!(said.contains("refused (EPERM: Operation not permitted)"), was_refused, "{said}");
        assert_eq!(said.contains("give up privileges before the pool's first call"), was_refused, "{said}");
    }
}

fn given_up_after_a_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(live::par_map(&pool, [false; 4])?, [(0, 0); 4]);
    let user = give_up();
    let hang = || live::job(&pool).task_timeout(Duration::from_millis(200)).chunk_size(1);
    for was_root in [true, false] {
        let outcomes = hang().map_outcomes([true; 2])?;
        for outcome in outcomes {
            assert_timed_out(&outcome.unwrap_err(), was_root);
        }
        // Both have successors now.
        assert_eq!(live::job(&pool).chunk_size(1).map([false; 8])?, [(user, user); 8]);
    }
    assert_usable(&pool);
    pool.join()?;
    Ok(())
}

fn given_up_with_workers_at_work(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(live::par_map(&pool, [false; 4])?, [(0, 0); 4]);
    let pending = live::apply_async(&pool, true);
    give_up();
    let error = task_error(live::job(&pool).task_timeout(Duration::from_millis(200)).apply(true));
    assert_timed_out(&error, true);
    // One of its workers is at work, as root still.
    drop(pool);
    assert!(matches!(pending.get(), Err(Error::Closed)));
    Ok(())
}
