//! Nothing outlives its owner, whatever it is doing and however the owner ends.

use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::libc::pid_t;
use nix::sys::signal::{Signal, kill};
use pool::{Error, StartMethod, worker_task};

use crate::harness::cases;
use crate::held::with_held_reads;
use crate::support::{Tokens, assert_usable, builder, pool, square, squares, wait_for_token};
use crate::victim::{Scene, Victim};

cases! {
    Processes: idle, busy, in_init, in_exit, nested, starting, from_a_thread, ended_by_sigterm, server_killed,
               server_killed_under_tasks, grandchildren, beside_children_of_the_program, released_too_late, detached,
               in_namespaces;
}

fn killed(scene: Scene, times: usize, method: StartMethod) {
    let mut victim = Victim::new(scene, method);
    victim.wait(times);
    assert!(victim.processes().len() > 2, "{:?}", victim.processes());
    victim.end(Signal::SIGKILL);
}

fn idle(method: StartMethod) -> Result<(), Error> {
    killed(Scene::Idle, 1, method);
    Ok(())
}

fn busy(method: StartMethod) -> Result<(), Error> {
    killed(Scene::Busy, 2, method);
    Ok(())
}

fn in_init(method: StartMethod) -> Result<(), Error> {
    killed(Scene::InInit, 2, method);
    Ok(())
}

fn in_exit(method: StartMethod) -> Result<(), Error> {
    killed(Scene::InExit, 2, method);
    Ok(())
}

fn nested(method: StartMethod) -> Result<(), Error> {
    // Two workers, each with a pool of two, all at work.
    killed(Scene::Nested, 4, method);
    Ok(())
}

fn starting(method: StartMethod) -> Result<(), Error> {
    // Killed a moment later each time, whatever it has started by then.
    for step in 0..25u32 {
        let mut victim = Victim::new(Scene::Starting, method);
        victim.wait(1);
        thread::sleep(Duration::from_micros(400) * step);
        victim.end(Signal::SIGKILL);
    }
    Ok(())
}

fn beside_children_of_the_program(method: StartMethod) -> Result<(), Error> {
    killed(Scene::IdleWithChild, 1, method);
    killed(Scene::IdleWithRawChild, 1, method);
    killed(Scene::BusyWithRawChild, 2, method);
    killed(Scene::BusyWithChild, 2, method);
    killed(Scene::NestedWithChild, 4, method);
    Ok(())
}

/// A process that was told who its parent is, and reads that when the parent is gone. Its lifeline does not show it: a
/// child of the program keeps that.
fn released_too_late(method: StartMethod) -> Result<(), Error> {
    // The server that forks workers, if there is one, and a worker.
    let processes = if method == StartMethod::Spawn { 1 } else { 2 };
    for before in 0..processes {
        let start = || Victim::new(Scene::StartingWithRawChild, method);
        let checked = with_held_reads(size_of::<pid_t>() as u32, start, |hold, mut victim| {
            for _ in 0..before {
                hold.next().unwrap().go_on().unwrap();
            }
            let held = hold.next().unwrap();
            victim.tell();
            victim.wait(1);
            held.wait_for_bytes().unwrap();
            let ended = victim.kill();
            held.go_on().unwrap();
            ended.assert_all_gone();
        });
        if let Err(error) = checked {
            println!("nothing is checked: no system call can be held up here: {error}");
        }
    }
    Ok(())
}

fn detached(method: StartMethod) -> Result<(), Error> {
    for scene in [Scene::Elsewhere, Scene::Closed, Scene::Deaf, Scene::Detached] {
        killed(scene, 2, method);
    }
    let mut victim = Victim::new(Scene::IdleAndClosed, method);
    victim.wait(1);
    victim.end(Signal::SIGKILL);
    Ok(())
}

fn in_namespaces(method: StartMethod) -> Result<(), Error> {
    let works = Command::new("unshare").args(["--pid", "--kill-child", "setpriv", "true"]).status();
    if !works.is_ok_and(|status| status.success()) {
        println!("nothing is checked: no PID namespace can be made here");
        return Ok(());
    }
    killed(Scene::Sandboxing, 2, method);
    Ok(())
}

fn from_a_thread(method: StartMethod) -> Result<(), Error> {
    killed(Scene::FromAThread, 2, method);
    Ok(())
}

fn ended_by_sigterm(method: StartMethod) -> Result<(), Error> {
    for (scene, times) in [(Scene::Idle, 1), (Scene::Busy, 2)] {
        let mut victim = Victim::new(scene, method);
        victim.wait(times);
        victim.end(Signal::SIGTERM);
    }
    Ok(())
}

/// Starts a process that would outlive all others, and that keeps this one's standard output open.
#[worker_task]
#[expect(clippy::zombie_processes, reason = "nobody waits: that is the fault")]
fn leave_a_child(dies: bool) -> u32 {
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    if dies {
        std::process::abort();
    }
    child.id()
}

fn grandchildren(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let children = leave_a_child::par_map(&pool, [false; 4])?;
    assert!(leave_a_child::apply(&pool, true).is_err(), "its end is not held up by its child");
    drop(pool);
    let is_there = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(sleep) S") || stat.contains("(sleep) R")
    };
    while children.iter().any(is_there) {
        thread::yield_now();
    }
    Ok(())
}

/// The servers that fork this process's workers.
pub(super) fn servers() -> Vec<nix::unistd::Pid> {
    let own = std::process::id().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let parent_and_name = |path: std::path::PathBuf| {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let (head, fields) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        Some((fields.split_ascii_whitespace().nth(1)?.to_owned(), name))
    };
    all.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let (parent, name) = parent_and_name(entry.path())?;
        (parent == own && name == "pool-server").then(|| nix::unistd::Pid::from_raw(pid))
    })
    .collect()
}

fn server_killed(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..3 {
        assert_eq!(square::job(&pool).worker_lifespan(10).map(0..100)?, squares(100));
        for server in servers() {
            kill(server, Signal::SIGKILL).unwrap();
        }
    }
    assert_usable(&pool);
    Ok(())
}

fn server_killed_under_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let input = (0..6).map(|x| (&*started_path, &*go_on_path, x));
    let mut results = wait_for_token::job(&pool).chunk_size(1).worker_lifespan(2).imap(input);
    started.take(2);
    servers().into_iter().for_each(|server| kill(server, Signal::SIGKILL).unwrap());
    go_on.put(6);
    for x in 0..6 {
        assert_eq!(results.next().transpose()?, Some(x), "running tasks do not notice");
    }
    assert!(results.next().is_none());
    drop(results);
    assert_usable(&pool);
    Ok(())
}
