//! Standard streams: closed, broken, full, or read by a task.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use pool::{Error, StartMethod, TaskErrorKind, worker_exit, worker_task};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::harness::{apart, cases};
use crate::support::{assert_usable, builder, panic_message, pool, square, squares, task_error};

cases! {
    All: broken_pipe_is_an_error;
    Processes: closed, broken_output, stderr_is_passed_on, stderr_controls_nothing, stdin_is_left_alone,
               nobody_reads, output_left_at_the_end, parent_killed_with_output_left;
    Apart: ends_with_output_left;
}

/// Standard streams of this process that are closed, or open on something else, until this is dropped.
pub(super) struct Altered(Vec<(i32, OwnedFd)>);

impl Altered {
    pub(super) fn closed(numbers: &[i32]) -> Self {
        let altered = Self::save(numbers);
        for number in numbers {
            // SAFETY: std asks the kernel for these numbers each time, and owns none of them.
            #[expect(unsafe_code)]
            unsafe {
                libc::close(*number);
            }
        }
        altered
    }

    pub(super) fn open_on(numbers: &[i32], file: impl AsFd) -> Self {
        let altered = Self::save(numbers);
        numbers.iter().for_each(|number| put(*number, &file));
        altered
    }

    fn save(numbers: &[i32]) -> Self {
        let save = |number: i32| match number {
            0 => io::stdin().as_fd().try_clone_to_owned(),
            1 => io::stdout().as_fd().try_clone_to_owned(),
            _ => io::stderr().as_fd().try_clone_to_owned(),
        };
        Self(numbers.iter().map(|number| (*number, save(*number).unwrap())).collect())
    }
}

fn put(number: i32, file: impl AsFd) {
    match number {
        0 => dup2_stdin(file).unwrap(),
        1 => dup2_stdout(file).unwrap(),
        _ => dup2_stderr(file).unwrap(),
    }
}

impl Drop for Altered {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|(number, saved)| put(number, &saved));
    }
}

type Streams = Vec<Option<String>>;

/// The files on which the standard streams of a process are open; none for closed ones.
fn streams_of(process: impl std::fmt::Display) -> Streams {
    let file = |number: i32| fs::read_link(format!("/proc/{process}/fd/{number}")).ok();
    (0..3).map(|number| Some(file(number)?.to_string_lossy().into_owned())).collect()
}

/// Decoding it looks at the parent, which is just starting a process. It contains the streams that the parent should
/// have.
///
/// The kernel gives a new descriptor the lowest free number, and moving it up is another call: for some microseconds
/// the number of a closed stream may be taken. So it looks repeatedly; a descriptor that keeps such a number is seen
/// each time.
struct LooksAtParent(Streams);

/// How often it looks.
const LOOKS: usize = 10_000;

impl Serialize for LooksAtParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LooksAtParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = Streams::deserialize(deserializer)?;
        let mut looks = (0..LOOKS).map(|_| streams_of(nix::unistd::getppid()));
        let seen = looks.find(|seen| *seen == expected);
        Ok(Self(seen.unwrap_or_else(|| streams_of(nix::unistd::getppid()))))
    }
}

/// Prints, then returns the streams that the parent had and those of this worker. Its stderr is a pipe.
#[worker_task]
fn print_and_look(#[shared] parent: &LooksAtParent, x: u64) -> (Streams, Streams) {
    println!("task {x}");
    eprintln!("task {x}");
    (parent.0.clone(), streams_of("self"))
}

fn closed(method: StartMethod) -> Result<(), Error> {
    let before = streams_of("self");
    for numbers in [&[0][..], &[1], &[2], &[0, 1, 2]] {
        let altered = Altered::closed(numbers);
        let result = builder(method).memory_limit(1 << 30).shared(LooksAtParent(streams_of("self"))).build();
        let result = result.and_then(|pool| {
            let seen = print_and_look::job(&pool).worker_lifespan(2).chunk_size(1).map(0..8)?;
            Ok((seen, streams_of("self"), square::par_map(&pool, 0..100)?))
        });
        drop(altered);
        let (seen, of_parent, results) = result?;
        let is_closed = |number: usize| numbers.contains(&(number as i32));
        let without = |number: usize| before[number].clone().filter(|_| !is_closed(number));
        let expected: Streams = (0..3).map(without).collect();
        assert_eq!(of_parent, expected, "the pool took the number of a closed stream");
        for (of_parent, own) in seen {
            assert_eq!(of_parent, expected, "a start took the number of a closed stream");
            let null = || Some("/dev/null".to_owned());
            assert_eq!(own[..2], [null(), expected[1].clone().or_else(null)]);
            assert!(own[2].as_ref().is_some_and(|stderr| stderr.starts_with("pipe:")), "{own:?}");
        }
        assert_eq!(results, squares(100));
    }
    Ok(())
}

/// Writes into a pipe without a reader.
#[worker_task]
fn write_in_vain() -> String {
    let (reader, mut writer) = io::pipe().unwrap();
    drop(reader);
    format!("{:?}", writer.write(b"in vain").map_err(|error| error.kind()))
}

fn broken_pipe_is_an_error(method: StartMethod) -> Result<(), Error> {
    // As in every Rust program, where the signal is ignored.
    let pool = pool(method)?;
    for result in write_in_vain::par_map(&pool, [(); 10])? {
        assert_eq!(result, "Err(BrokenPipe)");
    }
    Ok(())
}

/// Prints to this stream, if to any.
#[worker_task]
fn print_to(stream: i32, x: u64) -> (u32, u64) {
    match stream {
        1 => println!("task {x}"),
        2 => eprintln!("task {x}"),
        _ => {}
    }
    (std::process::id(), x)
}

fn broken_output(method: StartMethod) -> Result<(), Error> {
    for stream in [1, 2] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let altered = Altered::open_on(&[stream], writer);
        let result = pool(method).and_then(|pool| {
            let items = (0..30).map(|x| (if x % 10 == 3 { stream } else { 0 }, x));
            print_to::job(&pool).chunk_size(1).map_outcomes(items)
        });
        let printed = if stream == 1 { io::stdout().write(b"\n") } else { io::stderr().write(b"\n") };
        drop(altered);
        assert_eq!(printed.map_err(|error| error.kind()), Err(ErrorKind::BrokenPipe));
        let mut processes = Vec::new();
        for (index, outcome) in (0..).zip(result?) {
            match outcome {
                Ok((process, x)) => {
                    // Stderr that can't be passed on does not concern the task.
                    assert!((index % 10 != 3 || stream == 2) && x == index, "{index}: {x}");
                    processes.push(process);
                }
                Err(error) => {
                    assert!(index % 10 == 3 && stream == 1, "{error}");
                    assert!(panic_message(&error).contains("Broken pipe"), "{error}");
                }
            }
        }
        processes.sort_unstable();
        processes.dedup();
        assert!(processes.len() <= 2, "no worker ended: {processes:?}");
    }
    Ok(())
}

/// Prints to stderr, as Rust and as C do it.
#[worker_task(exit = print_at_the_end)]
fn print_to_stderr(#[state] _state: &mut u8, x: u64) {
    eprintln!("task {x}");
    // SAFETY: the text ends with a zero.
    #[expect(unsafe_code)]
    unsafe {
        libc::perror(c"from C".as_ptr());
    }
}

#[worker_exit]
fn print_at_the_end(#[state] _state: u8) {
    eprintln!("the end");
}

/// Prints half a line to stderr, and fails.
#[worker_task]
fn print_and_panic() {
    eprint!("half a ");
    panic!("on purpose");
}

fn stderr_is_passed_on(method: StartMethod) -> Result<(), Error> {
    let (mut reader, writer) = io::pipe().unwrap();
    let altered = Altered::open_on(&[2], writer);
    let result = pool(method).and_then(|pool| {
        print_to_stderr::par_map(&pool, 0..200)?;
        eprintln!("after the call");
        print_to_stderr::apply(&pool, 200)?;
        eprintln!("after the last call");
        assert_eq!(panic_message(&task_error(print_and_panic::par_map(&pool, [()]))), "on purpose");
        eprintln!("line");
        pool.join().map(drop)
    });
    drop(altered);
    result?;
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let place = |line: &str| lines.iter().position(|known| *known == line).expect(line);
    let (call, last_call) = (place("after the call"), place("after the last call"));
    assert!((0..200).all(|x| place(&format!("task {x}")) < call), "{text}");
    assert!((call..last_call).contains(&place("task 200")), "{text}");
    assert_eq!(text.matches("from C: ").count(), 201, "{text}");
    assert_eq!(lines[last_call + 1..], ["half a line", "the end", "the end"], "{text}");
    Ok(())
}

/// Prints these bytes to stderr, and ends as it is told.
#[worker_task]
fn print_bytes(bytes: &[u8], dies: bool) {
    io::stderr().write_all(bytes).unwrap();
    if dies {
        std::process::abort();
    }
}

/// Characters that would clear a screen or overwrite a line are escaped, unless the program wants them unchanged.
fn stderr_controls_nothing(method: StartMethod) -> Result<(), Error> {
    const PRINTED: &[u8] = b"\x1b[2J\x1b]0;title\x07 \xc2\x9b1A\rpool: all is well\n\tcaf\xc3\xa9 \xff\n";
    const SHOWN: &str =
        "\\u{1b}[2J\\u{1b}]0;title\\u{7} \\u{9b}1A\\u{d}pool: all is well\n\tcaf\u{e9} \\xff\n";
    for raw in [false, true] {
        let (mut reader, writer) = io::pipe().unwrap();
        let altered = Altered::open_on(&[2], writer);
        let pool = builder(method).workers(1).raw_stderr(raw).build();
        let error = pool.and_then(|pool| {
            print_bytes::apply(&pool, (PRINTED, false))?;
            Ok(task_error(print_bytes::apply(&pool, (PRINTED, true))))
        });
        drop(altered);
        let error = error?;
        let mut passed_on = Vec::new();
        reader.read_to_end(&mut passed_on).unwrap();
        let expected = if raw { PRINTED } else { SHOWN.as_bytes() };
        assert_eq!(String::from_utf8_lossy(&passed_on), String::from_utf8_lossy(expected).repeat(2));
        // The program has the text itself, and shows it as the error does.
        assert!(error.stderr_tail().is_some_and(|words| words.starts_with("\x1b[2J")), "{error}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')), "{text}");
            assert!(text.contains("\\u{1b}[2J"), "{text}");
        }
    }
    Ok(())
}

#[worker_task]
fn read_stdin() -> usize {
    io::stdin().read_to_end(&mut Vec::new()).unwrap()
}

fn stdin_is_left_alone(method: StartMethod) -> Result<(), Error> {
    let (mut reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"for the parent").unwrap();
    let altered = Altered::open_on(&[0], &reader);
    // The writer is open: a worker that read the parent's stdin would wait for more.
    let result =
        pool(method).and_then(|pool| read_stdin::job(&pool).worker_lifespan(2).chunk_size(1).map([(); 8]));
    drop((altered, writer));
    assert_eq!(result?, [0; 8]);
    let mut left = String::new();
    reader.read_to_string(&mut left).unwrap();
    assert_eq!(left, "for the parent");
    Ok(())
}

/// Prints without end to this stream, if to any.
#[worker_task]
fn flood(stream: i32, x: u64) -> u64 {
    let line = "x".repeat(4095);
    loop {
        match stream {
            1 => println!("{line}"),
            2 => eprintln!("{line}"),
            _ => return x,
        }
    }
}

fn nobody_reads(method: StartMethod) -> Result<(), Error> {
    for stream in [1, 2] {
        let (reader, writer) = io::pipe().unwrap();
        let altered = Altered::open_on(&[stream], writer);
        let result = pool(method).and_then(|pool| {
            let items = (0..40).map(|x| (if x % 20 == 3 { stream } else { 0 }, x));
            let job = flood::job(&pool).task_timeout(Duration::from_millis(200)).chunk_size(1);
            let outcomes = job.map_outcomes(items)?;
            assert_usable(&pool);
            Ok(outcomes)
        });
        drop((altered, reader));
        for (index, outcome) in (0..).zip(result?) {
            match outcome {
                Ok(x) => assert!(index % 20 != 3 && x == index, "{index}: {x}"),
                Err(error) => {
                    assert!(index % 20 == 3 && matches!(error.kind(), TaskErrorKind::TimedOut(_)), "{error}");
                }
            }
        }
    }
    Ok(())
}

/// Prints what stays in the buffer until there is a whole line.
#[worker_task]
fn print_half_a_line() {
    print!("half a line");
}

/// A pipe without room.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    let set = |flags| fcntl(&writer, FcntlArg::F_SETFL(flags)).unwrap();
    set(OFlag::O_NONBLOCK);
    while (&writer).write(&[0; 4096]).is_ok() {}
    set(OFlag::empty());
    (reader, writer)
}

fn output_left_at_the_end(method: StartMethod) -> Result<(), Error> {
    let (reader, writer) = full_pipe();
    let altered = Altered::open_on(&[1], writer);
    let result = pool(method).and_then(|pool| {
        let limit = Duration::from_millis(200);
        print_half_a_line::job(&pool).worker_exit_timeout(limit).chunk_size(1).map([(); 4])?;
        // The workers can't flush their output, so their end runs into its limit.
        Ok(pool.join().map(drop))
    });
    // A dropped pool does not wait for them.
    let dropped = pool(method).and_then(|pool| print_half_a_line::par_map(&pool, [(); 4]));
    drop((altered, reader));
    dropped?;
    match result? {
        Err(Error::Task(error)) => {
            let TaskErrorKind::Exit(cause) = error.kind() else { panic!("{error}") };
            assert!(matches!(&**cause, TaskErrorKind::TimedOut(_)), "{error}");
        }
        other => panic!("the output was lost, and that is: {other:?}"),
    }
    Ok(())
}

/// Prints what stays in the buffer, too.
#[worker_task(exit = say_that_it_ends)]
fn print_half_a_line_with_state(#[state] _state: &mut u8, (): ()) {
    print!("half a line");
}

#[worker_exit]
fn say_that_it_ends(#[state] _state: u8) {
    eprintln!("ready");
}

fn ends_with_output_left(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    print_half_a_line_with_state::job(&pool).chunk_size(1).map([(), ()])?;
    pool.join().map(drop)
}

fn parent_killed_with_output_left(method: StartMethod) -> Result<(), Error> {
    let (reader, writer) = full_pipe();
    let mut part = apart(Path::new("/proc/self/exe"), ends_with_output_left, method);
    let mut part = part.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(part.stderr.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    part.kill().unwrap();
    part.wait().unwrap();
    // All processes that it has started share this output, so its end is theirs.
    output.read_to_end(&mut Vec::new()).unwrap();
    drop(reader);
    Ok(())
}
