//! `ForkServer`: the server is this program, started anew.

use super::protocol::Calling;
use super::server::Server;
use super::spawn::{hear_fitness, start_anew};
use super::{Crew, boot_limit};
use crate::error::Error;

pub(super) fn start_server(crew: &Crew) -> Result<Server, Error> {
    const WHAT: &str = "the fork server";
    let (mut process, channel) = start_anew(crew, Calling::Server, WHAT, &[])?;
    hear_fitness(&mut process, &channel, boot_limit(&crew.shared)).map_err(|why| Error::start(WHAT, why))?;
    Ok(Server::new(process, channel))
}
