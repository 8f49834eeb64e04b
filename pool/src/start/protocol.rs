//! What a parent and the processes that it starts say to each other over their control sockets.
//!
//! | sender | message | what it says |
//! |---|---|---|
//! | a process that was started anew | [`Arrived`] | it has come to this crate's code |
//! | its parent | [`Handshake`] | what the process is to be, and what it needs for that |
//! | the process | [`HandshakeReply`] | whether it is fit for that |
//! | its parent, to a worker | [`WorkerKit`](crate::worker::WorkerKit) | all that is this worker's own |
//! | its parent, to a server | [`ForkRequest`] | the same for the next worker; any number of times |
//! | the server | [`ForkReply`] | which process it has forked for a request |
//!
//! A descriptor is a field of the message that it goes with: [`passed`].

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{Codec, decode_record, encode_record};
use crate::sys::passed;
use crate::sys::socket::{Channel, MESSAGE_BYTES, Received};
use crate::task::registry::Registry;

/// What a process that was started anew says first: it has come to this crate's code.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Arrived {
    /// [`ARRIVED`]; an older or newer release of this crate may have another.
    pub(super) word: u64,
}

/// "pool", and the number of this protocol.
pub(super) const ARRIVED: u64 = u64::from_be_bytes(*b"pool\0\0\0\x02");

/// The parent's first message. `F` is a descriptor: `Lent` by the parent, `Passed` in the new process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handshake<F> {
    /// What both sides must have in common; first, so that it is found whatever follows in another build.
    pub(super) fingerprint: u64,
    pub(super) kind: ProcessKind,
    pub(super) codec: Codec,
    pub(super) daemon: bool,
    pub(super) fork_with_threads: bool,
    /// The new process's end of its lifeline.
    pub(super) tie: F,
    pub(super) shared: Option<SharedBytes<F>>,
    /// The parent's stdout and stderr; none where it has none.
    pub(super) streams: [Option<F>; 2],
    /// Which of the parent's other descriptors came with the start.
    pub(super) inherited: Option<F>,
}

/// What a process is started to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ProcessKind {
    Worker,
    Server,
}

/// The shared value: its type, and the file that holds it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SharedBytes<F> {
    pub(super) key: u64,
    pub(super) len: u64,
    pub(super) file: F,
}

/// The answer to [`Handshake`].
pub(super) type HandshakeReply = Result<(), String>;

/// What a server is to fork next: the worker's kit and its tie.
pub(super) type ForkRequest<K, F> = (K, F);

/// The answer to [`ForkRequest`]: the worker's pid and pidfd.
pub(super) type ForkReply<F> = Result<(i32, F), String>;

/// What an answer says of a failure; long texts are cut.
pub(super) fn refusal(mut why: String) -> String {
    why.truncate(why.floor_char_boundary(MESSAGE_BYTES / 2));
    why
}

pub(super) fn fingerprint() -> u64 {
    Registry::get().fingerprint()
}

/// Sends a message with copies of its descriptors.
pub(super) fn send(channel: &Channel, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = Vec::new();
    let (encoded, fds) = passed::noting(|| encode_record(message, &mut bytes));
    encoded.map_err(io::Error::other)?;
    channel.send(&bytes, &fds)
}

/// Waits for the next message; none when the other side has closed its end.
pub(super) fn receive<T: DeserializeOwned>(channel: &Channel) -> io::Result<Option<T>> {
    channel.receive()?.map(read).transpose()
}

/// The same, at most this long, and not past the end of the process that is to answer.
pub(super) fn receive_within<T: DeserializeOwned>(
    channel: &Channel,
    limit: Duration,
    answerer: BorrowedFd<'_>,
) -> io::Result<Option<T>> {
    channel.receive_within(limit, answerer)?.map(read).transpose()
}

fn read<T: DeserializeOwned>((bytes, fds): Received) -> io::Result<T> {
    let message = passed::with_those(fds, || decode_record(&bytes));
    message.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}
