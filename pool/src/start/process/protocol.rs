//! The messages between a parent and the processes that it starts, over their control sockets.
//!
//! | sender | message | meaning |
//! |---|---|---|
//! | a process that executes the program again | [`Arrived`] | it has reached this crate's code |
//! | its parent | [`Handshake`] | the kind of process that it is to be, and all that it needs for that |
//! | the process | [`HandshakeReply`] | whether it is fit for that, or why not |
//! | its parent, to a worker | [`WorkerKit`](crate::worker::WorkerKit) | everything that is this worker's own |
//! | its parent, to a server | [`ForkRequest`] | the same for the next worker; any number of times |
//! | the server | [`ForkReply`] | the process that it has forked for a request |
//!
//! A descriptor is a field of its message: see [`passed`].

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{Codec, decode_record, encode_record};
use crate::sys::passed;
use crate::sys::process::Process;
use crate::sys::socket::{Channel, MESSAGE_BYTES, Received};
use crate::task::registry::Registry;

/// The first message of a process that executes the program again: it has reached this crate's code.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Arrived {
    /// [`ARRIVED`]; another release of this crate may have a different one.
    pub(super) word: u64,
}

/// "pool", and the version of this protocol.
pub(super) const ARRIVED: u64 = u64::from_be_bytes(*b"pool\0\0\0\x03");

/// The parent's first message. `F` is a descriptor: `Lent` by the parent, `Passed` in the new process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handshake<F> {
    /// Must be the same on both sides. It comes first, so that it can be read whatever another build sends after it.
    pub(super) fingerprint: u64,
    pub(super) kind: ProcessKind,
    pub(super) codec: Codec,
    pub(super) daemon: bool,
    pub(super) fork_with_threads: bool,
    /// The new process's end of its lifeline.
    pub(super) tie: [F; 2],
    pub(super) shared: Option<SharedBytes<F>>,
    /// The parent's stdout and stderr; none for a stream that is closed.
    pub(super) streams: [Option<F>; 2],
    /// The list of the parent's other descriptors that the process has inherited.
    pub(super) inherited: Option<F>,
    /// A file with what the process sets for itself.
    pub(super) settings: Option<F>,
    /// The shared value is decoded by each worker, after it has set its variables, and not by their server.
    pub(super) each_decodes: bool,
}

/// The kind of process to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ProcessKind {
    Worker,
    Server,
}

/// The shared value: its type, the file that holds it, and the files of the shared objects in it that the new process
/// could not open by itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SharedBytes<F> {
    pub(super) key: u64,
    pub(super) len: u64,
    pub(super) file: F,
    pub(super) objects: Vec<F>,
}

/// The answer to [`Handshake`].
pub(super) type HandshakeReply = Result<(), String>;

/// The request to fork a worker, with its kit and its tie.
pub(super) type ForkRequest<K, F> = (K, [F; 2]);

/// The answer to [`ForkRequest`]: the worker's pid and pidfd.
pub(super) type ForkReply<F> = Result<(i32, F), String>;

/// The text of a failure in an answer, cut if it is long.
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

/// Waits for the next message; none once the other side has closed its end.
pub(super) fn receive<T: DeserializeOwned>(channel: &Channel) -> io::Result<Option<T>> {
    channel.receive()?.map(read).transpose()
}

/// What has come so far.
#[derive(Debug)]
pub(super) enum Heard<T> {
    Nothing,
    Message(T),
    /// The other side has closed its end, or has died, and no message is left.
    End,
}

/// Takes the next message of this process, without waiting for it. What the process sent before it died counts.
pub(super) fn hear<T: DeserializeOwned>(channel: &Channel, process: &Process) -> io::Result<Heard<T>> {
    // Looked up first: it may send its message and die in between.
    let has_ended = process.has_ended();
    match channel.try_receive() {
        Ok(Some(received)) => read(received).map(Heard::Message),
        Ok(None) => Ok(Heard::End),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Err(_) if has_ended => Ok(Heard::End),
        Err(_) => Ok(Heard::Nothing),
    }
}

fn read<T: DeserializeOwned>((bytes, fds): Received) -> io::Result<T> {
    let message = passed::with_those(fds, || decode_record(&bytes));
    message.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}
