//! Pools, events between processes, and checks of errors, for many topics.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};
use pool::indicatif::TermLike;
use pool::{Error, StartMethod, TaskError, TaskErrorKind, WorkerPool, WorkerPoolBuilder, worker_task};

/// Options of a pool with two workers.
pub fn builder(method: StartMethod) -> WorkerPoolBuilder {
    WorkerPool::builder().start_method(method).workers(2)
}

/// A pool with two workers.
pub fn pool(method: StartMethod) -> Result<WorkerPool, Error> {
    builder(method).build()
}

/// A pool whose workers have started: with `Fork`, they do not inherit what is made from now on.
pub fn ready(method: StartMethod) -> Result<WorkerPool, Error> {
    let pool = pool(method)?;
    assert_usable(&pool);
    Ok(pool)
}

/// The payload of a panic, which panics when it is dropped.
#[derive(Debug)]
pub struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload of a panic is dropped");
    }
}

/// A task whose results are easy to check.
#[worker_task]
pub fn square(x: u64) -> u64 {
    x * x
}

/// The squares of the numbers below `n`, computed serially.
pub fn squares(n: u64) -> Vec<u64> {
    (0..n).map(square).collect()
}

/// Asserts that the pool works, whatever has happened before.
#[track_caller]
pub fn assert_usable<S: 'static>(pool: &WorkerPool<S>) {
    assert_eq!(square::par_map(pool, 0..100).expect("the pool is usable"), squares(100));
}

/// The values in order, to compare those that come in any order.
pub fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort();
    values
}

/// The task error that a call ended with.
#[track_caller]
pub fn task_error<T: std::fmt::Debug>(result: Result<T, Error>) -> TaskError {
    match result {
        Err(Error::Task(error)) => error,
        other => panic!("a task should have failed, but: {other:?}"),
    }
}

/// The message of the panic that the task failed with.
#[track_caller]
pub fn panic_message(error: &TaskError) -> &str {
    match error.kind() {
        TaskErrorKind::Panicked(info) => info.message(),
        other => panic!("the task should have panicked, but it {other}"),
    }
}

/// Asserts that a result is this kind of error.
#[macro_export]
macro_rules! assert_fails {
    ($result:expr, $error:pat $(if $guard:expr)?) => {
        match $result {
            Err($error) $(if $guard)? => {}
            other => panic!("expected {}, got: {other:?}", stringify!($error)),
        }
    };
}
pub use assert_fails;

/// An event between processes: a named pipe in which every byte is one token. Workers know it by its path.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    /// Open both ways, so that neither side waits for the other to open it.
    pipe: File,
}

impl Tokens {
    /// A pipe without tokens.
    #[expect(clippy::new_without_default, reason = "it makes a file, as no default does")]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("pool-tests-tokens-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // A trial that was killed leaves its pipe, and its number may be reused.
        let _ = fs::remove_file(&path);
        mkfifo(&path, Mode::S_IRWXU).expect("the directory for temporary files takes named pipes");
        let pipe = open(&path);
        Self { path, pipe }
    }

    /// The path by which workers know it.
    pub fn path(&self) -> String {
        self.path.to_str().expect("the path of the directory for temporary files is text").to_owned()
    }

    /// Puts this many tokens.
    pub fn put(&mut self, tokens: usize) {
        self.pipe.write_all(&vec![0; tokens]).expect("the pipe is open");
    }

    /// Waits for this many tokens.
    pub fn take(&mut self, tokens: usize) {
        self.pipe.read_exact(&mut vec![0; tokens]).expect("the pipe is open");
    }
}

/// Takes all tokens, without waiting, and returns their number.
pub fn take_all_tokens(path: &str) -> usize {
    let mut pipe =
        OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).expect("the pipe is there");
    let mut tokens = Vec::new();
    match pipe.read_to_end(&mut tokens) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
        // The pipe is empty, but may still be written to.
        _ => tokens.len(),
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn open(path: impl AsRef<Path>) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("the pipe is there")
}

/// From a worker: puts a token.
pub fn put_token(path: &str) {
    open(path).write_all(&[0]).expect("the pipe is open");
}

/// From a worker: waits for a token. Nothing but death ends this if none comes.
pub fn take_token(path: &str) {
    open(path).read_exact(&mut [0]).expect("the pipe is open");
}

/// Signals that it has started, then waits for a token.
#[worker_task]
pub fn wait_for_token(started: &str, go_on: &str, value: u64) -> u64 {
    put_token(started);
    take_token(go_on);
    value
}

/// Waits until this process's main thread sleeps, and goes on sleeping for so long that it does not just change hands.
pub fn wait_until_the_main_thread_sleeps() {
    let mut asleep = 0;
    while asleep < 200 {
        let stat = fs::read_to_string("/proc/self/stat").expect("/proc is mounted");
        let sleeps = stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('S'));
        asleep = if sleeps { asleep + 1 } else { 0 };
        std::thread::yield_now();
    }
}

/// Lets all threads of this program allocate from the same arena of the C library's.
pub fn use_one_arena() {
    // SAFETY: `mallopt` takes two numbers, and may be called at any time.
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code)]
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
    }
}

/// Ends this process at once, with no exit handlers.
pub fn die(signal: nix::sys::signal::Signal) -> ! {
    nix::sys::signal::raise(signal).expect("the signal has a number");
    unreachable!("{signal} kills")
}

/// Lets root run the program as a user of its own, which has no name.
pub fn as_a_user_of_its_own(program: &mut Command) {
    if geteuid().is_root() {
        let user = 1_000_000 + std::process::id();
        program.uid(user).gid(user);
    }
}

/// A file of the trial's own, which is removed in the end.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A name in this directory. There is no such file yet.
    pub fn new(directory: impl AsRef<Path>, name: &str) -> Self {
        let path = directory.as_ref().join(format!("{name}-{}", std::process::id()));
        // A trial that was killed leaves its file, and its number may be reused.
        let _ = fs::remove_file(&path);
        Self(path)
    }

    /// A copy of this program with these permissions.
    pub fn program(directory: impl AsRef<Path>, name: &str, mode: u32) -> Self {
        let file = Self::new(directory, name);
        fs::copy("/proc/self/exe", &file.0).expect("there is space for a copy of the program");
        file.permit(mode);
        file
    }

    /// Sets its permissions.
    pub fn permit(&self, mode: u32) {
        fs::set_permissions(&self.0, fs::Permissions::from_mode(mode)).expect("the file is this user's");
    }

    /// The name.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// An iterator over the second part that claims to have the length of the first.
#[derive(Debug)]
pub struct Promising(pub usize, pub Range<u64>);

impl Iterator for Promising {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.1.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0, Some(self.0))
    }
}

/// A terminal that calls this when anything is drawn.
pub struct OnDraw<F>(pub F);

impl<F> fmt::Debug for OnDraw<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnDraw")
    }
}

impl<F: Fn() + Send + Sync> TermLike for OnDraw<F> {
    fn width(&self) -> u16 {
        80
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        self.flush()
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        self.flush()
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        self.flush()
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        self.flush()
    }

    fn write_line(&self, _: &str) -> io::Result<()> {
        self.flush()
    }

    fn write_str(&self, _: &str) -> io::Result<()> {
        self.flush()
    }

    fn clear_line(&self) -> io::Result<()> {
        self.flush()
    }

    fn flush(&self) -> io::Result<()> {
        (self.0)();
        Ok(())
    }
}

/// Numbers that look random, the same for the same seed: xorshift, <https://doi.org/10.18637/jss.v008.i14>.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "there is always one more, and none is an `Option`")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next number, below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
