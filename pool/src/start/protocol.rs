//! What a parent and the processes that it starts say to each other over their control sockets.
//!
//! A process that is started anew says that it has [`Arrived`], is greeted with [`Handshake`] and answers whether it is
//! fit for work. Then a worker gets its one seat; a server gets any number of seats, forks a worker for each, and
//! answers with its pid.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{Codec, decode_record, encode_record};
use crate::observe::ProbeHandles;
use crate::observe::logs::Verbosity;
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

/// The first message. Attached: the process's tie, then the shared value's bytes if there is one, the parent's stdout
/// and stderr if it has them, and which other descriptors came with the start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handshake {
    /// What both sides must have in common; first, so that it is found whatever follows in another build.
    pub(super) fingerprint: u64,
    pub(super) calling: ProcessKind,
    pub(super) codec: Codec,
    pub(super) daemon: bool,
    pub(super) fork_with_threads: bool,
    pub(super) shared: Option<SharedHead>,
    /// Whether stdout and stderr are attached.
    pub(super) streams: [bool; 2],
    /// Whether a list of descriptors is attached.
    pub(super) lists: bool,
}

/// What a process is started to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ProcessKind {
    Worker,
    Server,
}

/// The shared value's type, and how many bytes it takes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SharedHead {
    pub(super) key: u64,
    pub(super) len: u64,
}

/// A seat to be taken. Attached: the lane's two files, the parent's waker, the worker's stderr, and where it logs if it
/// is to; for a server also the new worker's tie.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StartRequest {
    pub(super) id: u64,
    /// How much it logs; 0 for nothing.
    pub(super) verbosity: Verbosity,
    pub(super) notes: ProbeHandles,
    /// How many workers this process has begun to start before.
    pub(super) number: u64,
}

/// A number for [`StartRequest`].
pub(super) fn next_number() -> u64 {
    static STARTS: AtomicU64 = AtomicU64::new(1);
    STARTS.fetch_add(1, Ordering::Relaxed)
}

/// The answer to [`Handshake`].
pub(super) type HandshakeReply = Result<(), String>;

/// A server's answer to [`StartRequest`]: the worker's pid. Attached: its pidfd.
pub(super) type ForkReply = Result<i32, String>;

/// What an answer says of a failure; long texts are cut.
pub(super) fn refusal(mut why: String) -> String {
    why.truncate(why.floor_char_boundary(MESSAGE_BYTES / 2));
    why
}

pub(super) fn fingerprint() -> u64 {
    Registry::get().fingerprint()
}

/// Sends a message with copies of the descriptors.
pub(super) fn send(channel: &Channel, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut bytes = Vec::new();
    encode_record(message, &mut bytes).map_err(io::Error::other)?;
    channel.send(&bytes, fds)
}

/// Waits for the next message and the descriptors that come with it; none when the other side has closed its end.
pub(super) fn receive<T: DeserializeOwned>(channel: &Channel) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    channel.receive()?.map(read).transpose()
}

/// The same, at most this long, and not past the end of the process that is to answer.
pub(super) fn receive_within<T: DeserializeOwned>(
    channel: &Channel,
    limit: Duration,
    answerer: BorrowedFd<'_>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    channel.receive_within(limit, answerer)?.map(read).transpose()
}

fn read<T: DeserializeOwned>((bytes, fds): Received) -> io::Result<(T, Vec<OwnedFd>)> {
    let message = decode_record(&bytes);
    Ok((message.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?, fds))
}
