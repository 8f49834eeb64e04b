//! The parent's end of a server that forks workers, and the start methods that use one.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::os::fd::AsFd;

use nix::unistd::Pid;

use super::child::advance_random_keys;
use super::killed::{Children, Killed};
use super::protocol::{self, ForkReply, ForkRequest, Heard};
use super::spawn::Started;
use super::{
    BOOT_LIMIT, Child, StartOutcome, Starter, Unstarted, Watch, WorkerConfig, add_settings, due_in, fork,
    forkserver, is_over,
};
use crate::error::Error;
use crate::options::{StartMethod, Variables};
use crate::sys::credentials::Credentials;
use crate::sys::fd::Fd;
use crate::sys::lifeline::{Lifeline, Tie, lifeline};
use crate::sys::passed::{Lent, Passed};
use crate::sys::process::Process;
use crate::sys::socket::Channel;
use crate::sys::threads;
use crate::worker::WorkerKit;

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    process: Process,
    channel: Channel,
}

/// A server that was started just now.
pub(super) enum NewServer {
    Boots(Started),
    IsUp(Server),
}

/// How many workers a server is asked for before it has answered: enough that it need not wait for the next request,
/// and few enough that its socket holds all of them.
const MOST_ASKED: usize = 8;
/// After this many servers in a row were lost as they forked the same worker, its start has failed.
const MOST_LOST: u32 = 2;

/// A worker that is to be forked.
struct Request {
    kit: WorkerKit,
    /// How many servers were lost as they forked it.
    lost: u32,
}

/// A request that was sent to the server.
struct Asked {
    request: Request,
    lifeline: Lifeline,
    tie: Tie,
}

impl Server {
    pub(super) fn new(process: Process, channel: Channel) -> Self {
        Self { process, channel }
    }

    /// Sends the request for a worker. Its answer comes after those to the requests before it.
    fn ask(&self, kit: &WorkerKit, tie: &Tie) -> io::Result<()> {
        let request: ForkRequest<_, _> = (kit, tie.fds()?.map(Lent::new));
        match protocol::send(&self.channel, &request) {
            // It is gone already. Its last message tells more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent,
        }
    }

    fn watch(&self, watch: &dyn Watch) -> Result<(), Unstarted> {
        let watched = watch.watch_start(self.channel.fd().as_fd());
        let watched = watched.and_then(|()| watch.watch_start(self.process.pidfd()));
        Ok(watched.map_err(|error| Error::start("the fork server", error))?)
    }
}

/// Starts workers through a server, which it starts when it first needs one.
pub(super) struct Forking {
    config: WorkerConfig,
    start_server: fn(&WorkerConfig) -> Result<NewServer, Unstarted>,
    server: Option<NewServer>,
    /// The credentials of this process when it started the server. The server still has them, and its workers would
    /// too.
    credentials: Option<Credentials>,
    /// Whether the server has variables that further workers must not have.
    is_outdated: bool,
    /// Whether the server is watched.
    is_watched: bool,
    /// Whether the server has a copy of this process's memory.
    inherits: bool,
    /// A caller is away, and comes back.
    caller_comes: bool,
    /// The requests that were not sent.
    waiting: VecDeque<Request>,
    /// The requests that the server has not answered, in the order of its answers.
    asked: VecDeque<Asked>,
    /// When the next answer is due.
    due: u64,
    /// Outcomes that are not taken yet.
    outcomes: Vec<StartOutcome>,
    killed: Killed,
}

impl Forking {
    pub(super) fn fork(config: WorkerConfig) -> Self {
        Self::new(config, fork::start_server, true)
    }

    pub(super) fn fork_server(config: WorkerConfig) -> Self {
        Self::new(config, forkserver::start_server, false)
    }

    fn new(
        config: WorkerConfig,
        start_server: fn(&WorkerConfig) -> Result<NewServer, Unstarted>,
        inherits: bool,
    ) -> Self {
        Self {
            config,
            start_server,
            server: None,
            credentials: None,
            is_outdated: false,
            is_watched: false,
            inherits,
            caller_comes: false,
            waiting: VecDeque::new(),
            asked: VecDeque::new(),
            due: 0,
            outcomes: Vec::new(),
            killed: Killed::default(),
        }
    }

    /// Starts a server for the next worker, which is the one with this number among all starts.
    fn start_server(&mut self, start: u64) -> Result<(), Unstarted> {
        if self.inherits {
            // The random keys of this thread, which the next server inherits, go on where those of the last server's
            // workers ended.
            advance_random_keys(start);
        }
        self.make_server()
    }

    fn method(&self) -> StartMethod {
        if self.inherits { StartMethod::Fork } else { StartMethod::ForkServer }
    }

    /// Whether this thread may start a server. A thread that stands by does not fork this process while a caller runs
    /// the user's code: that caller does it when it comes back.
    fn may_start_server(&self) -> bool {
        let is_caller_away = self.caller_comes && threads::rests();
        !self.inherits || !is_caller_away || self.config.allow_fork_with_threads
    }

    fn make_server(&mut self) -> Result<(), Unstarted> {
        (self.credentials, self.is_outdated) = (Some(Credentials::own()), false);
        self.server = Some((self.start_server)(&self.config)?);
        self.is_watched = false;
        Ok(())
    }

    /// Has the server watched, if it is not yet.
    fn watch(&mut self, watch: &dyn Watch) -> Result<(), Unstarted> {
        if !std::mem::replace(&mut self.is_watched, true) {
            match &self.server {
                Some(NewServer::Boots(started)) => started.watch(watch)?,
                Some(NewServer::IsUp(server)) => server.watch(watch)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Ends the server if this process has dropped privileges since, or if it has variables of some workers only: new
    /// workers must not have them.
    fn end_unlike(&mut self) {
        let is_unlike = || self.is_outdated || self.credentials != Some(Credentials::own());
        if self.server.is_some() && self.asked.is_empty() && is_unlike() {
            self.end_server(Children::None);
        }
    }

    fn end_server(&mut self, children: Children) {
        match self.server.take() {
            Some(NewServer::Boots(Started { process, .. }) | NewServer::IsUp(Server { process, .. })) => {
                self.killed.add(process, children);
            }
            None => {}
        }
    }

    /// Goes on as far as the server's answers go. After that, either an answer of the server's is awaited or nothing is
    /// left to ask it.
    fn go_on(&mut self, watch: &dyn Watch) {
        loop {
            self.boot();
            self.hear();
            let had_none = self.asked.is_empty();
            self.ask(watch);
            if had_none {
                // The end of a server that had nothing to do was reported and forgotten, so look whether it is there.
                self.hear();
            }
            if self.awaits_server() || self.waiting.is_empty() || self.awaits_caller() {
                return;
            }
        }
    }

    /// Whether a message of the server's is to come, which ends a sleep.
    fn awaits_server(&self) -> bool {
        match self.server {
            Some(NewServer::Boots(_)) => true,
            // It may have answered everything while it was asked.
            Some(NewServer::IsUp(_)) => !self.asked.is_empty(),
            None => false,
        }
    }

    /// Sends requests to the server, as many as it may have. Starts a server if there is none.
    fn ask(&mut self, watch: &dyn Watch) {
        if self.waiting.is_empty() {
            return;
        }
        self.end_unlike();
        if self.awaits_caller() {
            return;
        }
        if let Some(next) = self.waiting.front()
            && self.server.is_none()
            && let Err(unstarted) = self.start_server(next.kit.start)
        {
            return self.fail_waiting(&unstarted);
        }
        if let Err(unstarted) = self.watch(watch) {
            self.end_server(Children::Unknown);
            return self.fail_waiting(&unstarted);
        }
        let Some(NewServer::IsUp(server)) = &self.server else { return };
        while self.asked.len() < MOST_ASKED
            && let Some(request) = self.waiting.pop_front()
        {
            let (lifeline, tie) = match lifeline() {
                Ok(both) => both,
                Err(error) => {
                    self.outcomes.push(refused(&request.kit, error));
                    continue;
                }
            };
            if let Err(error) = server.ask(&request.kit, &tie) {
                self.waiting.push_front(request);
                // If there was no space, there may be more once it has answered.
                if self.asked.is_empty() {
                    self.lose_server(&error);
                }
                return;
            }
            if self.asked.is_empty() {
                self.due = due_in(BOOT_LIMIT);
            }
            self.asked.push_back(Asked { request, lifeline, tie });
        }
    }

    fn fail_waiting(&mut self, unstarted: &Unstarted) {
        let failed = |request: Request| (request.kit.id, Err(unstarted.clone()));
        self.outcomes.extend(self.waiting.drain(..).map(failed));
    }

    /// Looks whether the server is up.
    fn boot(&mut self) {
        let Some(NewServer::Boots(started)) = &mut self.server else { return };
        let Some(over) = started.advance() else { return };
        match (over, self.server.take()) {
            (Ok(()), Some(NewServer::Boots(Started { process, channel, .. }))) => {
                self.server = Some(NewServer::IsUp(Server::new(process, channel)));
            }
            (Err(unstarted), server) => {
                self.server = server;
                self.end_server(Children::None);
                // It would have forked all of them.
                self.fail_waiting(&unstarted);
            }
            (Ok(()), server) => self.server = server,
        }
    }

    /// Takes the answers of the server.
    fn hear(&mut self) {
        while let Some(NewServer::IsUp(server)) = &self.server
            && !self.asked.is_empty()
        {
            let answer = match protocol::hear::<ForkReply<Passed>>(&server.channel, &server.process) {
                Ok(Heard::Message(answer)) => answer,
                Ok(Heard::Nothing) if is_over(self.due) => {
                    return self.lose_server(&io::Error::from(io::ErrorKind::TimedOut));
                }
                Ok(Heard::Nothing) => return,
                Ok(Heard::End) => return self.lose_server(&"it ended without an answer"),
                Err(error) => return self.lose_server(&error),
            };
            if matches!(answer, Ok((..=1, _))) {
                return self.lose_server(&"its answer was no process");
            }
            let Some(Asked { request: Request { kit, .. }, lifeline, tie }) = self.asked.pop_front() else {
                return;
            };
            self.due = due_in(BOOT_LIMIT);
            let adopted = answer.and_then(|(pid, pidfd)| {
                Fd::new(pidfd.into_owned())
                    .and_then(|pidfd| Process::adopt(Pid::from_raw(pid), pidfd, lifeline, tie, &kit.cpus))
                    .and_then(Process::release)
                    .map_err(|error| error.to_string())
            });
            match adopted {
                Ok(process) => self.outcomes.push((kit.id, Ok(Child::Process(Box::new(process))))),
                Err(why) => self.outcomes.push(refused(&kit, why)),
            }
        }
    }

    /// Goes on without the server, which is gone or broken. The workers that it has not forked are asked of the next;
    /// the one that it was forking counts it.
    fn lose_server(&mut self, why: &dyn Display) {
        // It may have forked workers that are unknown here. They still wait at their ties, in the server's group, and
        // end with it.
        self.end_server(Children::Unknown);
        for Asked { request, .. } in std::mem::take(&mut self.asked).into_iter().rev() {
            self.waiting.push_front(request);
        }
        if let Some(mut request) = self.waiting.pop_front() {
            request.lost += 1;
            if request.lost < MOST_LOST {
                self.waiting.push_front(request);
            } else {
                let why = format!("two servers in a row were lost as they forked it: {why}");
                self.outcomes.push(refused(&request.kit, why));
            }
        }
    }
}

fn refused(kit: &WorkerKit, why: impl Display) -> StartOutcome {
    (kit.id, Err(Error::start(kit.name(), why).into()))
}

impl Starter for Forking {
    fn start(&mut self, mut kit: WorkerKit, _: &dyn Watch) -> Result<(), Unstarted> {
        add_settings(&self.config, self.method(), &mut kit)?;
        self.end_unlike();
        if self.server.is_none() && self.may_start_server() {
            self.start_server(kit.start)?;
        }
        self.waiting.push_back(Request { kit, lost: 0 });
        Ok(())
    }

    fn settle(&mut self, watch: &dyn Watch, outcomes: &mut Vec<StartOutcome>) {
        self.go_on(watch);
        outcomes.append(&mut self.outcomes);
    }

    fn advance(&mut self, watch: &dyn Watch, outcomes: &mut Vec<StartOutcome>) {
        self.killed.reap();
        self.go_on(watch);
        outcomes.append(&mut self.outcomes);
    }

    fn deadline(&self) -> Option<u64> {
        let server = match &self.server {
            Some(NewServer::Boots(started)) => Some(started.due()),
            None if !self.waiting.is_empty() => self.may_start_server().then_some(0),
            _ => (!self.asked.is_empty()).then_some(self.due),
        };
        server.into_iter().chain(self.killed.deadline()).min()
    }

    fn expect_caller(&mut self, comes: bool) {
        self.caller_comes = comes;
    }

    fn awaits_caller(&self) -> bool {
        self.server.is_none() && !self.waiting.is_empty() && !self.may_start_server()
    }

    fn abandon(&mut self) {
        let is_booting = matches!(self.server, Some(NewServer::Boots(_)));
        if is_booting || !self.asked.is_empty() {
            self.end_server(Children::Unknown);
        }
        self.waiting.clear();
        self.asked.clear();
        self.outcomes.clear();
        self.killed.reap_all();
    }

    fn refresh(&mut self) {
        // While other threads run, a new fork would be refused; then the old server stays.
        if self.inherits && self.server.is_some() && fork::is_sound(&self.config) {
            self.end_server(Children::None);
        }
    }

    fn add_variables(&mut self, env: Vec<Variables>) -> Result<(), Error> {
        let (mut config, method) = (self.config.clone(), self.method());
        config.add_variables(env);
        // The server of `Fork` has no variables but those of this process.
        let had_common = !self.inherits && self.config.process.common_env().is_some();
        if had_common && config.process.common_env().is_none() {
            // From now on each worker sets its own, also one that another server is yet to fork.
            let asked = self.asked.iter_mut().map(|asked| &mut asked.request);
            for request in self.waiting.iter_mut().chain(asked) {
                add_settings(&config, method, &mut request.kit)?;
            }
            self.is_outdated = true;
        }
        self.config = config;
        Ok(())
    }

    fn prepare(&mut self) {
        if self.inherits && self.server.is_none() {
            // If that fails, so does the first start, which reports it.
            let _ = self.make_server();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::start::fakes::{Unwatched, config, kit};
    use crate::sys::pidfd::pidfd_of;

    /// A server that runs, and the other end of its channel.
    #[expect(clippy::zombie_processes, reason = "the server reaps it when it is dropped")]
    fn server() -> (Server, Channel) {
        let (ours, theirs) = Channel::pair().unwrap();
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let (lifeline, tie) = lifeline().unwrap();
        let process = Process::adopt(pid, pidfd_of(pid).unwrap(), lifeline, tie, &[]).unwrap();
        (Server::new(process, ours), theirs)
    }

    /// Further workers have other variables than the server that the first one was asked of, and than the next server.
    #[test]
    fn workers_that_wait_for_a_server_get_their_own_variables() {
        let variables = |name: &str| Variables::from([(name.into(), "1".into())]);
        let mut config = config();
        config.add_variables(vec![variables("A"); 2]);
        let mut forking = Forking::fork_server(config);
        let (lanes, kits): (Vec<_>, Vec<_>) = (0..2).map(kit).unzip();
        for mut kit in kits {
            add_settings(&forking.config, forking.method(), &mut kit).unwrap();
            assert!(kit.settings.is_none(), "the server has them");
            forking.waiting.push_back(Request { kit, lost: 0 });
        }
        forking.add_variables(vec![variables("A")]).unwrap();
        assert!(!forking.is_outdated && forking.waiting.iter().all(|request| request.kit.settings.is_none()));
        forking.add_variables(vec![variables("B")]).unwrap();
        assert!(forking.is_outdated && forking.waiting.iter().all(|request| request.kit.settings.is_some()));
        drop(lanes);
    }

    /// Nothing wakes a caller for answers that were taken already.
    #[test]
    fn workers_are_asked_for_after_all_answers_have_come_at_once() {
        const WORKERS: usize = 3 * MOST_ASKED + 2;
        let (server, theirs) = server();
        let mut forking = Forking::fork_server(config());
        (forking.server, forking.credentials) = (Some(NewServer::IsUp(server)), Some(Credentials::own()));
        let mut lanes = Vec::new();
        for worker in 0..WORKERS {
            let refused: ForkReply<Passed> = Err("refused".into());
            protocol::send(&theirs, &refused).unwrap();
            let (parent, kit) = kit(worker);
            lanes.push(parent);
            forking.start(kit, &Unwatched).unwrap();
        }
        let mut outcomes = Vec::new();
        forking.settle(&Unwatched, &mut outcomes);
        assert!(forking.waiting.is_empty() && forking.asked.is_empty());
        assert!(outcomes.iter().map(|(worker, _)| worker.0).eq(0..WORKERS));
    }
}
