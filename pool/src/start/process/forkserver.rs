//! `ForkServer`: the server is a process that executes this program again.

use super::protocol::ProcessKind;
use super::server::NewServer;
use super::spawn::start_anew;
use super::{Unstarted, WorkerConfig, boot_limit};

pub(super) fn start_server(config: &WorkerConfig) -> Result<NewServer, Unstarted> {
    let limit = boot_limit(&config.shared);
    // If workers have different variables, each sets its own.
    let env = config.process.common_env().unwrap_or_default();
    Ok(NewServer::Boots(start_anew(config, ProcessKind::Server, "the fork server", &[], env, limit)?))
}
