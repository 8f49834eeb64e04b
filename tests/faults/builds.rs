//! The program's file: replaced, moved or gone while a pool is alive; and one that is another build.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use pool::{Error, StartMethod, worker_task};

use crate::harness::{apart, cases};
use crate::support::{Scratch, assert_fails, assert_usable, pool, square, squares};

cases! {
    Processes: file_is_changed, another_build, no_proc;
    Apart: outlives_its_file, starts_another_build, works_without_proc;
}

fn file_is_changed(method: StartMethod) -> Result<(), Error> {
    let scratch = |name| Scratch::new(env!("CARGO_TARGET_TMPDIR"), name);
    let delete = |file: &Path| fs::remove_file(file).unwrap();
    let elsewhere = scratch("moved");
    let move_away = |file: &Path| fs::rename(file, elsewhere.path()).unwrap();
    let replace = |file: &Path| {
        let other = scratch("other");
        fs::write(other.path(), "#!/bin/sh\nexit 1\n").unwrap();
        other.permit(0o755);
        fs::rename(other.path(), file).unwrap();
    };
    for change in [&delete as &dyn Fn(&Path), &move_away, &replace] {
        let file = scratch("program");
        // Another name for this program's file, from which a process can start as if it were its own.
        let own = std::env::current_exe().unwrap();
        fs::hard_link(&own, file.path()).or_else(|_| fs::copy(&own, file.path()).map(drop)).unwrap();
        let mut part = apart(file.path(), outlives_its_file, method);
        let mut part = part.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(part.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        change(file.path());
        part.stdin.take().unwrap().write_all(b"\n").unwrap();
        let status = part.wait().unwrap();
        assert!(status.success(), "{status}");
    }
    Ok(())
}

fn outlives_its_file(method: StartMethod) -> Result<(), Error> {
    let own = std::env::current_exe().unwrap();
    let before = pool(method)?;
    assert_usable(&before);
    println!("ready");
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    assert_ne!(std::env::current_exe().unwrap(), own, "the file is another one now");
    assert_eq!(square::job(&before).worker_lifespan(5).map(0..100)?, squares(100));
    assert_usable(&pool(method)?);
    Ok(())
}

/// Its name, which is in the program's file, tells one build from the other.
#[worker_task]
fn of_this_build() {}

fn another_build(method: StartMethod) -> Result<(), Error> {
    let mut program = fs::read("/proc/self/exe").unwrap();
    let (this, other) = (b"builds::of_this_build", b"builds::of_that_build");
    let places: Vec<usize> = program
        .windows(this.len())
        .enumerate()
        .filter(|(_, bytes)| bytes == this)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        program[at..at + other.len()].copy_from_slice(other);
    }
    let other = Scratch::new(env!("CARGO_TARGET_TMPDIR"), "another-build");
    fs::write(other.path(), program).unwrap();
    other.permit(0o755);
    let status =
        apart(Path::new("/proc/self/exe"), starts_another_build, method).env(OTHER, other.path()).status();
    assert!(status.is_ok_and(|status| status.success()));
    Ok(())
}

/// Names the file of another build.
const OTHER: &str = "POOL_FAULTS_OTHER_BUILD";

/// A `/proc` in which this program is another one, or which is empty, for this process alone.
struct OtherProc;

impl OtherProc {
    fn new(program: Option<&Path>) -> nix::Result<Self> {
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("tmpfs"), "/proc", Some("tmpfs"), MsFlags::empty(), none)?;
        if let Some(program) = program {
            fs::create_dir("/proc/self").unwrap();
            std::os::unix::fs::symlink(program, "/proc/self/exe").unwrap();
        }
        Ok(Self)
    }
}

impl Drop for OtherProc {
    fn drop(&mut self) {
        umount2("/proc", MntFlags::MNT_DETACH).unwrap();
    }
}

fn starts_another_build(method: StartMethod) -> Result<(), Error> {
    if method == StartMethod::Fork {
        println!("nothing is checked: a fork is never of another build");
        return Ok(());
    }
    let other = std::env::var_os(OTHER).expect("the trial has named the file");
    match OtherProc::new(Some(Path::new(&other))) {
        Ok(_proc) => {
            let result = square::par_map(&pool(method)?, 0..10);
            assert_fails!(result, Error::Start { reason, .. } if reason.contains("another build"));
        }
        Err(error) => println!("nothing is checked: no other /proc can be mounted here: {error}"),
    }
    Ok(())
}

fn no_proc(method: StartMethod) -> Result<(), Error> {
    let status = apart(Path::new("/proc/self/exe"), works_without_proc, method).status();
    assert!(status.is_ok_and(|status| status.success()));
    Ok(())
}

fn works_without_proc(method: StartMethod) -> Result<(), Error> {
    match OtherProc::new(None) {
        Ok(_proc) => {
            let result = square::par_map(&pool(method)?, 0..10);
            assert_fails!(result, Error::Start { reason, .. } if reason.contains("/proc/self"));
        }
        Err(error) => println!("nothing is checked: no other /proc can be mounted here: {error}"),
    }
    Ok(())
}
