//! The parent's end of a server that forks workers, and the start methods that use one.

use std::fmt::Display;
use std::io;

use nix::unistd::Pid;

use super::child::advance_random_keys;
use super::protocol::{self, ForkReply, ForkRequest};
use super::{BOOT_LIMIT, Child, Starter, StartingWorker, Unstarted, WorkerConfig, fork, forkserver};
use crate::error::Error;
use crate::sys::credentials::Credentials;
use crate::sys::fd::Fd;
use crate::sys::lifeline::lifeline;
use crate::sys::passed::{Lent, Passed};
use crate::sys::process::Process;
use crate::sys::socket::Channel;
use crate::worker::WorkerKit;

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    process: Process,
    channel: Channel,
    /// The credentials of this process when it started the server. The server still has them, and its workers would
    /// too.
    credentials: Credentials,
}

/// Why a server forked no worker.
enum Failure {
    /// It is gone or broken, presumably for this reason. Another server may do better.
    Lost(String),
    /// It refused, with this error.
    Refused(Error),
}

impl Server {
    pub(super) fn new(process: Process, channel: Channel) -> Self {
        Self { process, channel, credentials: Credentials::own() }
    }

    fn fork_worker(&mut self, kit: &WorkerKit) -> Result<Process, Failure> {
        let refused = |why: &dyn Display| Failure::Refused(Error::start(kit.name(), why));
        let (lifeline, tie) = lifeline().map_err(|error| refused(&error))?;
        let request: ForkRequest<_, _> = (kit, Lent::new(tie.fd()));
        let sent = match protocol::send(&self.channel, &request) {
            // It is gone already. Its last message tells more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent,
        };
        let answer = sent.and_then(|()| {
            protocol::receive_within::<ForkReply<Passed>>(&self.channel, BOOT_LIMIT, self.process.pidfd())
        });
        match answer {
            Ok(Some(Ok((pid @ 2.., pidfd)))) => Fd::new(pidfd.into_owned())
                .and_then(|pidfd| Process::adopt(Pid::from_raw(pid), pidfd, lifeline, tie, &kit.cpus))
                .map_err(|error| refused(&error)),
            Ok(Some(Err(why))) => Err(refused(&why)),
            lost => {
                // It may have forked a worker that is unknown here. That one still waits at its tie, in the server's
                // group, and ends with it.
                self.process.kill();
                drop(lifeline);
                self.process.reap_unknown();
                Err(Failure::Lost(match lost {
                    Err(error) => error.to_string(),
                    Ok(None) => "it ended without an answer".into(),
                    Ok(Some(_)) => "its answer was no process".into(),
                }))
            }
        }
    }
}

/// Starts workers through a server, which it starts when it first needs one.
pub(super) struct Forking {
    config: WorkerConfig,
    start_server: fn(&WorkerConfig) -> Result<Server, Unstarted>,
    server: Option<Server>,
    /// Whether the server has a copy of this process's memory.
    inherits: bool,
}

impl Forking {
    pub(super) fn fork(config: WorkerConfig) -> Self {
        Self { config, start_server: fork::start_server, server: None, inherits: true }
    }

    pub(super) fn fork_server(config: WorkerConfig) -> Self {
        Self { config, start_server: forkserver::start_server, server: None, inherits: false }
    }
}

impl Starter for Forking {
    fn start(&mut self, kit: WorkerKit) -> Result<StartingWorker, Unstarted> {
        let mut lost = String::new();
        for _ in 0..2 {
            // New workers must not have privileges that this process has dropped since.
            let is_like_us = |server: &Server| server.credentials == Credentials::own();
            let mut server = match self.server.take().filter(is_like_us) {
                Some(server) => server,
                None => {
                    if self.inherits {
                        // The random keys of this thread, which the next server inherits, go on where those of the last
                        // server's workers ended.
                        advance_random_keys(kit.start);
                    }
                    (self.start_server)(&self.config)?
                }
            };
            match server.fork_worker(&kit) {
                Ok(process) => {
                    self.server = Some(server);
                    return Ok(StartingWorker::Here(Child::Process(process)));
                }
                Err(Failure::Refused(error)) => {
                    self.server = Some(server);
                    return Err(error.into());
                }
                Err(Failure::Lost(why)) => lost = why,
            }
        }
        let why = format!("two servers in a row were lost as they forked it: {lost}");
        Err(Error::start(kit.name(), why).into())
    }

    fn refresh(&mut self) {
        // While other threads run, a new fork would be refused; then the old server stays.
        if self.inherits && self.server.is_some() && fork::is_sound(&self.config) {
            self.server = None;
        }
    }

    fn prepare(&mut self) {
        if self.inherits && self.server.is_none() {
            // If that fails, so does the first start, which reports it.
            self.server = (self.start_server)(&self.config).ok();
        }
    }
}
