//! Programs that give up their privileges, as one does that begins as root, and others whose files the system shows to
//! no other process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_dumpable;
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use pool::shared::{SharedArray, SharedCounter, SharedMutex, SharedValue};
use pool::{Error, StartMethod, TaskError, TaskErrorKind, worker_init, worker_task};

use crate::harness::{apart, cases};
use crate::limits;
use crate::support::{Scratch, as_a_user_of_its_own, assert_usable, builder, pool, task_error};

cases! {
    Processes: given_up, shared_objects, hidden_memory;
    Apart: limited_out_of_sight, given_up_after_a_call, given_up_with_workers_at_work, shared_after_setuid,
           shared_undumpable, shared_of_an_unreadable_file, shared_with_workers_of_another_user;
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

/// Linux can hide processes from users who may not trace them, and a program that has given up privileges may not trace
/// its own forks.
fn hidden_memory(method: StartMethod) -> Result<(), Error> {
    let none = None::<&str>;
    let hide = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), Some("hidepid=2"))
    };
    if let Err(error) = hide() {
        println!("nothing is checked: no /proc that hides processes can be mounted here: {error}");
        return Ok(());
    }
    let status = apart(Path::new("/proc/self/exe"), limited_out_of_sight, method).status().unwrap();
    assert!(status.success(), "{status}");
    Ok(())
}

fn limited_out_of_sight(method: StartMethod) -> Result<(), Error> {
    give_up();
    let limited = builder(method).memory_limit(32 << 20).build()?;
    if method == StartMethod::Fork {
        let error = live::apply(&limited, false).unwrap_err().to_string();
        assert!(error.contains("measuring its memory: ") && error.contains("/proc"), "{error}");
    } else {
        limits::assert_limited(&limited);
    }
    assert_usable(&pool(method)?);
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

// ---- shared objects ----

fn shared_objects(method: StartMethod) -> Result<(), Error> {
    let own = Path::new("/proc/self/exe");
    let mut undumpable = apart(own, shared_undumpable, method);
    as_a_user_of_its_own(&mut undumpable);
    let mut parts = vec![undumpable];
    // A copy of this program that others may run and not read.
    let unreadable = Scratch::program(env!("CARGO_TARGET_TMPDIR"), "unreadable", 0o711);
    if geteuid().is_root() {
        let mut of_unreadable = apart(unreadable.path(), shared_of_an_unreadable_file, method);
        as_a_user_of_its_own(&mut of_unreadable);
        parts.push(of_unreadable);
        parts.push(apart(own, shared_after_setuid, method));
        parts.push(apart(own, shared_with_workers_of_another_user, method));
    } else {
        println!("not all is checked: this user has no privileges to give up");
    }
    for part in &mut parts {
        let status = part.status().unwrap();
        assert!(status.success(), "{part:?}: {status}");
    }
    Ok(())
}

/// One object of each kind, and more than fit into a small message.
type Objects = (SharedCounter, SharedArray<u32>, SharedMutex<u64>, Vec<SharedValue<u8>>);

fn objects() -> Result<Objects, Error> {
    let many = (0..100).map(|_| SharedValue::new(0)).collect::<Result<_, _>>()?;
    Ok((SharedCounter::new(0)?, SharedArray::zeroed(64)?, SharedMutex::new(0)?, many))
}

#[worker_task]
fn write_all(#[shared] (counter, array, mutex, many): &Objects, index: usize) {
    counter.fetch_add(1);
    array.set(index, 5);
    *mutex.lock().unwrap() += 1;
    many[index].set(5);
}

#[worker_task]
#[expect(clippy::needless_pass_by_value, reason = "what a task takes is its own, it was sent to it")]
fn write_one(array: SharedArray<u32>) {
    array.set(0, 5);
}

#[worker_task]
fn add_one(#[chunk] chunk: &mut [u32]) {
    chunk.iter_mut().for_each(|element| *element += 1);
}

/// The shared value works, and its objects do. What is wrong with an argument is said, with what helps.
fn assert_shared(method: StartMethod) -> Result<(), Error> {
    let shared = objects()?;
    let pool = builder(method).shared(shared.clone()).build()?;
    for _ in 0..2 {
        // Some of its workers start while the others work.
        write_all::job(&pool).worker_lifespan(10).map(0..64)?;
    }
    let (counter, array, mutex, many) = shared;
    assert_eq!((counter.get(), *mutex.lock().unwrap()), (128, 128));
    assert!(array.iter().all(|element| element == 5) && many[..64].iter().all(|value| value.get() == 5));

    // Made after the workers have started: none has inherited it.
    let array = SharedArray::zeroed(1)?;
    assert_hidden(&task_error(write_one::apply(&pool, array.clone())));
    let mut chunks = SharedArray::zeroed(64)?;
    assert_hidden(&task_error(add_one::par_chunks_mut(&pool, &mut chunks, 16)));
    set_dumpable(true).unwrap();
    write_one::apply(&pool, array.clone())?;
    assert_eq!(array.get(0), 5);
    add_one::par_chunks_mut(&pool, &mut chunks, 16)?;
    assert!(chunks.iter().all(|element| element == 1));
    Ok(())
}

#[track_caller]
fn assert_hidden(error: &TaskError) {
    let said = error.to_string();
    assert!(matches!(error.kind(), TaskErrorKind::Decode(_)), "{said}");
    for part in
        ["Permission denied", "put the object into the pool's shared value", "prctl(PR_SET_DUMPABLE, 1)"]
    {
        assert!(said.contains(part), "{said}");
    }
}

fn shared_after_setuid(method: StartMethod) -> Result<(), Error> {
    give_up();
    assert_shared(method)
}

fn shared_undumpable(method: StartMethod) -> Result<(), Error> {
    set_dumpable(false).unwrap();
    assert_shared(method)
}

fn shared_of_an_unreadable_file(method: StartMethod) -> Result<(), Error> {
    assert!(fs::File::open("/proc/self/exe").is_err());
    assert_shared(method)
}

#[worker_init]
fn give_up_in_init() -> u32 {
    give_up()
}

#[worker_task(init = give_up_in_init)]
fn write_all_as(#[state] user: &mut u32, #[shared] objects: &Objects, index: usize) {
    assert_eq!(geteuid().as_raw(), *user);
    write_all(objects, index);
}

/// Each worker gives up its privileges in an init function; the program keeps its own.
fn shared_with_workers_of_another_user(method: StartMethod) -> Result<(), Error> {
    let shared = objects()?;
    let pool = builder(method).shared(shared.clone()).build()?;
    write_all_as::job(&pool).worker_lifespan(10).map(0..64)?;
    assert_eq!(shared.0.get(), 64);
    Ok(())
}
