//! Variables, the directory, the nice value and limits of worker processes: `env`, `current_dir`, `nice`, `rlimit`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::resource::{Resource as SystemResource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use pool::{Error, Resource, StartMethod, WorkerId, WorkerPool, WorkerPoolBuilder, worker_init, worker_task};
use serde::{Deserialize, Deserializer, Serialize};

use crate::harness::cases;
use crate::support::{Scratch, assert_usable, builder, square};

cases! {
    All: threads_refuse_them, what_is_wrong_is_refused, panics_of_the_function;
    Processes: held_before_init_and_decoding, kept_by_workers_that_are_started_anew, same_for_all,
        the_function_is_called_once_for_each_worker, given_several_times, inherited_by_programs_and_nested_pools,
        a_directory_that_has_gone, with_other_options, names_and_values_are_bytes, many_and_long, a_lower_nice_value,
        what_takes_privileges;
}

pub(super) const VARIABLE: &str = "POOL_TESTS_GPU";

/// What a process has at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    pid: u32,
    variable: Option<String>,
    dir: PathBuf,
    nice: i32,
    files: (u64, u64),
}

impl Seen {
    fn now() -> Self {
        Self {
            pid: process::id(),
            variable: env::var(VARIABLE).ok(),
            dir: env::current_dir().unwrap(),
            nice: nice(),
            files: getrlimit(SystemResource::RLIMIT_NOFILE).unwrap(),
        }
    }
}

/// The nice value of this process.
fn nice() -> i32 {
    // proc_pid_stat(5): the 19th field, the 17th after the name.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(16).unwrap().parse().unwrap()
}

/// A shared value that tells what its process had as it was decoded.
#[derive(Serialize)]
struct Decoded(Option<Seen>);

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<Seen>::deserialize(deserializer)?;
        Ok(Self(Some(Seen::now())))
    }
}

#[worker_init]
fn at_init() -> Seen {
    Seen::now()
}

/// What the worker had as its shared value was decoded, in its init function, and has now.
#[worker_task(init = at_init)]
fn seen(
    #[worker_id] id: usize,
    #[shared] decoded: &Decoded,
    #[state] init: &mut Seen,
) -> (usize, Option<Seen>, Seen, Seen) {
    (id, decoded.0.clone(), init.clone(), Seen::now())
}

/// A directory that is not the one of this process.
fn elsewhere() -> PathBuf {
    env::temp_dir().canonicalize().unwrap()
}

fn with_all(method: StartMethod) -> WorkerPoolBuilder<Decoded> {
    builder(method)
        .order_tasks(true)
        .env(|worker| [(VARIABLE, worker.to_string())])
        .current_dir(elsewhere())
        .nice(nice() + 1)
        .rlimit(Resource::Nofile, 40, 41)
        .shared(Decoded(None))
}

/// Asserts that a process of worker `id` had all of [`with_all`].
#[track_caller]
fn assert_has_all(id: usize, seen: &Seen) {
    assert_eq!(seen.variable.as_deref(), Some(&*id.to_string()), "{seen:?}");
    assert_eq!((&seen.dir, seen.nice, seen.files), (&elsewhere(), nice() + 1, (40, 41)));
}

fn held_before_init_and_decoding(method: StartMethod) -> Result<(), Error> {
    let before = Seen::now();
    let pool = with_all(method).build()?;
    let results = seen::job(&pool).chunk_size(1).map([(); 6])?;
    for (at, (id, decoded, init, now)) in results.into_iter().enumerate() {
        assert_eq!(id, at % 2);
        assert_has_all(id, &init);
        assert_eq!(init, now);
        // With `Fork` it was never decoded. A hard limit comes after the decoding.
        assert_eq!(decoded.is_some(), method != StartMethod::Fork);
        if let Some(mut decoded) = decoded {
            assert_eq!((decoded.files.0, decoded.pid), (40, now.pid));
            decoded.files.1 = 41;
            assert_eq!(decoded, now);
        }
    }
    pool.join()?;
    assert_eq!(Seen::now(), before, "this process is left alone");
    Ok(())
}

fn kept_by_workers_that_are_started_anew(method: StartMethod) -> Result<(), Error> {
    let pool = with_all(method).build()?;
    let results = seen::job(&pool).chunk_size(1).worker_lifespan(1).map([(); 6])?;
    let mut pids: Vec<u32> = results.iter().map(|(.., now)| now.pid).collect();
    results.iter().for_each(|(id, _, init, now)| {
        assert_has_all(*id, init);
        assert_has_all(*id, now);
    });
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 6, "each task had a worker of its own");
    Ok(())
}

/// A server has what all its workers have, and decodes once.
fn same_for_all(method: StartMethod) -> Result<(), Error> {
    let builder = builder(method).order_tasks(true).env(|_| vec![(VARIABLE, "all")]).nice(nice() + 2);
    let pool = builder.rlimit(Resource::Nofile, 50, 50).shared(Decoded(None)).build()?;
    let results = seen::job(&pool).chunk_size(1).map([(); 4])?;
    for (_, decoded, init, now) in &results {
        for seen in [Some(init), Some(now), decoded.as_ref()].into_iter().flatten() {
            assert_eq!((seen.variable.as_deref(), seen.nice, seen.files.0), (Some("all"), nice() + 2, 50));
        }
    }
    let decoders: Vec<_> = results.iter().map(|(_, decoded, ..)| decoded.as_ref().map(|at| at.pid)).collect();
    let is_one = decoders.iter().all(|pid| *pid == decoders[0]);
    assert_eq!(is_one, method != StartMethod::Spawn, "{decoders:?}");
    Ok(())
}

fn threads_refuse_them(method: StartMethod) -> Result<(), Error> {
    let own = nice();
    type Give = fn(WorkerPoolBuilder, i32) -> WorkerPoolBuilder;
    let options: [(&str, Give); 4] = [
        ("env", |builder, _| builder.env(|_| [("A", "B")])),
        ("current_dir", |builder, _| builder.current_dir("/")),
        ("nice", |builder, own| builder.nice(own)),
        ("rlimit", |builder, _| builder.rlimit(Resource::Core, 0, 0)),
    ];
    for (name, give) in options {
        match give(builder(method), own).build() {
            Ok(pool) => {
                assert!(method.is_process());
                assert_usable(&pool);
            }
            Err(error @ Error::Option { option, .. }) => {
                assert_eq!((option, method), (name, StartMethod::Threads));
                assert!(
                    error.to_string().contains("use a start method whose workers are processes"),
                    "{error}"
                );
            }
            Err(other) => panic!("{other}"),
        }
    }
    Ok(())
}

#[track_caller]
fn assert_refused(built: Result<WorkerPool, Error>, name: &str, why: &str) {
    let Err(error @ Error::Option { option, .. }) = &built else { panic!("{built:?}") };
    assert_eq!(*option, name);
    assert!(error.to_string().contains(why), "{error}");
}

fn what_is_wrong_is_refused(method: StartMethod) -> Result<(), Error> {
    let builder = || builder(method);
    // Threads refuse the options altogether.
    let why = |why| if method.is_process() { why } else { "threads" };
    for (name, value, rule) in [
        ("", "x", "may not be empty"),
        ("A=B", "x", "neither `=` nor NUL"),
        ("=A", "x", "neither `=` nor NUL"),
        ("A\0", "x", "neither `=` nor NUL"),
        ("A", "x\0y", "may not contain NUL"),
    ] {
        let built = builder().env(move |worker| (worker.to_string() == "1").then_some((name, value))).build();
        if method.is_process() {
            assert!(built.as_ref().is_err_and(|error| error.to_string().contains("worker 1")), "{built:?}");
        }
        assert_refused(built, "env", why(rule));
    }
    assert_refused(builder().env(|_| [("A", "x".repeat(1 << 17))]).build(), "env", why("128 KiB"));
    assert_refused(builder().env(|_| (0..).map(|n: u64| (n.to_string(), ""))).build(), "env", why("65536"));
    assert_refused(builder().current_dir("").build(), "current_dir", why("empty"));
    assert_refused(
        builder().current_dir("/no/such").build(),
        "current_dir",
        why("No such file or directory"),
    );
    assert_refused(builder().current_dir("/proc/self/exe").build(), "current_dir", why("not a directory"));
    assert_refused(builder().current_dir("a\0b").build(), "current_dir", why(""));
    for nice in [20, -21, i32::MAX, i32::MIN] {
        assert_refused(builder().nice(nice).build(), "nice", why("from -20"));
    }
    assert_refused(builder().rlimit(Resource::Core, 2, 1).build(), "rlimit", why("above the hard one"));
    let most = u64::MAX - 1;
    assert_refused(builder().rlimit(Resource::Nofile, 9, most).build(), "rlimit", why("nr_open"));
    Ok(())
}

fn panics_of_the_function(method: StartMethod) -> Result<(), Error> {
    let env = |worker: WorkerId| -> [(String, String); 0] { panic!("no GPU for {worker}") };
    let why = if method.is_process() { "panicked for worker 0: no GPU for 0" } else { "threads" };
    assert_refused(builder(method).env(env).build(), "env", why);
    // A panic of the iterator that it gives.
    let env = |_| (0..2).map(|at| (["A"][at], "B"));
    let why = if method.is_process() { "panicked for worker 0: index out of bounds" } else { "threads" };
    assert_refused(builder(method).env(env).build(), "env", why);
    Ok(())
}

fn the_function_is_called_once_for_each_worker(method: StartMethod) -> Result<(), Error> {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let caller = thread::current().id();
    let pool = builder(method).workers(3).env(move |worker| {
        assert_eq!((CALLS.fetch_add(1, Ordering::Relaxed), thread::current().id()), (worker.into(), caller));
        [(VARIABLE, worker.to_string())]
    });
    let pool = pool.build()?;
    assert_eq!(CALLS.load(Ordering::Relaxed), 3);
    assert_eq!(square::job(&pool).worker_lifespan(1).chunk_size(1).map(0..9)?.len(), 9);
    assert_eq!(CALLS.load(Ordering::Relaxed), 3);
    Ok(())
}

#[worker_task]
fn variables(names: Vec<String>) -> Vec<Option<Vec<u8>>> {
    names.iter().map(|name| env::var_os(name).map(OsString::into_vec)).collect()
}

fn given_several_times(method: StartMethod) -> Result<(), Error> {
    let builder = builder(method).env(|_| [("POOL_TESTS_A", "1"), ("POOL_TESTS_B", "1")]);
    let builder = builder.env(|_| Some(("POOL_TESTS_B", String::from("2")))).nice(19).nice(nice());
    let builder = builder.rlimit(Resource::Nofile, 0, 0).rlimit(Resource::Nofile, 60, 60);
    let pool = builder.build()?;
    let names = ["POOL_TESTS_A", "POOL_TESTS_B"].map(String::from).to_vec();
    assert_eq!(variables::apply(&pool, names)?, [Some(b"1".to_vec()), Some(b"2".to_vec())]);
    assert_eq!(soft_limit_of_files::apply(&pool, ())?, 60);
    Ok(())
}

#[worker_task]
fn soft_limit_of_files() -> u64 {
    getrlimit(SystemResource::RLIMIT_NOFILE).unwrap().0
}

fn names_and_values_are_bytes(method: StartMethod) -> Result<(), Error> {
    let bytes = || OsString::from_vec(vec![0xff, b'=', b' ', 0x80]);
    let pool = builder(method).env(move |worker| [("POOL TESTS", bytes()), ("é", worker.to_string().into())]);
    let pool = pool.build()?;
    let [Some(value), Some(id)] = &variables::apply(&pool, vec!["POOL TESTS".into(), "é".into()])?[..]
    else {
        panic!("both are set")
    };
    assert!(*value == [0xff, b'=', b' ', 0x80] && [&b"0"[..], b"1"].contains(&&id[..]));
    Ok(())
}

/// More than a control message holds.
fn many_and_long(method: StartMethod) -> Result<(), Error> {
    let name = |at: usize| format!("POOL_TESTS_{at}");
    let value = |at: usize| "x".repeat(100 * at);
    for differ in [false, true] {
        let pool = builder(method).env(move |worker| {
            let own = differ.then(|| (name(1000), worker.to_string()));
            (0..60).map(move |at| (name(at), value(at))).chain(own)
        });
        let values = variables::apply(&pool.build()?, (0..60).map(name).collect())?;
        assert!(values.into_iter().eq((0..60).map(|at| Some(value(at).into_bytes()))));
    }
    Ok(())
}

#[worker_task]
fn of_a_program() -> (String, String) {
    let output = |program: &mut Command| String::from_utf8(program.output().unwrap().stdout).unwrap();
    let shell = "echo $POOL_TESTS_GPU; pwd; ulimit -c; nice";
    (output(Command::new("sh").args(["-c", shell])), format!("{VARIABLE}, {}", process::id()))
}

#[worker_task]
fn of_a_nested_pool(method: u8) -> Result<Vec<String>, String> {
    let methods = [StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer];
    let nested = || -> Result<Vec<String>, Error> {
        let pool = builder(methods[usize::from(method)]).nice(nice() + 1).build()?;
        Ok(vec![of_a_program::apply(&pool, ())?.0])
    };
    nested().map_err(|error| error.to_string())
}

fn inherited_by_programs_and_nested_pools(method: StartMethod) -> Result<(), Error> {
    let options =
        builder(method).daemon(false).env(|_| [(VARIABLE, "here")]).current_dir("/").nice(nice() + 1);
    let pool = options.rlimit(Resource::Core, 0, 0).build()?;
    assert_eq!(of_a_program::apply(&pool, ())?.0, format!("here\n/\n0\n{}\n", nice() + 1));
    for nested in 0..3 {
        let seen = of_a_nested_pool::apply(&pool, nested)?;
        assert_eq!(seen, Ok(vec![format!("here\n/\n0\n{}\n", nice() + 2)]), "nested method {nested}");
    }
    Ok(())
}

/// The error names the option, the directory, and what the system said; the next call tries again.
fn a_directory_that_has_gone(method: StartMethod) -> Result<(), Error> {
    let dir = elsewhere().join(format!("pool-tests-gone-{}", process::id()));
    let (call, back) = (|pool: &WorkerPool| square::par_map(pool, 0..3), || fs::create_dir(&dir).unwrap());
    back();
    let pool = builder(method).current_dir(&dir).build()?;
    fs::remove_dir(&dir).unwrap();
    let error = call(&pool).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Start { .. }), "{text}");
    let has = |part: &str| text.contains(part);
    assert!(has("`current_dir`") && has(dir.to_str().unwrap()) && has("No such file or directory"), "{text}");
    assert!(has("worker ") || has("the fork server"), "{text}");
    back();
    assert_eq!(call(&pool)?, [0, 1, 4]);
    drop(pool);
    fs::remove_dir(&dir).unwrap();
    Ok(())
}

fn with_other_options(method: StartMethod) -> Result<(), Error> {
    let pool =
        with_all(method).cpu_ids([0]).memory_limit(1 << 30).keep_alive(false).insights(true).build()?;
    for _ in 0..2 {
        for (id, _, init, now) in seen::job(&pool).chunk_size(1).map([(); 2])? {
            assert_has_all(id, &init);
            assert_has_all(id, &now);
        }
    }
    Ok(())
}

/// Refused when the pool is built, or given.
fn a_lower_nice_value(method: StartMethod) -> Result<(), Error> {
    match builder(method).nice(nice() - 1).build() {
        Ok(pool) => assert_eq!(nice_here::apply(&pool, ())?, nice() - 1),
        built => assert_refused(built, "nice", "the system refuses it"),
    }
    Ok(())
}

#[worker_task]
fn nice_here() -> i32 {
    nice()
}

/// Without privileges it is refused when the pool is built; if they were given up since, when workers start.
fn what_takes_privileges(method: StartMethod) -> Result<(), Error> {
    if !geteuid().is_root() {
        println!("nothing is checked: this user has no privileges to give up");
        return Ok(());
    }
    setrlimit(SystemResource::RLIMIT_NOFILE, 512, 1024).unwrap();
    let closed = Scratch::new(elsewhere(), "pool-tests-closed");
    let user = 1_000_000 + process::id();
    // It is to be removed in the end, though not entered.
    fs::DirBuilder::new().mode(0o000).create(closed.path()).unwrap();
    chown(closed.path(), Some(user), None).unwrap();
    let higher = || builder(method).rlimit(Resource::Nofile, 512, 2048).build();
    let (raised, entered) = (higher(), builder(method).current_dir(closed.path()).build()?);
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(user)).unwrap();
    setuid(Uid::from_raw(user)).unwrap();
    assert_refused(higher(), "rlimit", "only a process with CAP_SYS_RESOURCE may have a higher one");
    assert_refused(builder(method).nice(nice() - 1).build(), "nice", "CAP_SYS_NICE");
    assert_refused(builder(method).current_dir(closed.path()).build(), "current_dir", "may not enter it");
    let assert_named = |pool: WorkerPool, part: &str| {
        let error = square::par_map(&pool, 0..3).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Start { .. }) && text.contains(part), "{text}");
    };
    assert_named(entered, "option `current_dir` is ");
    match raised {
        Ok(pool) => assert_named(pool, "option `rlimit` is (Nofile, 512, 2048), which the system refuses"),
        // A container's root may have given up this capability.
        refused => assert_refused(refused, "rlimit", "CAP_SYS_RESOURCE"),
    }
    // A lower hard limit, a higher nice value and an open directory take none.
    let pool =
        builder(method).rlimit(Resource::Nofile, 100, 200).nice(nice() + 1).current_dir("/").build()?;
    assert_usable(&pool);
    fs::remove_dir(closed.path()).unwrap();
    Ok(())
}
