//! `Spawn`, and how the fork server is started: both execute this program again.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::unistd::Pid;

use super::protocol;
use super::protocol::{ARRIVED, Arrived, Handshake, HandshakeReply, ProcessKind, SharedBytes, fingerprint};
use super::{BOOT_LIMIT, Child, Starter, StartingWorker, Unstarted, WorkerConfig, boot_limit};
use crate::codec::encode_record;
use crate::error::{Death, Error};
use crate::options::StartMethod;
use crate::role;
use crate::sys::lifeline::lifeline;
use crate::sys::limits::named_start;
use crate::sys::passed::Lent;
use crate::sys::pidfd::pidfd_of;
use crate::sys::process::Process;
use crate::sys::program::Launch;
use crate::sys::socket::Channel;
use crate::sys::standard::{self, Printed};
use crate::sys::{inheritable, memfile};
use crate::worker::WorkerKit;

/// Starts each worker by executing this program again.
pub(super) struct Spawn {
    config: WorkerConfig,
}

impl Spawn {
    pub(super) fn new(config: WorkerConfig) -> Self {
        Self { config }
    }
}

impl Starter for Spawn {
    fn start(&mut self, kit: WorkerKit) -> Result<StartingWorker, Unstarted> {
        let started = start_anew(&self.config, ProcessKind::Worker, &kit.name(), &kit.cpus)?;
        // It gets its kit before it has said that it is fit, so that neither side waits twice. If it is gone already,
        // the missing answer tells more than the failed send.
        let _ = protocol::send(&started.channel, &kit);
        let limit = boot_limit(&self.config.shared);
        if HAS_ARRIVED.load(Ordering::Relaxed) {
            return Ok(StartingWorker::Process(AwaitingHandshake { started, limit }));
        }
        // Until one process of this program has reached `init`, it may be that none ever does: one is enough to find
        // out.
        Ok(StartingWorker::Here(Child::Process(started.hear(limit)?.0)))
    }
}

/// Whether any process that executed this program again has reached this crate's code.
static HAS_ARRIVED: AtomicBool = AtomicBool::new(false);

/// A process that has not yet said whether it is fit for work.
#[derive(Debug)]
pub(crate) struct AwaitingHandshake {
    started: Started,
    limit: Duration,
}

impl AwaitingHandshake {
    /// Waits until it says that it is fit.
    pub(super) fn hear(self) -> Result<Process, Unstarted> {
        Ok(self.started.hear(self.limit)?.0)
    }
}

/// A process that executes this program again.
#[derive(Debug)]
pub(super) struct Started {
    what: String,
    process: Process,
    channel: Channel,
    printed: Printed,
}

/// Executes this program again and sends it the handshake. [`Started::hear`] waits for the answer.
pub(super) fn start_anew(
    config: &WorkerConfig,
    kind: ProcessKind,
    what: &str,
    cpus: &[usize],
) -> Result<Started, Error> {
    if !role::initialized() {
        // The new process would run the user's `main`, get to this point, and start the next.
        return Err(Error::NotInitialized(match kind {
            ProcessKind::Worker => StartMethod::Spawn,
            ProcessKind::Server => StartMethod::ForkServer,
        }));
    }
    let shared = SharedBytes::of(&config.shared).map_err(|why| Error::start(what, why))?;
    let fingerprint = fingerprint();
    let start = || -> io::Result<Started> {
        let (ours, theirs) = Channel::pair()?;
        let (lifeline, tie) = lifeline()?;
        let printed = Printed::new()?;
        let inherited = list_of_inheritable()?;
        let pid = exec(theirs, &printed)?;
        let process = Process::adopt(pid, pidfd_of(pid)?, lifeline, tie, cpus)?;
        let handshake = Handshake {
            fingerprint,
            kind,
            codec: config.codec,
            daemon: config.daemon,
            fork_with_threads: config.allow_fork_with_threads,
            tie: Lent::new(process.tie().fd()),
            shared,
            streams: standard::own().map(|stream| stream.map(Lent::from)),
            inherited: inherited.as_ref().map(Lent::new),
        };
        match protocol::send(&ours, &handshake) {
            // It is gone already. The missing answer tells more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            sent => sent?,
        }
        Ok(Started { what: what.to_owned(), process, channel: ours, printed })
    };
    start().map_err(|error| Error::start(what, error))
}

/// A file with the list of the program's descriptors that the new process is to close.
fn list_of_inheritable() -> io::Result<Option<OwnedFd>> {
    let list = inheritable::list();
    if list.is_empty() {
        return Ok(None);
    }
    let (file, _) = memfile::sealed::<io::Error>("pool descriptors", |out| {
        encode_record(&list, out).map_err(io::Error::other)
    })?;
    Ok(Some(file))
}

/// Executes this program's own image, even if its file was replaced, with the socket as stdin.
fn exec(socket: Channel, printed: &Printed) -> io::Result<Pid> {
    let launch = Launch::get()?;
    let mut command = Command::new(&launch.image);
    if let Some(name) = std::env::args_os().next().filter(|_| launch.is_direct) {
        // The name by which the C library calls the program, as in `assert`.
        command.arg0(name);
    }
    printed.catch(&mut command)?;
    let child = command
        .args(&launch.before)
        .args([role::MARKER, role::ROOM_FOR_A_TITLE])
        .stdin(Stdio::from(socket.into_fd().into_owned()))
        .process_group(0)
        .spawn()
        .map_err(named_start(&launch.image.to_string_lossy()))?;
    // The ID is enough: std neither waits for a child nor ends it when it is dropped.
    Ok(Pid::from_raw(child.id().cast_signed()))
}

impl Started {
    /// Waits until the new process says that it is fit for work.
    pub(super) fn hear(mut self, limit: Duration) -> Result<(Process, Channel), Unstarted> {
        self.hear_arrival()?;
        let fitness = protocol::receive_within::<HandshakeReply>(&self.channel, limit, self.process.pidfd());
        let why = match fitness {
            Ok(Some(Ok(()))) => return Ok((self.process, self.channel)),
            // The next process would say the same.
            Ok(Some(Err(why))) => return Err(Unstarted::for_good(Error::start(self.what, why))),
            Ok(None) => match self.process.reap_within(Duration::from_secs(1)) {
                Some(death) => format!("it {} before it was ready", Death::from(death)),
                None => "it closed its control socket before it was ready".into(),
            },
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                format!("it was not ready within {limit:?}")
            }
            Err(error) => error.to_string(),
        };
        // Until it has the program's streams, its output is not shown anywhere else.
        let why = why + &self.what_it_printed();
        Err(Error::start(self.what, why).into())
    }

    /// Waits until it has reached this crate's code.
    fn hear_arrival(&mut self) -> Result<(), Unstarted> {
        let arrived = protocol::receive_within::<Arrived>(&self.channel, BOOT_LIMIT, self.process.pidfd());
        let reason = match arrived {
            Ok(Some(Arrived { word: ARRIVED })) => {
                HAS_ARRIVED.store(true, Ordering::Relaxed);
                return Ok(());
            }
            Ok(Some(_)) => {
                let why = "it is another build of this program, with another release of `pool`";
                return Err(Unstarted::for_good(Error::start(self.what.clone(), why)));
            }
            Ok(None) => match self.process.reap_within(Duration::from_secs(1)) {
                // It was killed on its way there.
                Some(death) if death.signal().is_some() => {
                    return Err(self.not_reached(format!("it {}", Death::from(death)), false));
                }
                Some(death) => format!("it {}", Death::from(death)),
                None => "it closed its standard input, which is its control socket".into(),
            },
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                format!("it did not within {BOOT_LIMIT:?}")
            }
            Err(error) => error.to_string(),
        };
        Err(self.not_reached(reason, true))
    }

    fn not_reached(&self, reason: String, is_final: bool) -> Unstarted {
        let printed = self.what_it_printed();
        Unstarted { error: Error::InitNotReached { what: self.what.clone(), reason, printed }, is_final }
    }

    /// Its output, as it follows the reason for its end; empty if it has printed nothing.
    fn what_it_printed(&self) -> String {
        let told = self.printed.told();
        let gap = if told.contains('\n') { "\n    " } else { " " };
        let lines = told.lines().map(|line| format!("{gap}{line}"));
        if told.is_empty() { told } else { format!(". It printed:{}", lines.collect::<String>()) }
    }
}
