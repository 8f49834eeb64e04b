//! A new process, from its first instruction in this crate until it is a worker at work.

use std::hash::RandomState;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::unistd::dup2_stderr;

use super::protocol::{
    self, ARRIVED, Arrived, ForkReply, Handshake, HandshakeReply, ProcessKind, SharedHead, StartRequest,
    fingerprint, refusal,
};
use super::{SharedSource, WorkerConfig};
use crate::codec::{Codec, decode_record};
use crate::observe::ProbeHandles;
use crate::observe::logs::Verbosity;
use crate::role::MARKER;
use crate::role::WorkerKind;
use crate::shared;
use crate::sys::fd::Guarded;
use crate::sys::fork::{self, Fork, fork_sibling};
use crate::sys::inheritable::{self, Inheritable};
use crate::sys::lifeline::{Tie, Tied};
use crate::sys::memfile::Sealed;
use crate::sys::program::{self, Launch};
use crate::sys::socket::Channel;
use crate::sys::{inherit, leave, named, standard, threads};
use crate::task::WorkerId;
use crate::task::registry::{Registry, SharedAny};
use crate::unwind;
use crate::worker::{self, Boot};

/// What a server or worker knows of its pool.
pub(super) struct PoolContext {
    pub(super) codec: Codec,
    pub(super) daemon: bool,
    pub(super) shared: SharedAny,
    /// What a fork of this thread has of std's random keys would be that of its next fork too.
    has_random_keys: bool,
}

/// A seat, as it came to the one who is to sit there. In a server its descriptors are closed before any of the user's
/// code runs, and a worker guards what it keeps.
struct Taken {
    id: usize,
    down: OwnedFd,
    up: OwnedFd,
    waker: OwnedFd,
    stderr: OwnedFd,
    log: Option<(OwnedFd, Verbosity)>,
    notes: ProbeHandles,
    /// Another one for each start of a worker.
    number: u64,
}

/// The whole life of a process that was started anew, with its control socket as stdin.
pub(crate) fn live() -> ! {
    fork::live(|| {
        if program::has_more_rights() {
            return Err(format!(
                "it has the argument `{MARKER}` of a pool's process, and more rights than whoever has started it: it takes \
                 no orders"
            ));
        }
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(named("a copy of its control socket"));
        let channel = Channel::from_parent(stdin.map_err(why)?)
            .map_err(|error| {
                format!(
                    "it was started with the argument `{MARKER}`, which a pool gives to its own processes, but not by a \
                     pool ({error}): leave that argument out"
                )
            })?;
        // If that reaches no one, the parent is gone.
        protocol::send(&channel, &Arrived { word: ARRIVED }, &[]).map_err(why)?;
        // Found before the arguments, by which it is found, are written over.
        let _ = Launch::get();
        inherit::clean("pool-server").map_err(why)?;
        let Some((tie, calling, heritage)) = meet(&channel)? else { return Ok(()) };
        match calling {
            ProcessKind::Server => {
                program::show_as_arguments("pool fork server");
                serve(channel, tie, &heritage, Ancestry::Anew)
            }
            ProcessKind::Worker => {
                let Some((order, fds)) = protocol::receive(&channel).map_err(why)? else { return Ok(()) };
                drop(channel);
                let (seat, _) = seat(order, fds)?;
                work(seat, &heritage, Ancestry::Anew)
            }
        }
    })
}

/// Answers the parent's greeting; none if the parent is gone, or was told that this process is not fit.
fn meet(channel: &Channel) -> Result<Option<(Tied, ProcessKind, PoolContext)>, String> {
    let fit = match protocol::receive::<Handshake>(channel) {
        Ok(None) => return Ok(None),
        Ok(Some((handshake, fds))) => fit(&handshake, fds),
        // Another build's greeting may not even be readable.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(ANOTHER_BUILD.into()),
        Err(error) => Err(format!("the greeting of its parent did not come: {error}")),
    };
    let (answer, fit): (HandshakeReply, _) = match fit {
        Ok(fit) => (Ok(()), Some(fit)),
        Err(why) => (Err(refusal(why)), None),
    };
    // If the answer reaches no one, the parent is gone.
    Ok(if protocol::send(channel, &answer, &[]).is_ok() { fit } else { None })
}

fn fit(handshake: &Handshake, fds: Vec<OwnedFd>) -> Result<(Tied, ProcessKind, PoolContext), String> {
    if fingerprint() != handshake.fingerprint {
        return Err(ANOTHER_BUILD.into());
    }
    let mut fds = fds.into_iter().peekable();
    let tie = Tie::new(fds.next().ok_or("the greeting came without a tie")?).map_err(why)?;
    let tied = match handshake.calling {
        ProcessKind::Worker => tie.hold(),
        ProcessKind::Server => tie.hold_as_server(),
    }
    .map_err(why)?;
    let mut attached = |is_attached: bool| fds.next_if(|_| is_attached);
    let shared = attached(handshake.shared.is_some());
    let streams = handshake.streams.map(&mut attached);
    let list = attached(handshake.lists);
    standard::take_over(streams).map_err(why)?;
    if let Some(list) = list {
        close_inherited(&list)
            .map_err(|why| format!("the list of its descriptors could not be read: {why}"))?;
    }
    let mut has_random_keys = false;
    let shared = match (&handshake.shared, shared) {
        (Some(head), Some(bytes)) => {
            let decode = || decode_shared(handshake.codec, head.key, head.len, &bytes);
            match handshake.calling {
                ProcessKind::Worker => decode()?,
                // A hash map in it has std make the random keys of the thread that decodes it, which count up from then
                // on. This thread will be that of all workers: each is to have keys of its own.
                ProcessKind::Server => threads::on_own_thread(decode).unwrap_or_else(|decode| {
                    has_random_keys = true;
                    decode()
                })?,
            }
        }
        _ => Arc::new(()),
    };
    let Handshake { codec, daemon, calling, .. } = *handshake;
    if calling == ProcessKind::Server && !handshake.fork_with_threads {
        refuse_threads()?;
    }
    Ok((tied, calling, PoolContext { codec, daemon, shared, has_random_keys }))
}

/// Closes what the program has let this process inherit.
#[expect(unsafe_code, reason = "closes by number")]
fn close_inherited(list: &OwnedFd) -> Result<(), String> {
    let list: Vec<Inheritable> = decode_record(&Sealed::open(list).map_err(why)?)?;
    // SAFETY: the parent had these open when it started this process. What was opened here since has a number that none
    // of them had, or belongs to who has closed that one.
    unsafe { inheritable::close(&list) };
    Ok(())
}

const ANOTHER_BUILD: &str =
    "it is another build of this program: its tasks differ from those of the main process";

impl PoolContext {
    /// What a process that has the crew in its own memory needs no greeting for.
    pub(super) fn of(crew: &WorkerConfig) -> Result<Self, String> {
        let WorkerConfig { codec, daemon, .. } = *crew;
        let shared = match &crew.shared {
            SharedSource::Here(value) => value.clone(),
            SharedSource::Encoded { key, bytes, len, .. } => decode_shared(codec, *key, *len as u64, bytes)?,
        };
        Ok(Self { codec, daemon, shared, has_random_keys: true })
    }
}

impl SharedHead {
    pub(super) fn of(shared: &SharedSource) -> Result<Option<(Self, &Guarded)>, String> {
        match shared {
            SharedSource::Encoded { key, bytes, len, .. } => {
                let bytes = bytes.intact().map_err(why)?;
                Ok(Some((Self { key: *key, len: *len as u64 }, bytes)))
            }
            SharedSource::Here(value) if value.is::<()>() => Ok(None),
            SharedSource::Here(_) => {
                Err("its shared value is inherited, and this start method inherits nothing".into())
            }
        }
    }
}

/// Decodes the shared value, if there is a function that borrows its type.
fn decode_shared(codec: Codec, key: u64, len: u64, bytes: &impl AsFd) -> Result<SharedAny, String> {
    let Some(decode) = Registry::get().decoder_of(key) else { return Ok(Arc::new(())) };
    let failed = |why: &str| format!("the shared value could not be decoded: {why}");
    let encoded = Sealed::open(bytes).map_err(|error| failed(&error.to_string()))?;
    if encoded.len() as u64 != len {
        return Err(failed("the file has another length"));
    }
    match unwind::catch(|| decode(codec, &encoded)) {
        Ok(decoded) => decoded.map_err(|why| failed(&why)),
        Err(payload) => Err(failed(&format!("it panicked: {}", payload.message()))),
    }
}

/// A server's life: a worker for each seat that the parent offers, until the parent closes the socket.
pub(super) fn serve(
    channel: Channel,
    tied: Tied,
    heritage: &PoolContext,
    ancestry: Ancestry,
) -> Result<(), String> {
    let Some((seat, own_tie)) = fork_workers(&channel)? else {
        // While it is tied: nobody may read what it has printed.
        fork::flush();
        return Ok(());
    };
    // Only new workers come here, each with copies of what is the server's.
    drop((channel, tied));
    match own_tie.hold() {
        Ok(_tied) => work(seat, heritage, ancestry),
        // The parent gave up this worker before it knew it.
        Err(_) => Ok(()),
    }
}

/// Whose memory a process has, copied or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ancestry {
    /// That of a process of this crate's own, which was started anew.
    Anew,
    /// The program's.
    OfProgram,
}

/// Comes back in each new worker with its seat, and in the server, with none, at its end.
fn fork_workers(channel: &Channel) -> Result<Option<(Taken, Tie)>, String> {
    loop {
        let (order, fds) = match protocol::receive::<StartRequest>(channel) {
            Ok(Some(offered)) => offered,
            Ok(None) => return Ok(None),
            Err(error) => {
                // Some of the seat's descriptors may be left here, so this is the end.
                let why = why(error);
                refuse_work(channel, why.clone());
                return Err(why);
            }
        };
        let (seat, tie) = seat(order, fds)?;
        let tie = tie.ok_or("a seat came without a tie")?;
        let (birth, pidfd): (ForkReply, _) = match fork_one() {
            Ok(Fork::Child) => return Ok(Some((seat, tie))),
            Ok(Fork::Parent(pid, pidfd)) => (Ok(pid.as_raw()), Some(pidfd)),
            Err(error) => (Err(refusal(why(error))), None),
        };
        let pidfd: Vec<_> = pidfd.iter().map(AsFd::as_fd).collect();
        protocol::send(channel, &birth, &pidfd).map_err(why)?;
    }
}

/// Tells the parent why this server, which is at its end, forks nothing.
pub(super) fn refuse_work(channel: &Channel, why: String) {
    // If that reaches no one, the parent is gone.
    let _ = protocol::send(channel, &ForkReply::Err(refusal(why)), &[]);
}

#[expect(unsafe_code, reason = "forks")]
fn fork_one() -> io::Result<Fork> {
    shared::refuse_fork().map_err(io::Error::other)?;
    // SAFETY: a server has one thread: it was forked, or `refuse_threads` has seen to it, and what it has run since is
    // the code of this module, with all signals blocked. Or the user has asserted that what its other threads hold is
    // fine.
    unsafe { fork_sibling() }
}

/// Decoding is the user's code, and so is what the linker has placed before `main`.
fn refuse_threads() -> Result<(), String> {
    match threads::count()? {
        1 => Ok(()),
        threads => Err(format!(
            "it has {threads} threads, of which a fork would copy one: something started them before `pool::init()`, as \
             a runtime does that is started first, or as the shared value was decoded; make `pool::init();` the first \
             statement of a plain `main`, or use `StartMethod::Spawn`"
        )),
    }
}

/// The rest of a worker's life.
fn work(seat: Taken, heritage: &PoolContext, ancestry: Ancestry) -> Result<(), String> {
    inherit::set_name(&format!("pool-worker-{}", seat.id));
    match ancestry {
        Ancestry::Anew => program::show_as_arguments(&format!("pool worker {}", seat.id)),
        Ancestry::OfProgram => leave::forget_handlers(),
    }
    inherit::raise_worker_oom_score();
    leave::rename_profile();
    if heritage.has_random_keys {
        advance_random_keys(seat.number);
    }
    inherit::unblock_signals().map_err(why)?;
    dup2_stderr(&seat.stderr).map_err(why)?;
    drop(seat.stderr);
    worker::run(Boot {
        id: WorkerId(seat.id),
        down: seat.down,
        up: seat.up,
        waker: seat.waker,
        log: seat.log,
        notes: seat.notes,
        codec: heritage.codec,
        shared: heritage.shared.clone(),
        daemon: heritage.daemon,
        kind: WorkerKind::Process,
    })?;
    // Here, where the process is still tied: what runs now may take its time.
    leave::leave()
}

/// Moves on what std makes random keys from, which a fork has copied and which counts up by one for each hash map: so
/// that this process's next thousand are not those of its siblings. As costs grow with the number, it begins anew at
/// times.
fn advance_random_keys(number: u64) {
    const OWN: u64 = 1024;
    const APART: u64 = 256;
    for _ in 0..(number % APART) * OWN {
        std::hint::black_box(RandomState::new());
    }
}

/// A seat from its message, and what came besides it.
fn seat(order: StartRequest, fds: Vec<OwnedFd>) -> Result<(Taken, Option<Tie>), String> {
    let id = usize::try_from(order.id).map_err(why)?;
    let mut fds = fds.into_iter();
    match (fds.next(), fds.next(), fds.next(), fds.next()) {
        (Some(down), Some(up), Some(waker), Some(stderr)) => {
            let logs = order.verbosity > 0;
            let log = if logs { fds.next().map(|fd| (fd, order.verbosity)) } else { None };
            let tie = fds.next().map(Tie::new).transpose().map_err(why)?;
            Ok((Taken { id, down, up, waker, stderr, log, notes: order.notes, number: order.number }, tie))
        }
        _ => Err("a seat came without its lane".into()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn why(error: impl ToString) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::lifeline::lifeline;

    /// What this process answers to a greeting.
    fn answer(greeting: &impl serde::Serialize) -> HandshakeReply {
        let (ours, theirs) = Channel::pair().unwrap();
        let (lifeline, tie) = lifeline().unwrap();
        protocol::send(&ours, greeting, &[tie.fd().as_fd()]).unwrap();
        // Whoever goes past the greeting finds that the parent is gone, and ties itself to nothing.
        drop(lifeline);
        assert!(meet(&theirs).unwrap().is_none(), "it is not fit");
        protocol::receive::<HandshakeReply>(&ours).unwrap().unwrap().0
    }

    fn handshake(fingerprint: u64) -> Handshake {
        let (codec, calling) = (Codec::default(), ProcessKind::Worker);
        let (streams, lists) = ([false; 2], false);
        Handshake {
            fingerprint,
            calling,
            codec,
            daemon: true,
            fork_with_threads: false,
            shared: None,
            streams,
            lists,
        }
    }

    #[test]
    fn another_build_is_refused() {
        let own = fingerprint();
        assert_eq!(answer(&handshake(own ^ 1)), Err(ANOTHER_BUILD.into()));
        assert_ne!(answer(&handshake(own)), Err(ANOTHER_BUILD.into()));
        // A greeting of another layout.
        assert_eq!(answer(&own), Err(ANOTHER_BUILD.into()));
    }
}
