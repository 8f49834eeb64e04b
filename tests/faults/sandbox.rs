//! A sandbox that denies a system call: the pool works without it, or says which call it was.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use pool::{Error, StartMethod, TaskErrorKind, worker_task};

use crate::harness::{apart, cases};
use crate::streams::Altered;
use crate::support::{assert_usable, builder, die, panic_message, pool, square, squares, task_error};

cases! {
    All: no_memory_for_lanes, pinning_denied;
    Processes: denied_calls, parent_killed, nothing_for_stdin, no_null;
    Apart: with_pinning_denied, in_a_sandbox, busy_in_a_sandbox, without_memory_for_lanes, with_nothing_for_stdin,
        with_no_null;
}

/// The denied calls: those of this number, or only those with this argument at this position.
pub(super) struct Denied {
    name: &'static str,
    call: libc::c_long,
    argument: Option<(u32, u32)>,
    promise: Promise,
}

#[derive(PartialEq)]
enum Promise {
    Works,
    /// The error contains the beginning of the call's name.
    Error,
}

const fn denied(name: &'static str, call: libc::c_long, promise: Promise) -> Denied {
    Denied { name, call, argument: None, promise }
}

/// fcntl(2); not in the libc crate.
const F_SETSIG: u32 = 10;

const DENIED: [Denied; 10] = [
    denied("pidfd_open", libc::SYS_pidfd_open, Promise::Error),
    denied("memfd_create", libc::SYS_memfd_create, Promise::Error),
    denied("eventfd", libc::SYS_eventfd2, Promise::Error),
    denied("epoll_create", libc::SYS_epoll_create1, Promise::Error),
    denied("socketpair", libc::SYS_socketpair, Promise::Error),
    denied("pipe", libc::SYS_pipe2, Promise::Error),
    denied("pidfd_send_signal", libc::SYS_pidfd_send_signal, Promise::Works),
    denied("close_range", libc::SYS_close_range, Promise::Works),
    denied("sched_getaffinity", libc::SYS_sched_getaffinity, Promise::Works),
    Denied { argument: Some((1, F_SETSIG)), ..denied("fcntl", libc::SYS_fcntl, Promise::Works) },
];
const ERRNOS: [(i32, &str); 2] =
    [(libc::EPERM, "Operation not permitted"), (libc::ENOSYS, "Function not implemented")];

/// Without this, only privileged processes may install a filter.
pub(super) fn forbid_new_privileges() -> std::io::Result<()> {
    nix::sys::prctl::set_no_new_privs().map_err(Into::into)
}

impl Denied {
    pub(super) const fn call(call: libc::c_long, argument: Option<(u32, u32)>) -> Self {
        Self { name: "", call, argument, promise: Promise::Works }
    }

    /// The filter that answers these calls in this way.
    pub(super) fn answered(&self, answer: u32) -> Vec<libc::sock_filter> {
        const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
        const IS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
        /// Where seccomp_data has the call's number, and the lower half of its first argument.
        const NUMBER: u32 = 0;
        const FIRST: u32 = 16;
        let step = |code, k, otherwise| libc::sock_filter { code, jt: 0, jf: otherwise, k };
        let mut steps = vec![step(LOAD, NUMBER, 0)];
        match self.argument {
            None => steps.push(step(IS, self.call as u32, 1)),
            Some((place, value)) => {
                let load = step(LOAD, FIRST + 8 * place, 0);
                steps.extend([step(IS, self.call as u32, 3), load, step(IS, value, 1)]);
            }
        }
        steps.push(step(ANSWER, answer, 0));
        steps.push(step(ANSWER, libc::SECCOMP_RET_ALLOW, 0));
        steps
    }

    /// Denies the call, to this process and all that it starts, for good.
    fn install(&self, errno: i32) -> std::io::Result<()> {
        let mut steps = self.answered(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned());
        let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        forbid_new_privileges()?;
        // SAFETY: the kernel reads the steps that the filter points to, which outlive the call.
        #[expect(unsafe_code)]
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) } {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

/// Says which call is denied, and how.
const CASE: &str = "POOL_FAULTS_DENIED";

fn denied_calls(method: StartMethod) -> Result<(), Error> {
    for denied in DENIED {
        for (errno, _) in ERRNOS {
            let mut part = apart(Path::new("/proc/self/exe"), in_a_sandbox, method);
            let status = part.env(CASE, format!("{} {errno}", denied.name)).status().unwrap();
            assert!(status.success(), "{} denied with {errno}: {status}", denied.name);
        }
    }
    Ok(())
}

/// The call by which a lane asks for more of its memory.
const MORE_MEMORY: Denied = Denied {
    argument: Some((2, libc::MADV_POPULATE_WRITE as u32)),
    ..denied("madvise", libc::SYS_madvise, Promise::Works)
};

/// The system gives lanes no more memory than they begin with, as under a limit on committed memory: payloads that do
/// not fit go in shorter parts.
fn no_memory_for_lanes(method: StartMethod) -> Result<(), Error> {
    // The kernel's errors for a fault that finds no memory, in general and for memory files.
    for errno in [libc::ENOMEM, libc::EFAULT] {
        let mut part = apart(Path::new("/proc/self/exe"), without_memory_for_lanes, method);
        let status = part.env(CASE, errno.to_string()).status().unwrap();
        assert!(status.success(), "refused with {errno}: {status}");
    }
    Ok(())
}

#[worker_task]
fn turned(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().rev().collect()
}

#[worker_task]
fn says(len: usize) {
    panic!("{}", "x".repeat(len))
}

fn without_memory_for_lanes(method: StartMethod) -> Result<(), Error> {
    let errno = std::env::var(CASE).unwrap().parse().unwrap();
    if let Err(error) = MORE_MEMORY.install(errno) {
        println!("nothing is checked: no sandbox can be made here: {error}");
        return Ok(());
    }
    let pool = pool(method)?;
    assert_usable(&pool);
    let bytes = |len: usize| (0..len).map(|x| (x * 7 + len) as u8).collect::<Vec<u8>>();
    let lengths =
        [10, 10_000, 60_000, 65_400, 65_600, 100_000, 128 << 10, 1 << 20, (1 << 20) + 5000, 9 << 20];
    for len in lengths {
        let expected = turned(bytes(len));
        assert!(turned::apply(&pool, bytes(len))? == expected, "{len} bytes");
        assert!(turned::apply_async(&pool, bytes(len)).get()? == expected, "{len} bytes");
    }
    for chunk_size in [1, 5] {
        let items = || lengths.into_iter().chain(lengths).map(bytes);
        let job = turned::job(&pool).chunk_size(chunk_size).retries(1);
        assert!(job.map(items())?.into_iter().eq(items().map(turned)));
    }
    for len in [10, 10_000, 70_000, 300_000, 2 << 20] {
        let error = task_error(says::apply(&pool, len));
        let message = panic_message(&error);
        assert!(message.starts_with("xxx") && message.ends_with("xxx"), "{len} bytes");
        assert!(message.len() == len || message.contains(" bytes left out "), "{len} bytes");
    }
    assert_usable(&pool);
    Ok(())
}

const PIN: Denied = denied("sched_setaffinity", libc::SYS_sched_setaffinity, Promise::Error);

/// Workers that cannot be pinned to the requested CPUs are not started.
fn pinning_denied(method: StartMethod) -> Result<(), Error> {
    let status = apart(Path::new("/proc/self/exe"), with_pinning_denied, method).status().unwrap();
    assert!(status.success(), "{status}");
    Ok(())
}

fn with_pinning_denied(method: StartMethod) -> Result<(), Error> {
    if let Err(error) = PIN.install(libc::EPERM) {
        println!("nothing is checked: no system call can be denied here: {error}");
        return Ok(());
    }
    let cpus = core_affinity::get_core_ids().unwrap();
    // Pinning to one CPU goes another way than to a set.
    for set in [vec![cpus[0]], vec![cpus[0]; 2], cpus] {
        match builder(method).cpu_ids([set]).build().and_then(|pool| square::par_map(&pool, 0..10)) {
            Err(Error::Start { reason, .. }) => {
                assert!(reason.contains("Operation not permitted"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_usable(&pool(method)?);
    Ok(())
}

/// The calls for a new process's standard input: `/dev/null`, or else a pipe that exec leaves open.
const STDIN: [Denied; 2] = [
    Denied {
        argument: Some((2, libc::O_RDWR as u32)),
        ..denied("/dev/null", libc::SYS_openat, Promise::Error)
    },
    Denied { argument: Some((1, 0)), ..denied("pipe", libc::SYS_pipe2, Promise::Error) },
];

/// A new process that can't be made a worker says why, in the error.
fn nothing_for_stdin(method: StartMethod) -> Result<(), Error> {
    let part = apart(Path::new("/proc/self/exe"), with_nothing_for_stdin, method).output().unwrap();
    let printed = String::from_utf8_lossy(&part.stderr);
    assert!(part.status.success() && !printed.contains("/dev/null"), "{} {printed}", part.status);
    Ok(())
}

fn with_nothing_for_stdin(method: StartMethod) -> Result<(), Error> {
    for denied in STDIN {
        if let Err(error) = denied.install(libc::EPERM) {
            println!("nothing is checked: no system call can be denied here: {error}");
            return Ok(());
        }
    }
    for _ in 0..2 {
        match pool(method).and_then(|pool| square::par_map(&pool, 0..10)) {
            Err(Error::Start { reason, .. }) => {
                let is_named = reason.contains("/dev/null: Operation not permitted");
                assert!(is_named && reason.matches("/dev/null").count() == 1, "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

/// The input that a worker reads from its standard input, and whether it can print.
#[worker_task]
fn read_and_print() -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    println!("a line");
    eprintln!("a line");
    (bytes, read.is_ok() && std::io::stdout().flush().is_ok())
}

/// A container may have no `/dev/null`: workers read nothing, as elsewhere, and output that has no stream to go
/// to is lost.
fn no_null(method: StartMethod) -> Result<(), Error> {
    for streams in ["open", "closed"] {
        let mut part = apart(Path::new("/proc/self/exe"), with_no_null, method);
        let status = part.env(CASE, streams).status().unwrap();
        assert!(status.success(), "{status}");
    }
    Ok(())
}

fn with_no_null(method: StartMethod) -> Result<(), Error> {
    let none = None::<&str>;
    let made = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| {
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(none, "/dev", Some("tmpfs"), MsFlags::empty(), none)
    });
    if let Err(error) = made {
        println!("nothing is checked: no /dev of its own can be made here: {error}");
        return Ok(());
    }
    assert!(!Path::new("/dev/null").exists());
    let closed: &[i32] = if std::env::var(CASE).unwrap() == "closed" { &[0, 1] } else { &[] };
    let _closed = Altered::closed(closed);
    let pool = pool(method)?;
    assert_usable(&pool);
    for read in read_and_print::job(&pool).chunk_size(1).map([(); 4])? {
        assert_eq!(read, (Vec::new(), true));
    }
    pool.join()?;
    Ok(())
}

/// Ends as its fate says.
#[worker_task]
fn live(fate: u32, x: u64) -> u64 {
    match fate {
        0 => die(Signal::SIGKILL),
        1 => loop {
            std::hint::spin_loop();
        },
        _ => x,
    }
}

/// Does everything for which the pool makes a system call.
fn work(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(square::job(&pool).worker_lifespan(20).map(0..100)?, squares(100));
    let items = (0..20).map(|x| (x as u32 % 10, x));
    let outcomes =
        live::job(&pool).task_timeout(Duration::from_millis(200)).chunk_size(1).map_outcomes(items)?;
    for (x, outcome) in (0..).zip(outcomes) {
        match (x % 10, outcome.as_ref().map_err(|error| error.kind())) {
            (0, Err(TaskErrorKind::Died(death))) => assert_eq!(death.signal(), Some(libc::SIGKILL)),
            (1, Err(TaskErrorKind::TimedOut(_))) => {}
            (2.., Ok(result)) => assert_eq!(*result, x),
            other => panic!("{other:?}"),
        }
    }
    assert_usable(&pool);
    pool.join()?;
    Ok(())
}

fn in_a_sandbox(method: StartMethod) -> Result<(), Error> {
    let case = std::env::var(CASE).expect("the trial has said which");
    let all = DENIED.iter().flat_map(|denied| ERRNOS.map(|(errno, text)| (denied, errno, text)));
    let (denied, errno, text) = all
        .clone()
        .find(|(denied, errno, _)| case == format!("{} {errno}", denied.name))
        .expect("the case is one of the table");
    if let Err(error) = denied.install(errno) {
        println!("nothing is checked: no system call can be denied here: {error}");
        return Ok(());
    }
    match work(method) {
        Err(Error::Start { reason, .. }) if denied.promise == Promise::Error => {
            assert!(reason.contains(denied.name) && reason.contains(text), "{reason}");
            Ok(())
        }
        Ok(()) => {
            assert!(denied.promise == Promise::Works, "nobody has called {}", denied.name);
            Ok(())
        }
        Err(other) => Err(other),
    }
}

#[worker_task]
fn spin() {
    println!("ready");
    loop {
        std::hint::spin_loop();
    }
}

fn busy_in_a_sandbox(method: StartMethod) -> Result<(), Error> {
    let denied = &DENIED[9];
    if let Err(error) = denied.install(libc::EPERM) {
        println!("nothing is checked: no system call can be denied here: {error}");
        return Ok(());
    }
    spin::par_map(&pool(method)?, [(), ()]).map(drop)
}

fn parent_killed(method: StartMethod) -> Result<(), Error> {
    let mut part = apart(Path::new("/proc/self/exe"), busy_in_a_sandbox, method);
    let mut part = part.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(part.stdout.take().unwrap());
    for _ in 0..2 {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        if line.starts_with("nothing is checked") {
            println!("{line}");
            part.wait().unwrap();
            return Ok(());
        }
        assert_eq!(line, "ready\n");
    }
    part.kill().unwrap();
    part.wait().unwrap();
    // All that it has started have its output: the end of that is theirs.
    output.read_to_end(&mut Vec::new()).unwrap();
    Ok(())
}
