//! A task closes all descriptors, like code that daemonizes a process, and opens its own. These get the free numbers,
//! and only the task uses them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use nix::libc;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{pipe2, read};
use pool::shared::{SharedArray, SharedMutex};
use pool::{Error, StartMethod, worker_exit, worker_task};
use tracing_subscriber::layer::SubscriberExt;

use crate::forked::{Way, in_a_copy};
use crate::harness::cases;
use crate::support::{assert_fails, assert_usable, builder, pool, ready, square};
use crate::victim::close_from_three;

cases! {
    All: closed_by_the_program, closed_under_a_call, closed_before_the_first_call,
         each_closed_alone, in_a_fork_of_the_program;
    Processes: in_a_forked_worker, replaced_by_files, replaced_by_other_kinds, of_shared_memory, again_and_again;
}

const MINE: &[u8] = b"mine";

/// Closes all descriptors and opens this many files, which stay open.
fn replace_by_files(directory: &str, count: usize) {
    close_from_three();
    for number in 0..count {
        let mut file = File::create(Path::new(directory).join(number.to_string())).unwrap();
        file.write_all(MINE).unwrap();
        std::mem::forget(file);
    }
}

/// Files of the program's own, at the numbers that have become free.
fn own_files(directory: &Directory) -> Vec<File> {
    let create = |number: usize| {
        let path = Path::new(&directory.0).join(format!("own-{number}"));
        let mut file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        file.write_all(MINE).unwrap();
        file
    };
    (0..40).map(create).collect()
}

fn closed_by_the_program(method: StartMethod) -> Result<(), Error> {
    let directory = Directory::new();
    let (called, only_dropped) = (ready(method)?, ready(method)?);
    close_from_three();
    let files = own_files(&directory);
    for _ in 0..2 {
        assert_fails!(square::par_map(&called, 0..100), Error::DescriptorsClosed);
        assert_fails!(square::apply(&called, 1), Error::DescriptorsClosed);
    }
    drop((called, only_dropped));
    directory.assert_untouched();
    // All of them are still open.
    assert!(files.iter().all(|file| file.metadata().is_ok_and(|data| data.len() == MINE.len() as u64)));
    // A pool that is built from now on works.
    assert_usable(&pool(method)?);
    directory.assert_untouched();
    Ok(())
}

/// The numbers of the open descriptors.
fn open_numbers() -> BTreeSet<i32> {
    let numbers = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let numbers: Vec<i32> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The descriptor of the directory is closed by now.
    numbers.into_iter().filter(|number| fs::read_link(format!("/proc/self/fd/{number}")).is_ok()).collect()
}

/// Waits until the thread has ended that drives the pool while callers are away: it may be reading from a descriptor.
fn wait_for_the_background_thread() {
    let is_there = || {
        let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
        names.into_iter().any(|name| name.trim_end() == "pool background")
    };
    while is_there() {
        std::thread::yield_now();
    }
}

#[worker_task]
fn end_of(dies: bool, x: u64) -> u64 {
    eprintln!("task {x}");
    if dies {
        std::process::abort();
    }
    x
}

/// Whichever one of the descriptors is closed and has become another's: calls end, with an error or without one,
/// nothing is read from or written to the program's file, and it is not closed.
fn each_closed_alone(method: StartMethod) -> Result<(), Error> {
    let directory = Directory::new();
    let path = Path::new(&directory.0).join("own");
    fs::write(&path, MINE).unwrap();
    // A link may lead to the directory.
    let path = path.canonicalize().unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut count = 1;
    let mut which = 0;
    while which < count {
        let before = open_numbers();
        let pool = ready(method)?;
        wait_for_the_background_thread();
        // Some may be open for a moment only.
        let lasting = (0..5).map(|_| open_numbers()).reduce(|all, now| &all & &now).unwrap();
        let own: Vec<i32> = lasting.difference(&before).copied().collect();
        count = own.len();
        let Some(number) = own.get(which) else { break };
        let what = fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
        // SAFETY: not sound for the pool, whose descriptor is replaced: this is the fault that is tested.
        #[expect(unsafe_code)]
        unsafe {
            libc::dup2(file.as_raw_fd(), *number);
        }
        let _ = square::par_map(&pool, 0..100);
        if method.is_process() {
            let _ = end_of::par_map_outcomes(&pool, (0..10).map(|x| (x == 5, x)));
        }
        let pending = square::apply_async(&pool, 7);
        let _ = (square::par_map(&pool, 0..100), pending.get());
        drop((pool, pending));
        let at_number = fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
        assert_eq!(at_number, path, "descriptor {number} of {own:?}, {what:?}, was closed");
        assert_eq!(
            (&file).stream_position().unwrap(),
            0,
            "descriptor {number} of {own:?}, {what:?}, was used"
        );
        // SAFETY: the descriptor was made above, and nothing owns it.
        #[expect(unsafe_code)]
        unsafe {
            libc::close(*number);
        }
        which += 1;
    }
    assert!(count > 1);
    directory.assert_untouched();
    Ok(())
}

#[worker_task]
fn sleep_for(time: Duration) {
    std::thread::sleep(time);
}

fn closed_under_a_call(method: StartMethod) -> Result<(), Error> {
    let directory = Directory::new();
    let pool = ready(method)?;
    let pending = sleep_for::apply_async(&pool, Duration::from_secs(3));
    assert!(!pending.wait(Duration::from_millis(20)));
    close_from_three();
    let files = own_files(&directory);
    assert_fails!(pending.get(), Error::DescriptorsClosed);
    drop(pool);
    directory.assert_untouched();
    assert!(files.iter().all(|file| file.metadata().is_ok()));
    Ok(())
}

fn closed_before_the_first_call(method: StartMethod) -> Result<(), Error> {
    let directory = Directory::new();
    let pool = pool(method)?;
    close_from_three();
    let files = own_files(&directory);
    match square::par_map(&pool, 0..100) {
        Err(Error::DescriptorsClosed) => {}
        Err(Error::Start { reason, .. }) => assert!(reason.contains("closed a descriptor"), "{reason}"),
        other => panic!("{other:?}"),
    }
    drop(pool);
    directory.assert_untouched();
    assert!(files.iter().all(|file| file.metadata().is_ok()));
    Ok(())
}

/// Files that the program has opened at the numbers of a pool exist in its children too, whichever numbers are free.
fn in_a_fork_of_the_program(method: StartMethod) -> Result<(), Error> {
    let directory = Directory::new();
    let _closed = ready(method)?;
    close_from_three();
    let mut files: Vec<Option<File>> = own_files(&directory).into_iter().map(Some).collect();
    let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    // Its descriptors have numbers among those of the first, and beyond.
    let later = ready(method)?;
    let look = |free: Option<usize>, files: &[Option<File>]| {
        for (number, file) in files.iter().enumerate().filter_map(|(at, file)| Some((at, file.as_ref()?))) {
            let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
            let name = format!("own-{number}");
            assert!(path.ends_with(&name), "{name} has become {}, free: {free:?}", path.display());
        }
        event.write(1).unwrap();
        (&writer).write_all(&[1]).unwrap();
    };
    for free in (0..files.len()).map(Some).chain([None]) {
        let freed = free.and_then(|free| files[free].take());
        let number = freed.as_ref().map(AsRawFd::as_raw_fd);
        drop(freed);
        in_a_copy(Way::Fork, || {
            look(free, &files);
            // A copy of a copy.
            in_a_copy(Way::Fork, || look(free, &files));
        });
        assert_eq!((event.read(), (&reader).read(&mut [0; 8]).ok()), (Ok(2), Some(2)), "free: {number:?}");
        if let Some(free) = free {
            let path = Path::new(&directory.0).join(format!("own-{free}"));
            files[free] = Some(File::open(path).unwrap());
        }
    }
    assert_usable(&later);
    directory.assert_untouched();
    Ok(())
}

/// The file at each of these numbers.
#[worker_task]
fn what_stands_at(numbers: Vec<i32>) -> Vec<String> {
    let name = |number| fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
    numbers.into_iter().map(|number| name(number).to_string_lossy().into_owned()).collect()
}

/// A worker that inherits the program's files has all of them, those at the numbers of an earlier pool too.
fn in_a_forked_worker(method: StartMethod) -> Result<(), Error> {
    let directory = Directory::new();
    let closed = ready(method)?;
    close_from_three();
    let files = own_files(&directory);
    let pool = ready(method)?;
    let numbers = files.iter().map(AsRawFd::as_raw_fd).collect();
    let found = what_stands_at::apply(&pool, numbers)?;
    for (number, found) in found.into_iter().enumerate() {
        let is_own = found.ends_with(&format!("/own-{number}"));
        assert_eq!(is_own, method == StartMethod::Fork, "own-{number} is {found}");
    }
    drop((closed, pool));
    directory.assert_untouched();
    Ok(())
}

#[worker_task]
fn work(replaces: Option<&str>, x: u64) -> u64 {
    if let Some(directory) = replaces {
        replace_by_files(directory, 16);
    }
    tracing::error!("a record of the task");
    x
}

/// A directory of the trial's own.
struct Directory(String);

impl Directory {
    fn new() -> Self {
        let path = format!("{}/descriptors-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn assert_untouched(&self) {
        let files: Vec<_> = fs::read_dir(&self.0).unwrap().flatten().collect();
        assert!(!files.is_empty());
        for file in files {
            assert_eq!(fs::read(file.path()).unwrap(), MINE, "{}", file.path().display());
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn replaced_by_files(method: StartMethod) -> Result<(), Error> {
    let directory = Directory::new();
    // With a subscriber workers have a pipe for what they log, too.
    let subscriber = tracing_subscriber::registry().with(tracing::level_filters::LevelFilter::ERROR);
    tracing::subscriber::with_default(subscriber, || {
        let pool = builder(method).memory_limit(1 << 30).build()?;
        let results =
            work::job(&pool).chunk_size(3).map((0..100).map(|x| ((x == 40).then_some(&*directory.0), x)))?;
        assert_eq!(results, (0..100).collect::<Vec<_>>());
        for x in 0..20 {
            let replaces = (x % 10 == 0).then_some(&*directory.0);
            assert_eq!(work::apply(&pool, (replaces, x))?, x);
            directory.assert_untouched();
        }
        drop(pool);
        directory.assert_untouched();
        Ok(())
    })
}

/// Descriptors that a task has opened besides files.
static OPENED: Mutex<Vec<(OwnedFd, &str)>> = Mutex::new(Vec::new());

#[worker_task(exit = read_all)]
fn replace_by_other_kinds(#[state] _state: &mut (), x: u64) -> u64 {
    close_from_three();
    let mut opened = OPENED.lock().unwrap();
    for _ in 0..6 {
        let flags = EfdFlags::EFD_NONBLOCK;
        opened.push((EventFd::from_flags(flags).unwrap().into(), "an eventfd"));
        let (reader, writer) = pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        opened.extend([(reader, "a pipe"), (writer, "a pipe")]);
    }
    x
}

/// Says which of them contain something that the task did not put there.
#[worker_exit]
fn read_all(#[state] _state: ()) -> Vec<String> {
    let opened = OPENED.lock().unwrap();
    let is_read = |fd: &OwnedFd| matches!(read(fd, &mut [0; 64]), Ok(1..));
    opened
        .iter()
        .filter(|(fd, _)| is_read(fd))
        .map(|(fd, what)| format!("{what}, {}", fd.as_raw_fd()))
        .collect()
}

fn replaced_by_other_kinds(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    for x in 0..4 {
        assert_eq!(replace_by_other_kinds::apply(&pool, x)?, x);
    }
    assert_usable(&pool);
    let written: Vec<Vec<String>> = pool.join()?.exit_results::<read_all>()?;
    assert!(!written.is_empty() && written.iter().all(Vec::is_empty), "{written:?}");
    Ok(())
}

#[worker_task]
fn use_shared(directory: &str, array: SharedArray<u64>, mutex: SharedMutex<u64>) -> u64 {
    // A forked process makes its own parts of these objects at first use.
    drop(mutex.lock());
    replace_by_files(directory, 16);
    let mut sum = mutex.lock().unwrap();
    *sum += array.iter().sum::<u64>();
    let result = *sum;
    drop(sum);
    // The last use of both in this process, in most.
    drop((array, mutex));
    result
}

fn of_shared_memory(method: StartMethod) -> Result<(), Error> {
    let directory = Directory::new();
    let pool = builder(method).workers(1).build()?;
    let array = SharedArray::from_slice(&[1u64, 2, 3])?;
    let mutex = SharedMutex::new(0u64)?;
    for round in 1..=3 {
        assert_eq!(use_shared::apply(&pool, (&*directory.0, array.clone(), mutex.clone()))?, 6 * round);
        directory.assert_untouched();
    }
    assert_eq!((array.to_vec(), *mutex.lock().unwrap()), (vec![1, 2, 3], 18));
    drop(pool);
    directory.assert_untouched();
    Ok(())
}

fn again_and_again(method: StartMethod) -> Result<(), Error> {
    let directory = Directory::new();
    let pool = builder(method).build()?;
    let each = (0..12).map(|x| (Some(&*directory.0), x));
    let results = work::job(&pool).task_timeout(Duration::from_secs(20)).map(each)?;
    assert_eq!(results, (0..12).collect::<Vec<_>>());
    directory.assert_untouched();
    assert_usable(&pool);
    Ok(())
}
