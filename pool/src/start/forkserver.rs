//! `ForkServer`: the server is a process that executes this program again.

use super::protocol::ProcessKind;
use super::server::Server;
use super::spawn::start_anew;
use super::{Unstarted, WorkerConfig, boot_limit};

pub(super) fn start_server(config: &WorkerConfig) -> Result<Server, Unstarted> {
    let server = start_anew(config, ProcessKind::Server, "the fork server", &[])?;
    let (process, channel) = server.hear(boot_limit(&config.shared))?;
    Ok(Server::new(process, channel))
}
