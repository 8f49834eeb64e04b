//! `ForkServer`: the server is this program, started anew.

use super::protocol::Calling;
use super::server::Server;
use super::spawn::start_anew;
use super::{Crew, Unstarted, boot_limit};

pub(super) fn start_server(crew: &Crew) -> Result<Server, Unstarted> {
    let server = start_anew(crew, Calling::Server, "the fork server", &[])?;
    let (process, channel) = server.hear(boot_limit(&crew.shared))?;
    Ok(Server::new(process, channel))
}
