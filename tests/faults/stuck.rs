//! Workers that hang inside the kernel, where no signal ends them: as on a disk that does not answer. A frozen control
//! group stands in for that disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use pool::shared::SharedArray;
use pool::{Error, StartMethod, TaskErrorKind, worker_task};

use crate::harness::cases;
use crate::support::{assert_fails, assert_usable, builder, pool};

cases! {
    Processes: beyond_its_limit, dropped, joined, with_borrowed_memory;
}

/// A control group whose processes can be stopped so that SIGKILL does not end them.
struct Freezer(PathBuf);

impl Freezer {
    fn new() -> Option<Self> {
        let group = Self(format!("/sys/fs/cgroup/freezer/pool-faults-{}", std::process::id()).into());
        if Path::new("/sys/fs/cgroup/freezer/cgroup.procs").exists() && fs::create_dir(&group.0).is_ok() {
            return Some(group);
        }
        println!("nothing is checked: no process can be frozen here");
        None
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Waits until this many processes are in it, all frozen.
    fn wait(&self, count: usize) {
        while self.count() < count || self.state() != "FROZEN\n" {
            thread::yield_now();
        }
    }

    fn state(&self) -> String {
        fs::read_to_string(self.0.join("freezer.state")).unwrap()
    }

    fn count(&self) -> usize {
        fs::read_to_string(self.0.join("cgroup.procs")).unwrap().lines().count()
    }

    /// Lets them go on: all have been killed. The next pool reaps those that another left.
    fn thaw(&self, method: StartMethod) {
        self.set("THAWED");
        while waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)
            != Err(Errno::ECHILD)
        {
            assert_usable(&pool(method).unwrap());
        }
    }

    fn set(&self, state: &str) {
        fs::write(self.0.join("freezer.state"), state).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        while fs::remove_dir(&self.0).is_err() && self.0.exists() {
            thread::yield_now();
        }
    }
}

fn freeze_this(group: &str) {
    fs::write(Path::new(group).join("cgroup.procs"), std::process::id().to_string()).unwrap();
    fs::write(Path::new(group).join("freezer.state"), "FROZEN").unwrap();
    loop {
        thread::park();
    }
}

#[worker_task]
fn freeze(group: Option<&str>, x: u64) -> u64 {
    if let Some(group) = group {
        freeze_this(group);
    }
    x
}

fn beyond_its_limit(method: StartMethod) -> Result<(), Error> {
    let Some(freezer) = Freezer::new() else { return Ok(()) };
    let pool = pool(method)?;
    for round in 0..2 {
        let items = (0..20).map(|x| ((x == 7).then_some(freezer.path()), x));
        let job = freeze::job(&pool).task_timeout(Duration::from_millis(200));
        for (x, outcome) in (0..).zip(job.map_outcomes(items)?) {
            match outcome {
                Ok(result) => assert!(x != 7 && result == x),
                Err(error) => {
                    assert!(x == 7 && matches!(error.kind(), TaskErrorKind::TimedOut(_)), "{error}");
                }
            }
        }
        assert_usable(&pool);
        assert_eq!(freezer.count(), 1, "it is there still: round {round}");
        // One at a time: no process can join a frozen group.
        freezer.set("THAWED");
        while freezer.count() > 0 {
            thread::yield_now();
        }
    }
    drop(pool);
    freezer.thaw(method);
    Ok(())
}

fn dropped(method: StartMethod) -> Result<(), Error> {
    const COUNT: usize = 6;
    let Some(freezer) = Freezer::new() else { return Ok(()) };
    let pool = builder(method).workers(COUNT).build()?;
    let (path, number) = (freezer.path(), 0u64);
    let pending: Vec<_> = (0..COUNT).map(|_| join_and_wait::apply_async(&pool, (path, number))).collect();
    while freezer.count() < COUNT {
        thread::yield_now();
    }
    freezer.set("FROZEN");
    freezer.wait(COUNT);
    let since = Instant::now();
    drop(pool);
    // One after the other would take two seconds each.
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    for result in pending {
        assert_fails!(result.get(), Error::Closed);
    }
    assert_eq!(freezer.count(), COUNT);
    freezer.thaw(method);
    Ok(())
}

/// Joins the group, and never ends.
#[worker_task]
fn join_and_wait(group: &str, _x: u64) -> u64 {
    fs::write(Path::new(group).join("cgroup.procs"), std::process::id().to_string()).unwrap();
    loop {
        thread::park();
    }
}

fn joined(method: StartMethod) -> Result<(), Error> {
    let Some(freezer) = Freezer::new() else { return Ok(()) };
    let pool = pool(method)?;
    let job = freeze::job(&pool).task_timeout(Duration::from_millis(200));
    assert!(job.apply((Some(freezer.path()), 0)).is_err());
    pool.join()?;
    freezer.wait(1);
    freezer.thaw(method);
    Ok(())
}

#[worker_task]
fn freeze_with(#[shared] group: &String, #[chunk] rows: &mut [u64]) {
    rows.fill(1);
    freeze_this(group);
}

/// A call that has lent memory to its tasks ends only when nothing can write to it any more: the kernel may still.
fn with_borrowed_memory(method: StartMethod) -> Result<(), Error> {
    let Some(freezer) = Freezer::new() else { return Ok(()) };
    let pool = builder(method).shared(freezer.path().to_owned()).build()?;
    assert_usable(&pool);
    let mut array = SharedArray::zeroed(10)?;
    let thawed = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            freezer.wait(1);
            // Far longer than any other call waits for a worker that was killed.
            thread::sleep(Duration::from_secs(3));
            thawed.store(true, Ordering::Relaxed);
            freezer.set("THAWED");
        });
        let job = freeze_with::job(&pool).task_timeout(Duration::from_millis(200));
        assert!(job.chunks_mut(&mut array, 10).is_err());
        assert!(thawed.load(Ordering::Relaxed), "the call has waited");
    });
    drop(pool);
    freezer.thaw(method);
    Ok(())
}
