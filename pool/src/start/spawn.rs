//! `Spawn`, and what the fork server is started with: this program, anew.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::Pid;

use super::protocol::{Calling, Fitness, Hello, SeatOrder, SharedHead, fingerprint};
use super::{Crew, Newcomer, Seat, StartMethod, Starter, boot_limit};
use crate::boot;
use crate::error::Error;
use crate::sys::lifeline::lifeline;
use crate::sys::named;
use crate::sys::process::{Process, pidfd_of};
use crate::sys::socket::Channel;

/// Starts each worker as this program anew.
pub(super) struct Spawn {
    crew: Crew,
}

impl Spawn {
    pub(super) fn new(crew: Crew) -> Self {
        Self { crew }
    }
}

impl Starter for Spawn {
    fn start(&mut self, seat: Seat) -> Result<Newcomer, Error> {
        let what = format!("worker {}", seat.id);
        let (process, channel) = start_anew(&self.crew, Calling::Worker, &what, &seat.cpus)?;
        let fds = [&seat.down, &seat.up, &seat.bell].into_iter().chain(&seat.stderr);
        let (log, loudness) = seat.log.as_ref().map(|(log, loudness)| (log, *loudness)).unzip();
        let fds: Vec<_> = fds.chain(log).map(AsFd::as_fd).collect();
        let order = SeatOrder { id: seat.id as u64, loudness: loudness.unwrap_or(0), notes: seat.notes };
        // It is offered its seat before it has said that it is fit: nobody waits twice. If it is gone already, the
        // missing answer tells more than the failing send.
        let _ = channel.send(&order, &fds);
        let limit = boot_limit(&self.crew.shared);
        Ok(Newcomer::Awaited(Unheard { what, process, channel, limit }))
    }
}

/// A process that has not said yet whether it is fit for work.
#[derive(Debug)]
pub(crate) struct Unheard {
    what: String,
    process: Process,
    channel: Channel,
    limit: Duration,
}

impl Unheard {
    /// Waits until it says so.
    pub(super) fn hear(mut self) -> Result<Process, Error> {
        hear_fitness(&mut self.process, &self.channel, self.limit)
            .map_err(|why| Error::start(self.what, why))?;
        Ok(self.process)
    }
}

/// Starts this program anew and greets it; what it answers is to be heard with [`hear_fitness`].
pub(super) fn start_anew(
    crew: &Crew,
    calling: Calling,
    what: &str,
    cpus: &[usize],
) -> Result<(Process, Channel), Error> {
    if !boot::initialized() {
        // The new process would run the user's `main`, come here, and start the next.
        return Err(Error::NotInitialized(match calling {
            Calling::Worker => StartMethod::Spawn,
            Calling::Server => StartMethod::ForkServer,
        }));
    }
    let (head, bytes) = SharedHead::of(&crew.shared).map_err(|why| Error::start(what, why))?.unzip();
    let hello = Hello {
        fingerprint: fingerprint(),
        calling,
        codec: crew.codec,
        daemon: crew.daemon,
        fork_with_threads: crew.allow_fork_with_threads,
        shared: head,
    };
    let start = || -> io::Result<(Process, Channel)> {
        let (ours, theirs) = Channel::pair()?;
        let (lifeline, tie) = lifeline()?;
        let pid = exec(what, theirs)?;
        let process = Process::adopt(pid, pidfd_of(pid)?, lifeline, &tie, cpus)?;
        let fds: Vec<_> = [tie.fd().as_fd()].into_iter().chain(bytes.map(AsFd::as_fd)).collect();
        ours.send(&hello, &fds)?;
        Ok((process, ours))
    };
    start().map_err(|error| Error::start(what, error))
}

/// Runs this program's own image, whatever has become of its file, with the socket as stdin.
fn exec(what: &str, socket: Channel) -> io::Result<Pid> {
    const PROGRAM: &str = "/proc/self/exe";
    let child = Command::new(PROGRAM)
        .arg0(format!("pool: {what}"))
        .arg(boot::MARKER)
        .stdin(Stdio::from(socket.into_fd().into_owned()))
        .process_group(0)
        .spawn()
        .map_err(named(PROGRAM))?;
    // Its id is all that is needed: std neither waits for a child nor ends it.
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// Waits until the new process says that it is fit for work.
pub(super) fn hear_fitness(process: &mut Process, channel: &Channel, limit: Duration) -> Result<(), String> {
    match channel.receive_within::<Fitness>(limit, process.pidfd()) {
        Ok(Some((fitness, _))) => fitness,
        Ok(None) => match process.reap_within(Duration::from_secs(1)) {
            Some(death) => Err(format!("it {death} before it was ready")),
            None => Err("it closed its control socket before it was ready".into()),
        },
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(format!("it was not ready within {limit:?}"))
        }
        Err(error) => Err(error.to_string()),
    }
}
