//! A worker that writes records that are complete, with correct digests, but wrong in sequence: large replies without
//! end or announcement, and endless exit results. The parent's memory stays bounded, and the worker is killed.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use pool::{Error, StartMethod, TaskErrorKind, worker_exit, worker_task};

use crate::harness::cases;
use crate::support::{Tokens, assert_usable, builder, put_token, take_all_tokens, task_error};

#[path = "../../pool/src/lane/ring/digest.rs"]
#[allow(dead_code, unused_imports, reason = "its own tests are run where it belongs")]
mod digest;

cases! {
    Processes: parts_without_end, parts_that_were_not_announced, more_than_there_is, wrong_parts, too_few_parts,
               exits_without_end, exits_of_nobody;
}

// As in `pool::lane`.
const LARGE_VALUE: u8 = 2;
const PART: u8 = 5;
const EXIT_VALUE: u8 = 6;
const EXIT_FAILED: u8 = 8;
const ANNOUNCED: u8 = 11;
const WRAP: u8 = 0xff;
const PART_BYTES: usize = (1 << 20) + (4 << 10);
const RING: u64 = 4096;
const RING_BYTES: u64 = 3 << 20;

/// Writes records into the lane of the process that it is in, from the first that the worker has not written.
pub(super) struct Forger {
    memory: File,
    replies: u64,
    orders: u64,
    lap: u64,
    at: u64,
    number: u32,
}

fn start_of(mapping: &str) -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains(mapping)).expect("a worker has its lane mapped");
    u64::from_str_radix(line.split_once('-').unwrap().0, 16).unwrap()
}

impl Forger {
    /// For a worker that has written this many records, none of which was long.
    pub(super) fn after(records: u32) -> Self {
        let memory = OpenOptions::new().read(true).write(true).open("/proc/self/mem").unwrap();
        let (replies, orders) = (start_of("pool replies"), start_of("pool orders"));
        let mut forger = Self { memory, replies, orders, lap: 0, at: 0, number: 0 };
        for _ in 0..records {
            let len = forger.read(replies + RING + forger.at) & 0xffff_ffff;
            forger.at += 8 + len.next_multiple_of(8);
            forger.number += 1;
        }
        forger
    }

    fn read(&self, address: u64) -> u64 {
        let mut word = [0; 8];
        self.memory.read_exact_at(&mut word, address).unwrap();
        u64::from_le_bytes(word)
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, self.replies + RING + at).unwrap();
    }

    fn publish(&mut self, len: usize, tag: u8, digest: u64) {
        let check = u64::from(self.number) ^ (digest >> 40);
        let header = len as u64 | u64::from(tag) << 32 | (check & 0xff_ffff) << 40;
        self.write(self.at, &header.to_le_bytes());
        self.number += 1;
    }

    /// Claims to have sent a record of this length, and waits for what comes of it.
    pub(super) fn claim(&mut self, tag: u8, len: u32) -> ! {
        self.publish(len as usize, tag, 0);
        wake_the_parent();
        loop {
            std::thread::park();
        }
    }

    /// Sends a record, and waits until the parent has taken it.
    pub(super) fn send(&mut self, tag: u8, payload: &[u8]) {
        let total = 8 + payload.len().next_multiple_of(8) as u64;
        if self.at + total + 8 > RING_BYTES {
            self.write(0, &[0; 8]);
            self.publish(0, WRAP, 0);
            (self.lap, self.at) = (self.lap + 1, 0);
        }
        self.write(self.at + total, &[0; 8]);
        self.write(self.at + 8, payload);
        self.publish(payload.len(), tag, digest::digest(payload));
        self.at += total;
        // The word of the parent that says how far it has read.
        while self.read(self.orders + 72) != self.lap << 32 | self.at {
            wake_the_parent();
            std::thread::yield_now();
        }
    }
}

/// Writes to every eventfd that the process has.
fn wake_the_parent() {
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().contains("[eventfd]")) {
            let number: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
            let one = 1_u64.to_ne_bytes();
            // SAFETY: the bytes are there while the call reads them.
            #[expect(unsafe_code)]
            let _ = unsafe { nix::libc::write(number, one.as_ptr().cast(), one.len()) };
        }
    }
}

/// If nothing ends it, it ends within the time limit.
const WITHOUT_END: usize = 400;

#[worker_task]
fn forge(how: u8) -> u64 {
    // The worker has reported that it is up.
    let mut forger = Forger::after(1);
    let part = vec![7; PART_BYTES];
    let announce = |bytes: u64| bytes.to_le_bytes();
    match how {
        0 => {
            forger.send(ANNOUNCED, &announce(40 << 20));
            (0..WITHOUT_END).for_each(|_| forger.send(PART, &part));
        }
        1 => (0..WITHOUT_END).for_each(|_| forger.send(PART, &part)),
        2 => {
            forger.send(ANNOUNCED, &announce(1 << 50));
            (0..WITHOUT_END).for_each(|_| forger.send(PART, &part));
        }
        3 => {
            forger.send(ANNOUNCED, &announce(40 << 20));
            (0..WITHOUT_END).for_each(|_| forger.send(PART, &[]));
        }
        4 => {
            forger.send(ANNOUNCED, &announce(40 << 20));
            forger.send(PART, &part);
            forger.send(LARGE_VALUE, &[]);
        }
        5 => (0..WITHOUT_END).for_each(|_| forger.send(ANNOUNCED, &announce(40 << 20))),
        _ => (0..WITHOUT_END).for_each(|_| forger.send(EXIT_VALUE, &[0; 100])),
    }
    loop {
        std::thread::park();
    }
}

/// The worker is killed, long before the time limit.
fn ends(method: StartMethod, how: u8) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let error = task_error(forge::job(&pool).task_timeout(Duration::from_secs(10)).apply(how));
    let TaskErrorKind::Died(death) = error.kind() else { panic!("{error}") };
    assert!(death.to_string().contains("wrote over its lane"), "{death}");
    assert_usable(&pool);
    Ok(())
}

fn parts_without_end(method: StartMethod) -> Result<(), Error> {
    ends(method, 0)
}

fn parts_that_were_not_announced(method: StartMethod) -> Result<(), Error> {
    ends(method, 1)
}

fn more_than_there_is(method: StartMethod) -> Result<(), Error> {
    ends(method, 2)
}

fn wrong_parts(method: StartMethod) -> Result<(), Error> {
    ends(method, 3)?;
    ends(method, 5)?;
    ends(method, 6)
}

fn too_few_parts(method: StartMethod) -> Result<(), Error> {
    ends(method, 4)
}

#[worker_task(exit = exits)]
fn fails(#[state] _tasks: &mut u64) {
    panic!("its failure is a record, where a value would be a part of a run");
}

/// Reports many failed exit functions, or the value of one that does not exist.
#[worker_exit]
fn exits(#[shared] (of_nobody, told): &(bool, String), #[state] tasks: u64) -> u64 {
    // It has said that it is up, that the state is made, and how the task has failed.
    let mut forger = Forger::after(3);
    for _ in 0..WITHOUT_END {
        if *of_nobody {
            forger.send(EXIT_VALUE, &[0xff; 12]);
        } else {
            // `Failed`, with an empty text.
            forger.send(EXIT_FAILED, &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        put_token(told);
    }
    tasks
}

fn exit_ends(method: StartMethod, of_nobody: bool) -> Result<(), Error> {
    let told = Tokens::new();
    let pool = builder(method).workers(1).shared((of_nobody, told.path())).build()?;
    task_error(fails::job(&pool).worker_exit_timeout(Duration::from_secs(20)).apply(()));
    let error = task_error(pool.join().map(drop));
    let TaskErrorKind::Exit(kind) = error.kind() else { panic!("{error}") };
    // The first report counts, if it was possible.
    let is_told = matches!(&**kind, TaskErrorKind::Failed(why) if why.is_empty() && !of_nobody);
    let died = matches!(&**kind, TaskErrorKind::Died(death) if death.to_string().contains("wrote over"));
    assert!(is_told || died, "{kind}");
    let taken = take_all_tokens(&told.path());
    assert!(taken <= 3, "the parent has taken {taken} of them");
    Ok(())
}

fn exits_without_end(method: StartMethod) -> Result<(), Error> {
    exit_ends(method, false)
}

fn exits_of_nobody(method: StartMethod) -> Result<(), Error> {
    exit_ends(method, true)
}
