//! `ForkServer`: the server is this program, started anew.

use super::protocol::ProcessKind;
use super::server::Server;
use super::spawn::start_anew;
use super::{Unstarted, WorkerConfig, boot_limit};

pub(super) fn start_server(crew: &WorkerConfig) -> Result<Server, Unstarted> {
    let server = start_anew(crew, ProcessKind::Server, "the fork server", &[])?;
    let (process, channel) = server.hear(boot_limit(&crew.shared))?;
    Ok(Server::new(process, channel))
}
