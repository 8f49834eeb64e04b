//! The machine runs out of memory, processes, or descriptors.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use pool::shared::{SharedArray, SharedCounter};
use pool::{Error, Retry, StartMethod, TaskErrorKind, worker_task};

use crate::harness::{apart, cases};
use crate::orphans::servers;
use crate::support::{as_a_user_of_its_own, assert_usable, builder, die, pool, square, squares, task_error};

cases! {
    All: arrays_beyond_the_group, hardly_any_descriptors, no_descriptors, no_background_thread;
    Processes: out_of_memory, out_of_memory_elsewhere, the_program_is_spared, few_processes, a_full_group;
    Apart: with_few_processes, with_no_more_threads, in_a_full_group, with_little_memory, in_a_small_group,
        with_hardly_any_descriptors;
}

/// A group of processes with a common memory limit, if this machine lets this user make one.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn new(limit: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let of = |controller: &str| {
            let path = own.lines().find_map(|line| line.split_once(controller)).map_or("/", |(_, path)| path);
            path.trim_start_matches('/').to_owned()
        };
        let (first, second) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let v1 = [first.join(of(":memory:")), first.into()].map(|parent| (parent, "memory.limit_in_bytes"));
        let v2 = [second.join(of("0::")), second.into()].map(|parent| (parent, "memory.max"));
        v1.into_iter().chain(v2).find_map(|(parent, file)| {
            let group = Self(parent.join(format!("pool-faults-{}", std::process::id())));
            fs::create_dir(&group.0).ok()?;
            fs::write(group.0.join(file), limit.to_string()).ok()?;
            // If there is swap, it counts too; if there is none, this file may not exist.
            let _ = fs::write(group.0.join("memory.memsw.limit_in_bytes"), limit.to_string());
            let _ = fs::write(group.0.join("memory.swap.max"), "0");
            Some(group)
        })
    }
}

/// Makes a group that may have so many processes and threads, where this machine lets this user make one.
fn group_of_processes(limit: u64) -> Option<MemoryGroup> {
    let roots = [Path::new("/sys/fs/cgroup/pids"), Path::new("/sys/fs/cgroup")];
    roots.into_iter().find_map(|root| {
        let group = MemoryGroup(root.join(format!("pool-faults-pids-{}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join("pids.max"), limit.to_string()).ok()?;
        Some(group)
    })
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Its last process may still be ending.
        let deadline = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.0).is_err() && self.0.exists() && Instant::now() < deadline {
            thread::yield_now();
        }
    }
}

/// How many processes the kernel has killed for lack of memory.
fn oom_kills() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.expect("the kernel counts").parse().unwrap()
}

/// Joins the group, if there is one, and takes memory until the kernel ends that.
#[worker_task]
fn devour(group: Option<&str>, x: u64) -> u64 {
    let Some(group) = group else { return x };
    fs::write(Path::new(group).join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let mut held = Vec::new();
    for _ in 0..2048 {
        held.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&held);
    }
    panic!("the group's limit has let 2 GiB pass");
}

fn out_of_memory(method: StartMethod) -> Result<(), Error> {
    let Some(group) = MemoryGroup::new(64 << 20) else {
        println!("nothing is checked: no cgroup with a memory limit can be made here");
        return Ok(());
    };
    let path = group.0.to_str().unwrap();
    let pool = pool(method)?;
    let is_killed = |kind: &TaskErrorKind| {
        let TaskErrorKind::Died(death) = kind else { return false };
        death.signal() == Some(Signal::SIGKILL as i32) && death.out_of_memory()
    };
    let outcomes = devour::par_map_outcomes(&pool, (0..30).map(|x| ((x % 10 == 7).then_some(path), x)))?;
    for (index, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(x) => assert!(index % 10 != 7 && x == index, "{index}: {x}"),
            Err(error) => {
                assert!(index % 10 == 7 && is_killed(error.kind()), "{error}");
                assert!(error.to_string().contains("out of memory"), "{error}");
            }
        }
    }
    let error = task_error(devour::job(&pool).retries(1).apply((Some(path), 0)));
    assert!(
        error.attempts() == 2 && is_killed(error.kind()) && error.earlier_attempts().iter().all(is_killed)
    );
    // Two deaths before the parent looks: each is reported for what it was.
    let before = oom_kills();
    let results = devour::job(&pool).chunk_size(1).imap([(Some(path), 0); 2]);
    while oom_kills() < before + 2 {
        thread::yield_now();
    }
    for result in results {
        let error = task_error(result);
        assert!(is_killed(error.kind()), "{error}");
    }
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn be_killed(_x: u64) -> u64 {
    die(Signal::SIGKILL)
}

fn out_of_memory_elsewhere(method: StartMethod) -> Result<(), Error> {
    let Some(group) = MemoryGroup::new(64 << 20) else {
        println!("nothing is checked: no cgroup with a memory limit can be made here");
        return Ok(());
    };
    let (one, other) = (pool(method)?, pool(method)?);
    assert_usable(&one);
    let error = task_error(devour::apply(&other, (Some(group.0.to_str().unwrap()), 0)));
    assert!(error.to_string().contains("out of memory"), "{error}");
    let error = task_error(be_killed::apply(&one, 0));
    let TaskErrorKind::Died(death) = error.kind() else { panic!("{error}") };
    assert!(death.signal() == Some(Signal::SIGKILL as i32) && !death.out_of_memory(), "{death}");
    Ok(())
}

/// Tells the part which group to join.
const GROUP: &str = "POOL_FAULTS_GROUP";

fn the_program_is_spared(method: StartMethod) -> Result<(), Error> {
    let Some(group) = MemoryGroup::new(400 << 20) else {
        println!("nothing is checked: no cgroup with a memory limit can be made here");
        return Ok(());
    };
    let mut part = apart(Path::new("/proc/self/exe"), with_little_memory, method);
    let status = part.env(GROUP, &group.0).status().unwrap();
    assert!(status.success(), "{status}");
    Ok(())
}

/// Whether the task's process may be chosen no later than its program.
#[worker_task]
fn oom_score() -> i32 {
    fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap()
}

fn with_little_memory(method: StartMethod) -> Result<(), Error> {
    let group = PathBuf::from(std::env::var_os(GROUP).expect("the trial has said which"));
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let held = vec![1u8; 250 << 20];
    let pool = builder(method).workers(1).build()?;
    for _ in 0..3 {
        let error = task_error(devour_here::apply(&pool, 0));
        assert!(error.to_string().contains("out of memory"), "{error}");
        assert_eq!(oom_score::apply(&pool, ())?, 1000);
    }
    std::hint::black_box(&held);
    assert_usable(&pool);
    Ok(())
}

/// Takes memory until the kernel ends that.
#[worker_task]
fn devour_here(_x: u64) -> u64 {
    let mut held = Vec::new();
    for _ in 0..2048 {
        held.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&held);
    }
    panic!("the group's limit has let 2 GiB pass");
}

fn arrays_beyond_the_group(method: StartMethod) -> Result<(), Error> {
    let Some(group) = MemoryGroup::new(128 << 20) else {
        println!("nothing is checked: no cgroup with a memory limit can be made here");
        return Ok(());
    };
    let mut part = apart(Path::new("/proc/self/exe"), in_a_small_group, method);
    let status = part.env(GROUP, &group.0).status().unwrap();
    assert!(status.success(), "{status}");
    Ok(())
}

/// More memory than the group has is an error, at once and after some of it is taken; the memory that it has can be
/// used.
fn in_a_small_group(method: StartMethod) -> Result<(), Error> {
    let group = PathBuf::from(std::env::var_os(GROUP).expect("the trial has said which"));
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let pool = pool(method)?;
    assert_usable(&pool);
    let refused = |bytes: usize| {
        let error = SharedArray::<u8>::zeroed(bytes).unwrap_err().to_string();
        assert!(error.contains("the control group's memory"), "{error}");
    };
    refused(1 << 30);
    refused(128 << 20);
    let mut array = SharedArray::<u8>::zeroed(40 << 20)?;
    array.as_mut_slice()?.fill(1);
    refused(100 << 20);
    drop(array);
    drop(SharedArray::<u8>::zeroed(40 << 20)?);
    assert_usable(&pool);
    Ok(())
}

/// Runs this part as a user of its own: a limit on processes does not bind root, and counts all processes of the user.
fn run_as_a_user(part: impl Fn(StartMethod) -> Result<(), Error>, method: StartMethod) {
    let mut part = apart(Path::new("/proc/self/exe"), part, method);
    as_a_user_of_its_own(&mut part);
    let status = part.status().unwrap();
    assert!(status.success(), "{status}");
}

fn few_processes(method: StartMethod) -> Result<(), Error> {
    run_as_a_user(with_few_processes, method);
    Ok(())
}

/// Limits the processes of this one's user, including those that fork for this one.
fn limit_processes(limit: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
    setrlimit(Resource::RLIMIT_NPROC, limit, hard).unwrap();
    for server in servers() {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: hard };
        // SAFETY: the call reads the limit that it is given, and writes none.
        #[expect(unsafe_code)]
        let set = unsafe {
            libc::prlimit(server.as_raw(), libc::RLIMIT_NPROC, &raw const limit, std::ptr::null_mut())
        };
        assert_eq!(set, 0);
    }
}

fn with_few_processes(method: StartMethod) -> Result<(), Error> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
    let is_told = |reason: &str, limit: u64| {
        let text = format!(
            "RLIMIT_NPROC, the most processes and threads that this user may have, is {limit}: raise it"
        );
        reason.contains("Resource temporarily unavailable") && reason.contains(&text)
    };
    // As many processes as there may be; this one is one of them, and a server is another.
    for limit in [1, 2, 3, 5, 40] {
        limit_processes(limit);
        let built = builder(method).workers(8).build();
        let result = built.and_then(|pool| square::job(&pool).worker_lifespan(20).map(0..400));
        limit_processes(soft);
        match result {
            Ok(results) => assert!(limit > 1 && results == squares(400), "with {limit}"),
            Err(Error::Start { reason, .. }) => {
                assert!(limit < 40 && is_told(&reason, limit), "with {limit}: {reason}");
            }
            Err(other) => panic!("with {limit}: {other}"),
        }
    }
    // No worker that ends has a successor.
    let pool = builder(method).workers(4).build()?;
    assert_usable(&pool);
    limit_processes(1);
    let result = square::job(&pool).worker_lifespan(10).chunk_size(1).map(0..1000);
    limit_processes(soft);
    match result {
        Err(Error::Start { reason, .. }) => assert!(is_told(&reason, 1), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_usable(&pool);
    Ok(())
}

/// A call that can't be driven is no call: none of its tasks runs, and nobody waits for it.
fn no_background_thread(method: StartMethod) -> Result<(), Error> {
    run_as_a_user(with_no_more_threads, method);
    Ok(())
}

#[worker_task]
fn count(#[shared] counter: &SharedCounter) -> u64 {
    counter.fetch_add(1)
}

fn with_no_more_threads(method: StartMethod) -> Result<(), Error> {
    let counter = SharedCounter::new(0)?;
    let pool = builder(method).shared(counter.clone()).build()?;
    pool.warm_up::<count>()?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
    setrlimit(Resource::RLIMIT_NPROC, 1, hard).unwrap();
    let errors = [
        count::apply_async(&pool, ()).get().map(drop),
        count::job(&pool).map_async(vec![(); 50]).get().map(drop),
        count::job(&pool).retry(Retry::times(1).on(|_| true)).apply_async(()).get().map(drop),
    ];
    pool.wait_idle()?;
    setrlimit(Resource::RLIMIT_NPROC, soft, hard).unwrap();
    for error in errors {
        let Err(Error::Start { what, reason }) = error else { panic!("{error:?}") };
        assert_eq!(what, "the background thread");
        assert!(reason.contains("RLIMIT_NPROC") && reason.contains("raise it"), "{reason}");
    }
    assert_eq!(counter.get(), 0);
    assert_eq!(count::apply_async(&pool, ()).get()?, 0);
    pool.join()?;
    Ok(())
}

fn a_full_group(method: StartMethod) -> Result<(), Error> {
    let Some(group) = group_of_processes(2) else {
        println!("nothing is checked: no cgroup with a limit on processes can be made here");
        return Ok(());
    };
    let mut part = apart(Path::new("/proc/self/exe"), in_a_full_group, method);
    let status = part.env(GROUP, &group.0).status().unwrap();
    assert!(status.success(), "{status}");
    Ok(())
}

/// The error names the group's limit, which also binds root.
fn in_a_full_group(method: StartMethod) -> Result<(), Error> {
    let group = PathBuf::from(std::env::var_os(GROUP).expect("the trial has said which"));
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    for limit in [1, 2] {
        fs::write(group.join("pids.max"), limit.to_string()).unwrap();
        match builder(method).workers(4).build().and_then(|pool| square::par_map(&pool, 0..100)) {
            // One worker is enough.
            Ok(results) => assert!(limit > 1 && results == squares(100)),
            Err(Error::Start { reason, .. }) => {
                let is_told =
                    reason.contains("`pids.max`") && reason.contains(&format!("is {limit}: raise it"));
                assert!(is_told, "{reason}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    fs::write(group.join("pids.max"), "max").unwrap();
    assert_usable(&pool(method)?);
    Ok(())
}

/// Tells the part how many descriptors it may have.
const DESCRIPTORS: &str = "POOL_FAULTS_DESCRIPTORS";

/// Wherever the limit stops a pool, from its first descriptor to its last, it works, or names that limit.
fn hardly_any_descriptors(method: StartMethod) -> Result<(), Error> {
    let mut worked = Vec::new();
    for limit in 4..=40 {
        let mut part = apart(Path::new("/proc/self/exe"), with_hardly_any_descriptors, method);
        let output = part.env(DESCRIPTORS, limit.to_string()).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(
            output.status.success() && !err.contains("panicked"),
            "with {limit}: {}\n{err}",
            output.status
        );
        worked.push(out.contains(WORKED));
    }
    assert!(!worked[0] && worked[36], "{worked:?}");
    Ok(())
}

/// A limit that is lowered to less than the three standard streams: the system calls a copy an invalid argument.
fn no_descriptors(method: StartMethod) -> Result<(), Error> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    for limit in 0..=3 {
        let pool = builder(method).build()?;
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
        let result = square::par_map(&pool, 0..100);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        let error = result.unwrap_err().to_string();
        let text =
            format!("RLIMIT_NOFILE, the most files that a process may have open, is {limit}: raise it");
        assert!(error.contains(&text), "{error}");
        assert_usable(&pool);
    }
    Ok(())
}

/// The output of the part if the limit did not matter.
const WORKED: &str = "all calls worked";

fn with_hardly_any_descriptors(method: StartMethod) -> Result<(), Error> {
    let limit = std::env::var(DESCRIPTORS).expect("the trial has said how many").parse().unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limited = |call: &dyn Fn() -> Result<Vec<u64>, Error>| {
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
        let result = call();
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        match result {
            Ok(results) => {
                assert_eq!(results, squares(100));
                true
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("RLIMIT_NOFILE") && error.contains("ulimit -n"), "{error}");
                false
            }
        }
    };
    let plain = || builder(method).build().and_then(|pool| square::par_map(&pool, 0..100));
    let with_all = || {
        let pool = builder(method).insights(true).shared(vec![7u8; 100]).build()?;
        square::job(&pool).worker_lifespan(20).map(0..100)
    };
    if limited(&plain) & limited(&with_all) {
        println!("{WORKED}");
    }
    Ok(())
}
