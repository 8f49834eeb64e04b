//! How a process becomes a worker: code before `pool::init()`, how it is started and named, and input that it must not
//! take for an order.

use std::collections::BTreeSet;
use std::env;
use std::ffi::CStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use pool::{Error, StartMethod, WorkerPool, worker_task};

use crate::harness::{apart, cases};
use crate::support::{
    Scratch, as_a_user_of_its_own, assert_fails, assert_usable, builder, pool, square, squares,
};

cases! {
    Processes: before_init, by_the_loader, by_hand, with_more_rights, descriptors, names;
    Apart: maps_once, works_by_the_loader, has_more_rights;
}

/// Names what each process of a trial's part does before it comes to `pool::init`, and a file that it notes this in.
const BEFORE: (&str, &str) = ("POOL_FAULTS_BEFORE_INIT", "POOL_FAULTS_PROCESSES");

/// Must be called first in `main`.
pub(super) fn do_as_told() {
    let (Ok(what), Some(file)) = (env::var(BEFORE.0), env::var_os(BEFORE.1)) else { return };
    OpenOptions::new().append(true).create(true).open(file).unwrap().write_all(b"x").unwrap();
    match (&*what, env::args().nth(1)) {
        ("prints", _) => {
            println!("a line");
            print!("half a line");
            eprintln!("a line");
        }
        ("has threads", _) => drop(std::thread::spawn(std::thread::park)),
        ("knows no argument", Some(argument)) => {
            eprintln!("unexpected argument {argument}\ntry --help");
            std::process::exit(2);
        }
        ("has a task of its own", Some(_)) => {
            println!("usage: program");
            std::process::exit(0);
        }
        ("panics", Some(_)) => panic!("on purpose"),
        ("reads what is not there", Some(_)) => drop(fs::read("/no/such/file").unwrap()),
        ("has another stdin", Some(_)) => {
            nix::unistd::dup2_stdin(fs::File::open("/dev/null").unwrap()).unwrap();
        }
        _ => {}
    }
}

/// The output of the part, a map, and the number of processes of the program that have started.
fn part_that(what: &str, method: StartMethod) -> (String, String, u64) {
    let file = Scratch::new(env!("CARGO_TARGET_TMPDIR"), "processes");
    let mut part = apart(Path::new("/proc/self/exe"), maps_once, method);
    let Output { stdout, stderr, .. } = part.env(BEFORE.0, what).env(BEFORE.1, file.path()).output().unwrap();
    let processes = fs::metadata(file.path()).unwrap().len();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), processes)
}

fn maps_once(method: StartMethod) -> Result<(), Error> {
    match builder(method).workers(4).build().and_then(|pool| square::par_map(&pool, 0..100)) {
        Ok(results) => println!("{}", results == squares(100)),
        Err(error) => println!("{error}"),
    }
    Ok(())
}

fn before_init(method: StartMethod) -> Result<(), Error> {
    let (out, err, _) = part_that("prints", method);
    assert_eq!((&*out, err.matches("a line").count()), ("a line\nhalf a linetrue\n", 1), "{err}");
    for (what, why, printed) in [
        ("knows no argument", "exited with code 2", "unexpected argument __pool_worker__\n"),
        ("has a task of its own", "exited with code 0", "usage: program"),
        ("panics", "exited with code 101", "on purpose"),
        ("reads what is not there", "exited with code 101", "No such file"),
        ("has another stdin", "exited with code 1", "not by a pool"),
    ] {
        let (out, err, processes) = part_that(what, method);
        if method == StartMethod::Fork {
            assert_eq!((&*out, processes), ("true\n", 1), "{what}: {err}");
            continue;
        }
        assert_eq!(processes, 2, "{what}: it is tried once");
        assert!(out.contains("the new process did not reach `pool::init()`") && out.contains(why), "{out}");
        assert!(out.contains("put `#[pool::main]` on `main`"), "{out}");
        assert_eq!((out.matches(printed).count(), err.matches(printed).count()), (1, 0), "{out}{err}");
    }
    let (out, err, processes) = part_that("has threads", method);
    match method {
        // Workers start one by one, and the call may be over before the last has come so far.
        StartMethod::Spawn => assert!(out == "true\n" && (2..=5).contains(&processes), "{out}{err}"),
        StartMethod::ForkServer => {
            assert!(
                out.contains("threads") && out.contains("before `pool::init()`") && processes == 2,
                "{out}"
            );
        }
        _ => assert!(out.contains("2 threads") && processes == 1, "{out}"),
    }
    Ok(())
}

/// A worker of the outer pool that has a pool itself.
#[worker_task]
fn squares_of_an_inner_pool(n: u64) -> Result<Vec<u64>, String> {
    let pool = WorkerPool::new(1).map_err(|error| error.to_string())?;
    square::par_map(&pool, 0..n).map_err(|error| error.to_string())
}

fn works_by_the_loader(method: StartMethod) -> Result<(), Error> {
    // The program was named as seen from elsewhere.
    env::set_current_dir("/").unwrap();
    assert_ne!(fs::read_link("/proc/self/exe").unwrap(), env::current_dir().unwrap().join(own_file()));
    let pool = builder(method).daemon(false).build()?;
    assert_usable(&pool);
    assert_eq!(squares_of_an_inner_pool::apply(&pool, 10)?, Ok(squares(10)));
    println!("it works");
    Ok(())
}

fn own_file() -> PathBuf {
    PathBuf::from(env::args_os().next().unwrap())
}

fn by_the_loader(method: StartMethod) -> Result<(), Error> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let is_loader = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.starts_with("ld-"));
    let Some(loader) = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5)).find(is_loader)
    else {
        println!("nothing is checked: the program has no loader");
        return Ok(());
    };
    let own = env::current_exe().unwrap();
    let name = Path::new(".").join(own.file_name().unwrap());
    for options in [&[][..], &["--library-path", "/no/such/place"]] {
        let mut part = apart(Path::new(loader), works_by_the_loader, method);
        let part = part.current_dir(own.parent().unwrap()).args(options).arg(&name).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&part.stdout),
            "it works\n",
            "{}",
            String::from_utf8_lossy(&part.stderr)
        );
    }
    Ok(())
}

/// The output of the program if it is started by hand as if it were a worker.
fn started_as_a_worker(program: &Path, stdin: impl Into<Stdio>, alter: impl FnOnce(&mut Command)) -> String {
    let mut command = Command::new(program);
    command.arg("__pool_worker__").stdin(stdin);
    alter(&mut command);
    let Output { status, stderr, stdout } = command.output().unwrap();
    assert!(status.code() == Some(1) && stdout.is_empty(), "{status} {}", String::from_utf8_lossy(&stdout));
    String::from_utf8(stderr).unwrap()
}

fn by_hand(_method: StartMethod) -> Result<(), Error> {
    let own = Path::new("/proc/self/exe");
    let (pipe, _writer) = io::pipe().unwrap();
    for stdin in [Stdio::null(), Stdio::from(pipe)] {
        let text = started_as_a_worker(own, stdin, |_| ());
        assert!(text.contains("`__pool_worker__`") && text.contains("leave that argument out"), "{text}");
    }
    if nix::unistd::geteuid().is_root() {
        // The other end belongs to another process.
        let (theirs, _ours) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let text = started_as_a_worker(own, theirs, as_a_user_of_its_own);
        assert!(text.contains("not by a pool"), "{text}");
    }
    Ok(())
}

fn has_more_rights(method: StartMethod) -> Result<(), Error> {
    // SAFETY: the call takes a number.
    #[expect(unsafe_code)]
    let has_more = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    let result = pool(method).and_then(|pool| square::par_map(&pool, 0..10));
    match method {
        _ if !has_more => println!("nothing is checked"),
        StartMethod::Fork => assert_eq!(result?, squares(10)),
        _ => {
            assert_fails!(result, Error::Option { option: "start_method", allowed, .. } if allowed.contains("Fork"));
        }
    }
    Ok(())
}

fn with_more_rights(method: StartMethod) -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        println!("nothing is checked: this needs root");
        return Ok(());
    }
    // A copy of the program that runs with another group's rights. A change of the group takes them away.
    let program = Scratch::program(env::temp_dir(), "pool-more-rights", 0o755);
    std::os::unix::fs::chown(program.path(), None, Some(4_000_000)).unwrap();
    program.permit(0o2755);
    let mut part = apart(program.path(), has_more_rights, method);
    as_a_user_of_its_own(&mut part);
    let output = part.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if String::from_utf8_lossy(&output.stdout).contains("nothing is checked") {
        println!("nothing is checked: a file's group means nothing here");
        return Ok(());
    }
    // The process that starts it has the other end of the socket too.
    let user = 1_000_000 + std::process::id();
    nix::unistd::seteuid(nix::unistd::Uid::from_raw(user)).unwrap();
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    nix::unistd::seteuid(nix::unistd::Uid::from_raw(0)).unwrap();
    let text = started_as_a_worker(program.path(), pair.unwrap().0, as_a_user_of_its_own);
    assert!(text.contains("takes no orders"), "{text}");
    Ok(())
}

#[worker_task]
fn open_files() -> BTreeSet<(i32, String)> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let file = |entry: fs::DirEntry| {
        let file = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, file.to_string_lossy().into_owned()))
    };
    entries.filter_map(file).collect()
}

fn leave_open(fd: &impl AsRawFd, is_open: bool) {
    let flags = if is_open { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: the flags of a descriptor that this trial has.
    #[expect(unsafe_code)]
    unsafe {
        assert_eq!(libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags), 0);
    }
}

fn descriptors(method: StartMethod) -> Result<(), Error> {
    let pipes: Vec<_> = (0..200).map(|_| io::pipe().unwrap()).collect();
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let (jobs, tokens) = io::pipe().unwrap();
    pipes.iter().for_each(|(reader, writer)| {
        leave_open(reader, true);
        leave_open(writer, true);
    });
    leave_open(&socket, true);
    leave_open(&jobs, true);
    leave_open(&tokens, true);
    let flags = format!(" -j8 --jobserver-auth={},{}", jobs.as_raw_fd(), tokens.as_raw_fd());
    // SAFETY: this process has one thread.
    #[expect(unsafe_code)]
    unsafe {
        env::set_var("MAKEFLAGS", flags);
    }
    let name = |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap().to_string_lossy().into_owned();
    let [socket_name, jobs_name] = [socket.as_raw_fd(), jobs.as_raw_fd()].map(name);
    let pipe_names: BTreeSet<String> = pipes.iter().map(|(reader, _)| name(reader.as_raw_fd())).collect();
    let pool = builder(method).shared(()).build()?;
    for files in [open_files::apply(&pool, ())?, open_files::job(&pool).worker_lifespan(1).apply(())?] {
        let of_program =
            files.iter().filter(|(_, file)| pipe_names.contains(file) || *file == socket_name).count();
        let expected = if method == StartMethod::Fork { 401 } else { 0 };
        assert_eq!(of_program, expected, "{files:?}");
        for fd in [jobs.as_raw_fd(), tokens.as_raw_fd()] {
            assert!(files.contains(&(fd, jobs_name.clone())), "{files:?}");
        }
    }
    Ok(())
}

unsafe extern "C" {
    /// As `assert` and `error` of the C library name the program.
    static program_invocation_name: *const libc::c_char;
}

fn own_name() -> String {
    // SAFETY: the C library sets it at the start, to a text that ends with a zero.
    #[expect(unsafe_code)]
    unsafe { CStr::from_ptr(program_invocation_name) }.to_str().unwrap().to_owned()
}

/// The program's name in C, the process's name, and its arguments.
#[worker_task]
fn names_of_this(#[worker_id] id: usize, _x: u64) -> (usize, [String; 3]) {
    let read = |file: &str| fs::read_to_string(Path::new("/proc/self").join(file)).unwrap();
    (id, [own_name(), read("comm").trim().to_owned(), read("cmdline").replace('\0', " ").trim().to_owned()])
}

fn names(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for (id, [name, comm, arguments]) in names_of_this::job(&pool).chunk_size(1).map(0..20)? {
        assert_eq!((&*name, comm), (&*own_name(), format!("pool-worker-{id}")));
        let expected = match method {
            StartMethod::Fork => env::args().collect::<Vec<_>>().join(" "),
            _ => format!("{name} pool worker {id}"),
        };
        assert_eq!(arguments, expected);
    }
    Ok(())
}
