//! A worker that ends in order runs the exit handlers that its tasks have registered, and writes out what they have
//! printed.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_task};

use crate::harness::{apart, cases};
use crate::support::{
    Scratch, Tokens, assert_usable, builder, die, pool, sorted, task_error, wait_for_token,
};

cases! {
    Processes: handlers_run, handlers_of_the_program_do_not, handlers_from_before_main, handlers_that_hang,
               an_exit_code_is_kept, output_of_a_dropped_pool;
    BesideThreads: a_call_from_a_destructor;
    Apart: prints_and_drops, has_a_handler;
}

/// A file in which processes note their ends.
struct Notes(Scratch);

impl Notes {
    fn new() -> Self {
        Self(Scratch::new(env!("CARGO_TARGET_TMPDIR"), "notes"))
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("the path of the target directory is text")
    }

    /// Takes all notes so far, sorted.
    fn take(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.path()).unwrap_or_default();
        let _ = std::fs::remove_file(self.0.path());
        sorted(text.lines().map(str::to_owned).collect())
    }
}

/// Where this process makes its notes.
static FILE: OnceLock<PathBuf> = OnceLock::new();

fn note(what: &str) {
    let Some(file) = FILE.get() else { return };
    let line = format!("{what} {}\n", std::process::id());
    OpenOptions::new().append(true).create(true).open(file).unwrap().write_all(line.as_bytes()).unwrap();
}

fn register(handler: extern "C" fn()) {
    // SAFETY: the handler takes nothing and may be called at any time.
    #[expect(unsafe_code)]
    unsafe {
        assert_eq!(libc::atexit(handler), 0);
    }
}

extern "C" fn note_handler() {
    note("handler");
}

struct NotesItsEnd;

impl Drop for NotesItsEnd {
    fn drop(&mut self) {
        note("thread-local");
    }
}

/// Registers handlers once in each worker, and returns the worker's process ID.
#[worker_task]
fn register_once(file: &str, _x: u64) -> u32 {
    thread_local! {
        static LOCAL: RefCell<Option<NotesItsEnd>> = const { RefCell::new(None) };
    }
    if FILE.set(file.into()).is_ok() {
        register(note_handler);
        LOCAL.set(Some(NotesItsEnd));
    }
    std::process::id()
}

/// The notes that these processes leave.
fn notes_of(processes: &[u32]) -> Vec<String> {
    let of = |process| [format!("handler {process}"), format!("thread-local {process}")];
    let mut notes = sorted(processes.iter().flat_map(of).collect());
    notes.dedup();
    notes
}

fn handlers_run(method: StartMethod) -> Result<(), Error> {
    let notes = Notes::new();
    let items = || (0..8).map(|x| (notes.path(), x));
    let joined = pool(method)?;
    let processes = register_once::job(&joined).chunk_size(1).map(items())?;
    joined.join()?;
    assert_eq!(notes.take(), notes_of(&processes), "joined");
    let fresh = builder(method).keep_alive(false).build()?;
    let processes = register_once::job(&fresh).chunk_size(1).map(items())?;
    assert_eq!(notes.take(), notes_of(&processes), "not kept alive");
    let short = pool(method)?;
    let processes = register_once::job(&short).chunk_size(1).worker_lifespan(2).map(items())?;
    short.join()?;
    assert_eq!(notes.take(), notes_of(&processes), "at the end of their lives");
    // A pool that is dropped gives its workers half a second, which may be too short on a busy machine.
    loop {
        let dropped = pool(method)?;
        let processes = register_once::job(&dropped).chunk_size(1).map(items())?;
        drop(dropped);
        let (noted, all) = (notes.take(), notes_of(&processes));
        assert!(noted.iter().all(|note| all.contains(note)), "{noted:?} of {all:?}");
        if noted == all {
            return Ok(());
        }
    }
}

extern "C" fn note_program() {
    note("program");
}

/// Code coverage defines a function of this name, which the crate calls. This one makes a note.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "has a name that C knows")]
extern "C" fn __gcov_dump() {
    if IS_MEASURED.get().is_some() {
        note("measured");
    }
}

static IS_MEASURED: OnceLock<()> = OnceLock::new();

fn has_a_handler(method: StartMethod) -> Result<(), Error> {
    IS_MEASURED.set(()).unwrap();
    FILE.set(std::env::var_os(NOTES).unwrap().into()).unwrap();
    register(note_program);
    let pool = pool(method)?;
    assert_usable(&pool);
    pool.join().map(drop)
}

/// Names the file for a part's notes.
const NOTES: &str = "POOL_CONFORMANCE_NOTES";

/// Registers a handler before `main`, as some libraries do.
mod before_main {
    extern "C" fn register() {
        if let Some(file) = std::env::var_os(super::EARLY) {
            let _ = super::FILE.set(file.into());
            super::register(super::note_handler);
        }
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    #[expect(unsafe_code, reason = "runs before `main`")]
    static REGISTER: extern "C" fn() = register;
}

/// Names the file for the notes of handlers that are registered before `main`.
const EARLY: &str = "POOL_CONFORMANCE_EARLY_NOTES";

fn handlers_of_the_program_do_not(method: StartMethod) -> Result<(), Error> {
    let notes = Notes::new();
    let mut part =
        apart(Path::new("/proc/self/exe"), has_a_handler, method).env(NOTES, notes.path()).spawn().unwrap();
    let program = format!("program {}", part.id());
    assert!(part.wait().unwrap().success());
    let (of_handlers, measured): (Vec<_>, Vec<_>) =
        notes.take().into_iter().partition(|note| note.starts_with("program"));
    assert_eq!(of_handlers, [program], "once, in the program itself");
    assert_eq!(measured.len(), if method == StartMethod::Fork { 2 } else { 0 }, "{measured:?}");
    Ok(())
}

fn handlers_from_before_main(method: StartMethod) -> Result<(), Error> {
    let notes = Notes::new();
    // SAFETY: this process has one thread.
    #[expect(unsafe_code)]
    unsafe {
        std::env::set_var(EARLY, notes.path());
    }
    let pool = pool(method)?;
    let processes = register_once::job(&pool).chunk_size(1).map((0..8).map(|x| (notes.path(), x)))?;
    pool.join()?;
    if method == StartMethod::Fork {
        // With `Fork`, workers would inherit the program's handlers, and it had none.
        assert_eq!(notes.take(), notes_of(&processes));
        return Ok(());
    }
    // Both workers make notes, whether or not they had tasks.
    let noted = notes.take();
    assert!(
        noted.len() == 2 && processes.iter().all(|process| noted.contains(&format!("handler {process}"))),
        "{noted:?}"
    );
    Ok(())
}

extern "C" fn hang() {
    loop {
        std::hint::spin_loop();
    }
}

#[worker_task]
fn register_what_hangs() {
    register(hang);
}

fn handlers_that_hang(method: StartMethod) -> Result<(), Error> {
    let limit = Duration::from_millis(200);
    let hanging = pool(method)?;
    register_what_hangs::job(&hanging).worker_exit_timeout(limit).chunk_size(1).map([(); 4])?;
    let error = task_error(hanging.join());
    let TaskErrorKind::Exit(cause) = error.kind() else { panic!("{error}") };
    assert!(matches!(&**cause, TaskErrorKind::TimedOut(after) if *after == limit), "{error}");
    let dropped = pool(method)?;
    register_what_hangs::job(&dropped).chunk_size(1).map([(); 4])?;
    // The harness checks that they are gone.
    drop(dropped);
    Ok(())
}

#[worker_task]
fn exit_with(code: i32) {
    std::process::exit(code);
}

fn an_exit_code_is_kept(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for code in [0, 3] {
        let error = task_error(exit_with::apply(&pool, code));
        let TaskErrorKind::Died(death) = error.kind() else { panic!("{error}") };
        assert_eq!(death.exit_code(), Some(code));
    }
    Ok(())
}

/// Prints what stays in the buffers of Rust and C.
#[worker_task]
fn print_in_two_ways(x: u64) -> u64 {
    print!("<{x}>");
    // SAFETY: the text ends with a zero and asks for one number.
    #[expect(unsafe_code)]
    unsafe {
        libc::printf(c"{%llu}".as_ptr(), x);
    }
    x
}

fn prints_and_drops(method: StartMethod) -> Result<(), Error> {
    let (mut started, go_on) = (Tokens::new(), Tokens::new());
    let pool = pool(method)?;
    print_in_two_ways::job(&pool).chunk_size(1).map(0..6)?;
    // One worker is busy, and nothing waits for it.
    let (path, other) = (started.path(), go_on.path());
    let _waiting = wait_for_token::apply_async(&pool, (path.as_str(), other.as_str(), 7));
    started.take(1);
    print_in_two_ways::job(&pool).chunk_size(1).map(6..12)?;
    Ok(())
}

fn output_of_a_dropped_pool(method: StartMethod) -> Result<(), Error> {
    let part = apart(Path::new("/proc/self/exe"), prints_and_drops, method).output().unwrap();
    let text = String::from_utf8_lossy(&part.stdout);
    assert!(part.status.success(), "{}", String::from_utf8_lossy(&part.stderr));
    for x in 6..12 {
        for printed in [format!("<{x}>"), format!("{{{x}}}")] {
            assert_eq!(text.matches(&printed).count(), 1, "{printed} in {text}");
        }
    }
    Ok(())
}

/// Makes a call when its thread ends, after this crate's own thread-local values have been dropped.
struct CallsAtTheEnd(Arc<WorkerPool<bool>>, mpsc::Sender<(usize, usize)>);

impl Drop for CallsAtTheEnd {
    fn drop(&mut self) {
        let outcomes = square_or_end::par_map_outcomes(&self.0, 0..20).unwrap();
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        self.1.send((outcomes.len(), failed)).unwrap();
    }
}

thread_local! {
    static AT_THE_END: RefCell<Option<CallsAtTheEnd>> = const { RefCell::new(None) };
}

/// Kills its worker process at one item, so that another has to start.
#[worker_task]
fn square_or_end(x: u64, #[shared] is_process: &bool) -> u64 {
    if x == 7 && *is_process {
        die(Signal::SIGKILL);
    }
    x * x
}

fn a_call_from_a_destructor(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(builder(method).shared(method.is_process()).build()?);
    let (send, outcomes) = mpsc::channel();
    let in_thread = Arc::clone(&pool);
    let thread = std::thread::spawn(move || {
        // Registered first, so it is dropped last.
        AT_THE_END.set(Some(CallsAtTheEnd(Arc::clone(&in_thread), send)));
        square_or_end::par_map(&in_thread, 10..20).map(|squares| squares.len())
    });
    assert_eq!(thread.join().unwrap()?, 10);
    assert_eq!(outcomes.recv().unwrap(), (20, usize::from(method.is_process())));
    assert_usable(&pool);
    Ok(())
}
