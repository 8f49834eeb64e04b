//! `Spawn`, and how the fork server is started: both execute this program again.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc;
use nix::unistd::Pid;

use super::killed::{Children, Killed};
use super::protocol::{
    self, ARRIVED, Arrived, Handshake, HandshakeReply, Heard, ProcessKind, SharedBytes, fingerprint,
};
use super::{
    BOOT_LIMIT, Child, StartOutcome, Starter, Unstarted, Watch, WorkerConfig, add_settings, boot_limit,
    due_in, file_of, is_over,
};
use crate::codec::encode_record;
use crate::error::{Death, Error};
use crate::ids::WorkerId;
use crate::options::{StartMethod, Variables, limits_as_reason};
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
    /// The processes that have not yet said whether they are fit for work.
    begun: Vec<(WorkerId, Started)>,
    /// Workers whose processes are not executed before one process of this program has reached `init`: it may be that
    /// none ever does, and one is enough to find out.
    held: VecDeque<WorkerKit>,
    killed: Killed,
}

impl Spawn {
    pub(super) fn new(config: WorkerConfig) -> Self {
        Self { config, begun: Vec::new(), held: VecDeque::new(), killed: Killed::default() }
    }

    fn must_hold(&self) -> bool {
        !HAS_ARRIVED.load(Ordering::Relaxed) && !self.begun.is_empty()
    }

    fn begin(&mut self, mut kit: WorkerKit, watch: &dyn Watch) -> Result<(), Unstarted> {
        add_settings(&self.config, StartMethod::Spawn, &mut kit)?;
        let limit = boot_limit(&self.config.shared);
        let env = self.config.process.env_of(kit.id.0);
        let started = start_anew(&self.config, ProcessKind::Worker, &kit.name(), &kit.cpus, env, limit)?;
        // It gets its kit before it has said that it is fit, so that neither side waits twice. If it is gone already,
        // the missing answer tells more than the failed send.
        let _ = protocol::send(&started.channel, &kit);
        started.watch(watch)?;
        self.begun.push((kit.id, started));
        Ok(())
    }
}

impl Starter for Spawn {
    fn start(&mut self, kit: WorkerKit, watch: &dyn Watch) -> Result<(), Unstarted> {
        if self.must_hold() {
            self.held.push_back(kit);
            return Ok(());
        }
        self.begin(kit, watch)
    }

    fn settle(&mut self, _: &dyn Watch, _: &mut Vec<StartOutcome>) {}

    fn add_variables(&mut self, env: Vec<Variables>) -> Result<(), Error> {
        self.config.add_variables(env);
        Ok(())
    }

    fn advance(&mut self, watch: &dyn Watch, outcomes: &mut Vec<StartOutcome>) {
        self.killed.reap();
        let mut final_failure = None;
        for place in (0..self.begun.len()).rev() {
            let Some(over) = self.begun[place].1.advance() else { continue };
            let (worker, started) = self.begun.swap_remove(place);
            let outcome = match over {
                Ok(()) => Ok(Child::Process(Box::new(started.process))),
                Err(unstarted) => {
                    self.killed.add(started.process, Children::None);
                    final_failure =
                        Some(unstarted.clone()).filter(|failure| failure.is_final).or(final_failure);
                    Err(unstarted)
                }
            };
            outcomes.push((worker, outcome));
        }
        if let Some(failure) = final_failure {
            // The same would happen to them.
            outcomes.extend(self.held.drain(..).map(|kit| (kit.id, Err(failure.clone()))));
        }
        while !self.must_hold()
            && let Some(kit) = self.held.pop_front()
        {
            let worker = kit.id;
            if let Err(unstarted) = self.begin(kit, watch) {
                outcomes.push((worker, Err(unstarted)));
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        self.begun.iter().map(|(_, started)| started.due).chain(self.killed.deadline()).min()
    }

    fn abandon(&mut self) {
        self.held.clear();
        for (_, started) in self.begun.drain(..) {
            self.killed.add(started.process, Children::None);
        }
        self.killed.reap_all();
    }
}

/// Whether any process that executed this program again has reached this crate's code.
static HAS_ARRIVED: AtomicBool = AtomicBool::new(false);

/// A process that executes this program again, until it says that it is fit for work.
#[derive(Debug)]
pub(super) struct Started {
    what: String,
    pub(super) process: Process,
    pub(super) channel: Channel,
    printed: Printed,
    /// Its limits, as the reason may be if it does not get ready.
    limits: String,
    /// How long it may take from its arrival until it is fit.
    limit: Duration,
    stage: Stage,
    /// When the stage is over at the latest.
    due: u64,
}

/// How far a new process has come.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// It has not reached this crate's code.
    Arriving,
    /// It has, and makes itself fit for work.
    Preparing,
    /// It has closed its control socket, as it does when it ends.
    Leaving { had_arrived: bool },
}

/// How long a process that has closed its control socket has to end, so that the error can say how.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// Executes this program again and sends it the handshake. [`Started::advance`] takes the answer, for which it has this
/// limit. It has these variables besides those of this process.
pub(super) fn start_anew(
    config: &WorkerConfig,
    kind: ProcessKind,
    what: &str,
    cpus: &[usize],
    env: &[(OsString, OsString)],
    limit: Duration,
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
        let settings = file_of(&config.process.of_new_process())?;
        let pid = exec(theirs, &printed, env)?;
        let process = Process::adopt(pid, pidfd_of(pid)?, lifeline, tie, cpus)?;
        let handshake = Handshake {
            fingerprint,
            kind,
            codec: config.codec,
            daemon: config.daemon,
            fork_with_threads: config.allow_fork_with_threads,
            tie: process.tie().fds()?.map(Lent::new),
            shared,
            streams: standard::own().map(|stream| stream.map(Lent::from)),
            inherited: inherited.as_ref().map(Lent::new),
            settings: settings.as_ref().map(Lent::new),
            each_decodes: kind == ProcessKind::Server && config.process.common_env().is_none(),
        };
        match protocol::send(&ours, &handshake) {
            // It is gone already. The missing answer tells more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            sent => sent?,
        }
        let process = process.release()?;
        let (stage, due) = (Stage::Arriving, due_in(BOOT_LIMIT));
        let limits = limits_as_reason(&config.process.limits);
        Ok(Started { what: what.to_owned(), process, channel: ours, printed, limits, limit, stage, due })
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
fn exec(socket: Channel, printed: &Printed, env: &[(OsString, OsString)]) -> io::Result<Pid> {
    let launch = Launch::get()?;
    let mut command = Command::new(&launch.image);
    if let Some(name) = std::env::args_os().next().filter(|_| launch.is_direct) {
        // The name by which the C library calls the program, as in `assert`.
        command.arg0(name);
    }
    printed.catch(&mut command)?;
    let too_large = |error: &io::Error| !env.is_empty() && error.raw_os_error() == Some(libc::E2BIG);
    let child = command
        .envs(env.iter().map(|(name, value)| (name, value)))
        .args(&launch.before)
        .args([role::MARKER, role::ROOM_FOR_A_TITLE])
        .stdin(Stdio::from(socket.into_fd().into_owned()))
        .process_group(0)
        .spawn()
        .map_err(|error| match too_large(&error) {
            true => io::Error::other(format!(
                "option `env` gives more than a program may be started with: {error}"
            )),
            false => named_start(&launch.image.to_string_lossy())(error),
        })?;
    // The ID is enough: std neither waits for a child nor ends it when it is dropped.
    Ok(Pid::from_raw(child.id().cast_signed()))
}

impl Started {
    /// Has what it reports watched: its messages, and its end.
    pub(super) fn watch(&self, watch: &dyn Watch) -> Result<(), Unstarted> {
        let watched = watch.watch_start(self.channel.fd().as_fd());
        let watched = watched.and_then(|()| watch.watch_start(self.process.pidfd()));
        Ok(watched.map_err(|error| Error::start(self.what.clone(), error))?)
    }

    /// When [`advance`](Self::advance) is due at the latest.
    pub(super) fn due(&self) -> u64 {
        self.due
    }

    /// Takes what it has said so far, without waiting. Returns nothing until it has said that it is fit for work, or it
    /// is known that it won't.
    pub(super) fn advance(&mut self) -> Option<Result<(), Unstarted>> {
        loop {
            let outcome = match self.stage {
                Stage::Arriving => self.hear_arrival(),
                Stage::Preparing => self.hear_fitness(),
                Stage::Leaving { had_arrived } => self.see_end(had_arrived),
            };
            match outcome {
                Step::Waits => return None,
                Step::Goes(stage, limit) => (self.stage, self.due) = (stage, due_in(limit)),
                Step::Over(outcome) => return Some(outcome),
            }
        }
    }

    /// Looks whether it has reached this crate's code.
    fn hear_arrival(&self) -> Step {
        let reason = match protocol::hear(&self.channel, &self.process) {
            Ok(Heard::Message(Arrived { word: ARRIVED })) => {
                HAS_ARRIVED.store(true, Ordering::Relaxed);
                return Step::Goes(Stage::Preparing, self.limit);
            }
            Ok(Heard::Message(_)) => {
                let why = "it is another build of this program, with another release of `pool`";
                return Step::Over(Err(Unstarted::for_good(Error::start(self.what.clone(), why))));
            }
            Ok(Heard::End) => return Step::Goes(Stage::Leaving { had_arrived: false }, LEAVE_LIMIT),
            Ok(Heard::Nothing) if is_over(self.due) => format!("it did not within {BOOT_LIMIT:?}"),
            Ok(Heard::Nothing) => return Step::Waits,
            Err(error) => error.to_string(),
        };
        Step::Over(Err(self.not_reached(reason, true)))
    }

    /// Looks whether it is fit for work.
    fn hear_fitness(&self) -> Step {
        let why = match protocol::hear::<HandshakeReply>(&self.channel, &self.process) {
            Ok(Heard::Message(Ok(()))) => return Step::Over(Ok(())),
            // The next process would say the same.
            Ok(Heard::Message(Err(why))) => {
                return Step::Over(Err(Unstarted::for_good(Error::start(self.what.clone(), why))));
            }
            Ok(Heard::End) => return Step::Goes(Stage::Leaving { had_arrived: true }, LEAVE_LIMIT),
            Ok(Heard::Nothing) if is_over(self.due) => format!("it was not ready within {:?}", self.limit),
            Ok(Heard::Nothing) => return Step::Waits,
            Err(error) => error.to_string(),
        };
        Step::Over(Err(self.unfit(why)))
    }

    /// Looks how it has ended.
    fn see_end(&mut self, had_arrived: bool) -> Step {
        let death = self.process.try_reap();
        if death.is_none() && !is_over(self.due) {
            return Step::Waits;
        }
        Step::Over(Err(match (had_arrived, death) {
            (true, Some(death)) => self.unfit(format!("it {} before it was ready", Death::from(death))),
            (true, None) => self.unfit("it closed its control socket before it was ready".into()),
            // If a signal has ended it, it was killed on its way there.
            (false, Some(death)) => {
                self.not_reached(format!("it {}", Death::from(death)), death.signal().is_none())
            }
            (false, None) => {
                self.not_reached("it closed its standard input, which is its control socket".into(), true)
            }
        }))
    }

    fn unfit(&self, why: String) -> Unstarted {
        // Until it has the program's streams, its output is not shown anywhere else.
        Error::start(self.what.clone(), why + &self.limits + &self.what_it_printed()).into()
    }

    fn not_reached(&self, reason: String, is_final: bool) -> Unstarted {
        let printed = self.what_it_printed();
        Unstarted { error: Error::InitNotReached { what: self.what.clone(), reason, printed }, is_final }
    }

    /// Its output, as it follows the reason for its end; empty if it has printed nothing.
    fn what_it_printed(&self) -> String {
        let output = self.printed.output();
        let gap = if output.contains('\n') { "\n    " } else { " " };
        let lines = output.lines().map(|line| format!("{gap}{line}"));
        if output.is_empty() { output } else { format!(". It printed:{}", lines.collect::<String>()) }
    }
}

/// What a look at a new process brings.
enum Step {
    Waits,
    /// It has come to this stage, which may last this long.
    Goes(Stage, Duration),
    Over(Result<(), Unstarted>),
}
