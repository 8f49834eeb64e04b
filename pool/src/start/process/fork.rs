//! `Fork`: the server is a fork of this process, so workers have everything that was in its memory at that moment.
//! Because this process forks a server and not the workers themselves, later starts are safe whatever threads it has by
//! then.

use std::io;

use super::child::{Ancestry, Prepared, refuse_work, serve};
use super::server::{NewServer, Server};
use super::{Unstarted, WorkerConfig};
use crate::error::Error;
use crate::shared;
use crate::sys::fork::Fork;
use crate::sys::lifeline::lifeline;
use crate::sys::process::Process;
use crate::sys::socket::Channel;
use crate::sys::threads::Still;
use crate::sys::{fork, inherit};
use crate::worker::PoolContext;

pub(super) fn start_server(config: &WorkerConfig) -> Result<NewServer, Unstarted> {
    const WHAT: &str = "the fork server";
    // If other threads are allowed, there is no need to wait for their end.
    let still = if config.allow_fork_with_threads { Still::now() } else { Still::settled() };
    let still = still.map_err(|why| Error::start(WHAT, why))?;
    let threads = still.threads;
    if threads > 1 && !config.allow_fork_with_threads {
        return Err(Error::ForkWithThreads { threads }.into());
    }
    shared::refuse_fork().map_err(|why| Error::start(WHAT, why))?;
    if threads == 1 {
        // Otherwise each worker would print the buffered output again. Only with a single thread: another might hold
        // the lock of the output, and wait for this one.
        fork::flush();
    }
    let context = PoolContext::of(config).map_err(|why| Error::start(WHAT, why))?;
    let server = fork_server(context, still).map_err(|error| Error::start(WHAT, error))?;
    Ok(NewServer::IsUp(server))
}

/// Whether a server could be forked now.
pub(super) fn is_sound(config: &WorkerConfig) -> bool {
    let alone = || Still::now().is_ok_and(|still| still.threads == 1);
    (config.allow_fork_with_threads || alone()) && shared::refuse_fork().is_ok()
}

#[expect(unsafe_code, reason = "forks")]
fn fork_server(context: PoolContext, still: Still) -> io::Result<Server> {
    let (ours, theirs) = Channel::pair()?;
    let (lifeline, tie) = lifeline()?;
    let [hold, message] = tie.fds()?;
    // SAFETY: besides this thread, this process has only such as rest, which hold nothing that a fork needs and are
    // kept still, or the user has asserted the same of others. The child goes on from here with the descriptors
    // that it keeps, and never returns to a frame that owns others.
    match unsafe { fork::fork(&[theirs.fd(), hold, message])? } {
        Fork::Child => fork::live(|| {
            still.forget();
            let clean = || inherit::clean("pool-server").map_err(|error| error.to_string());
            let prepared = shared::leave_lent().and_then(|()| clean());
            match tie.hold_as_server() {
                Ok(tied) => match prepared {
                    Ok(()) => {
                        let prepared = Prepared { context, undecoded: None };
                        serve(theirs, tied, prepared, Ancestry::OfProgram)
                    }
                    Err(why) => {
                        refuse_work(&theirs, why);
                        Ok(())
                    }
                },
                // The parent gave up on this server before it knew of it.
                Err(_) => Ok(()),
            }
        }),
        Fork::Parent(pid, pidfd) => {
            Ok(Server::new(Process::adopt(pid, pidfd, lifeline, tie, &[])?.release()?, ours))
        }
    }
}
