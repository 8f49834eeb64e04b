//! A new process, from its first instruction in this crate until it works as a worker.

use std::cell::Cell;
use std::hash::RandomState;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::unistd::dup2_stderr;

use super::SharedSource;
use super::protocol::{
    self, ARRIVED, Arrived, ForkReply, ForkRequest, Handshake, HandshakeReply, ProcessKind, SharedBytes,
    fingerprint, refusal,
};
use crate::codec::{Codec, decode_record};
use crate::options::{Limit, ProcessSettings, limits_as_reason};
use crate::role::{MARKER, WorkerKind};
use crate::shared;
use crate::sys::credentials::is_dumpable;
use crate::sys::fork::{self, Fork, fork_sibling};
use crate::sys::inheritable::{self, Inheritable};
use crate::sys::lifeline::{Tie, Tied};
use crate::sys::memfile::Sealed;
use crate::sys::passed::{Lent, Passed};
use crate::sys::program::{self, Launch};
use crate::sys::socket::{Channel, MESSAGE_FDS};
use crate::sys::{inherit, leave, named, standard, threads};
use crate::task::SharedAny;
use crate::task::registry::Registry;
use crate::unwind;
use crate::worker::{PoolContext, Worker, WorkerKit};

/// The whole life of a process that executes this program again, with its control socket as stdin.
pub(crate) fn live() -> ! {
    fork::live(|| {
        if program::has_more_rights() {
            return Err(format!(
                "it has the argument `{MARKER}` of a pool's process, and more rights than whoever has started it: it \
                 takes no orders"
            ));
        }
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(named("a copy of its control socket"));
        let channel = Channel::from_parent(stdin.map_err(why)?)
            .map_err(|error| {
                format!(
                    "it was started with the argument `{MARKER}`, which a pool gives to its own processes, but not by \
                     a pool ({error}): leave that argument out"
                )
            })?;
        // If this can't be sent, the parent is gone.
        protocol::send(&channel, &Arrived { word: ARRIVED }).map_err(why)?;
        // Looked up now, because it is found from the arguments, which are about to be overwritten.
        let _ = Launch::get();
        inherit::clean("pool-server").map_err(why)?;
        let Some((tie, kind, prepared)) = meet(&channel)? else { return Ok(()) };
        match kind {
            ProcessKind::Server => {
                program::show_as_arguments("pool fork server");
                serve(channel, tie, prepared, Ancestry::Anew)
            }
            ProcessKind::Worker => {
                let Some(kit) = protocol::receive(&channel).map_err(why)? else { return Ok(()) };
                drop(channel);
                work(kit, prepared, Ancestry::Anew)
            }
        }
    })
}

/// What a new process has for its workers, or as one.
pub(super) struct Prepared {
    pub(super) context: PoolContext,
    /// The shared value, if each worker decodes it for itself.
    pub(super) undecoded: Option<SharedBytes<Passed>>,
}

/// Receives the parent's handshake and replies to it. None if the parent is gone, or if the reply is that this process
/// is not fit.
fn meet(channel: &Channel) -> Result<Option<(Tied, ProcessKind, Prepared)>, String> {
    let fit = match protocol::receive(channel) {
        Ok(None) => return Ok(None),
        Ok(Some(handshake)) => fit(handshake),
        // The handshake of another build may not even be decodable.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(ANOTHER_BUILD.into()),
        Err(error) => Err(format!("the handshake of its parent did not come: {error}")),
    };
    let (answer, fit): (HandshakeReply, _) = match fit {
        Ok(fit) => (Ok(()), Some(fit)),
        Err(why) => (Err(refusal(why)), None),
    };
    // If the answer can't be sent, the parent is gone.
    Ok(if protocol::send(channel, &answer).is_ok() { fit } else { None })
}

fn fit(handshake: Handshake<Passed>) -> Result<(Tied, ProcessKind, Prepared), String> {
    let Handshake { codec, daemon, kind, tie, shared, streams, inherited, settings, .. } = handshake;
    if fingerprint() != handshake.fingerprint {
        return Err(ANOTHER_BUILD.into());
    }
    let tie = Tie::new(tie.map(Passed::into_owned)).map_err(why)?;
    let tied = match kind {
        ProcessKind::Worker => tie.hold(),
        ProcessKind::Server => tie.hold_as_server(),
    }
    .map_err(why)?;
    standard::take_over(streams.map(|stream| stream.map(Passed::into_owned))).map_err(why)?;
    if let Some(list) = inherited {
        close_inherited(&list)
            .map_err(|why| format!("the list of its descriptors could not be read: {why}"))?;
    }
    let settings = read_settings(settings.map(Passed::into_owned))?;
    settings.set_place()?;
    let mut has_random_keys = false;
    let (mut undecoded, mut decoded) = (shared, Arc::new(()) as SharedAny);
    if !handshake.each_decodes
        && let Some(shared) = undecoded.take()
    {
        let decode = || decode_within(&settings, codec, shared);
        decoded = match kind {
            ProcessKind::Worker => decode()?,
            // If it contains a hash map, decoding it makes std choose random keys for the decoding thread, which count
            // up from then on. All workers will be forks of this thread, and each should choose keys of its own.
            ProcessKind::Server => threads::on_own_thread(decode).unwrap_or_else(|decode| {
                has_random_keys = true;
                decode()
            })?,
        };
    }
    if kind == ProcessKind::Server && !handshake.fork_with_threads {
        refuse_threads()?;
    }
    let context = PoolContext { codec, daemon, shared: decoded, has_random_keys };
    Ok((tied, kind, Prepared { context, undecoded }))
}

/// What this process is to set for itself.
fn read_settings(file: Option<impl AsFd>) -> Result<ProcessSettings, String> {
    let Some(file) = file else { return Ok(ProcessSettings::default()) };
    decode_record(&Sealed::open(&file).map_err(why)?)
}

/// Decodes the shared value with the soft limits that hold for the user's code.
fn decode_within(
    settings: &ProcessSettings,
    codec: Codec,
    shared: SharedBytes<Passed>,
) -> Result<SharedAny, String> {
    let SharedBytes { key, len, file, objects } = shared;
    let objects = objects.into_iter().map(Passed::into_owned).collect();
    let decode = || settings.within_limits(|| decode_shared(codec, key, len, &file)).flatten();
    let decoded = shared::with_granted(objects, decode).unwrap_or_else(|error| Err(why(error)));
    decoded.map_err(|why| why + &limits_as_reason(settings.limits()))
}

/// Closes the descriptors that the program has let this process inherit.
#[expect(unsafe_code, reason = "closes by number")]
fn close_inherited(list: &impl AsFd) -> Result<(), String> {
    let list: Vec<Inheritable> = decode_record(&Sealed::open(list).map_err(why)?)?;
    // SAFETY: the parent had these open when it started this process, so no code here has opened or owns them. Files
    // that were opened here since got free numbers, which these are not, unless code that ran before `init` closed one
    // that it does not own; `close` then sees by the inode that the number is another file's.
    unsafe { inheritable::close(&list) };
    Ok(())
}

const ANOTHER_BUILD: &str =
    "it is another build of this program: its tasks differ from those of the main process";

/// The most shared objects that go with a handshake, which has a few descriptors besides. Further ones are found
/// through their owner.
const MOST_OBJECTS: usize = MESSAGE_FDS - 8;

impl<'s> SharedBytes<Lent<'s>> {
    pub(super) fn of(shared: &'s SharedSource) -> Result<Option<Self>, String> {
        match shared {
            SharedSource::Encoded { key, bytes, len, kept } => {
                let file = Lent::new(bytes.intact().map_err(why)?);
                let most = if is_dumpable() { 0 } else { MOST_OBJECTS };
                let objects =
                    kept.files().filter_map(|file| Some(Lent::new(file.intact().ok()?))).take(most).collect();
                Ok(Some(Self { key: *key, len: *len as u64, file, objects }))
            }
            SharedSource::Here(value) if value.is::<()>() => Ok(None),
            SharedSource::Here(_) => {
                Err("its shared value is inherited, and this start method inherits nothing".into())
            }
        }
    }
}

/// Decodes the shared value, if any function borrows its type.
pub(in crate::start) fn decode_shared(
    codec: Codec,
    key: u64,
    len: u64,
    bytes: &impl AsFd,
) -> Result<SharedAny, String> {
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

/// The life of a server: forks a worker for each request of the parent, until the parent closes the socket.
pub(super) fn serve(
    channel: Channel,
    tied: Tied,
    prepared: Prepared,
    ancestry: Ancestry,
) -> Result<(), String> {
    let Some((kit, own_tie)) = fork_workers(&channel, prepared.context.has_random_keys)? else {
        // While the process is tied: this may block, if nothing reads its output.
        fork::flush();
        return Ok(());
    };
    // Only new workers get here, each with copies of the server's descriptors.
    drop((channel, tied));
    match own_tie.hold() {
        Ok(_tied) => work(kit, prepared, ancestry),
        // The parent gave up on this worker before it knew of it.
        Err(_) => Ok(()),
    }
}

/// Whose memory a process has, as its own or as a fork's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ancestry {
    /// The memory of a process of this crate's own, which executed the program again.
    Anew,
    /// The memory of the program itself.
    OfProgram,
}

/// Returns in each new worker, with its kit and its tie; and once in the server, with none, at its end.
fn fork_workers(channel: &Channel, has_random_keys: bool) -> Result<Option<(WorkerKit, Tie)>, String> {
    loop {
        let (kit, tie): ForkRequest<WorkerKit, Passed> = match protocol::receive(channel) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(None),
            Err(error) => {
                // Some of the request's descriptors may be left open here, so the server ends.
                let why = why(error);
                refuse_work(channel, why.clone());
                return Err(why);
            }
        };
        if has_random_keys {
            advance_random_keys(kit.start);
        }
        let forked = fork_one();
        let reply: ForkReply<Lent<'_>> = match &forked {
            Ok(Fork::Child) => {
                return Ok(Some((kit, Tie::new(tie.map(Passed::into_owned)).map_err(why)?)));
            }
            Ok(Fork::Parent(pid, pidfd)) => Ok((pid.as_raw(), Lent::new(pidfd))),
            Err(error) => Err(refusal(why(error))),
        };
        protocol::send(channel, &reply).map_err(why)?;
    }
}

/// Tells the parent why this server, which is about to end, forks nothing.
pub(super) fn refuse_work(channel: &Channel, why: String) {
    // If this can't be sent, the parent is gone.
    let _ = protocol::send(channel, &ForkReply::<Passed>::Err(refusal(why)));
}

#[expect(unsafe_code, reason = "forks")]
fn fork_one() -> io::Result<Fork> {
    shared::refuse_fork().map_err(io::Error::other)?;
    // SAFETY: a server has one thread: it was forked, or `refuse_threads` has checked, and since then it has run only
    // the code of this module, with all signals blocked. Otherwise the user has asserted that its other threads hold
    // nothing that a fork needs.
    unsafe { fork_sibling() }
}

/// User code may have started threads: decoding runs it, and so do constructors before `main`.
fn refuse_threads() -> Result<(), String> {
    match threads::count()? {
        1 => Ok(()),
        threads => Err(format!(
            "it has {threads} threads, of which a fork would copy one: something started them before `pool::init()`, \
             as a runtime does that is started first, or as the shared value was decoded; make `pool::init();` the \
             first statement of a plain `main`, or use `StartMethod::Spawn`"
        )),
    }
}

/// The rest of a worker process's life.
fn work(mut kit: WorkerKit, mut prepared: Prepared, ancestry: Ancestry) -> Result<(), String> {
    inherit::set_name(&format!("pool-worker-{}", kit.id));
    match ancestry {
        Ancestry::Anew => program::show_as_arguments(&format!("pool worker {}", kit.id)),
        Ancestry::OfProgram => leave::forget_handlers(),
    }
    inherit::raise_worker_oom_score();
    if let Some(stderr) = kit.probes.stderr.take() {
        dup2_stderr(&stderr).map_err(why)?;
    }
    if let Some(file) = kit.settings.take() {
        kit.limits = settle(file, &mut prepared).map_err(|why| format!("worker {}: {why}", kit.id))?;
    }
    leave::rename_profile();
    inherit::unblock_signals().map_err(why)?;
    Worker::open(kit, &prepared.context, WorkerKind::Process)?.run()?;
    // While the process is still tied: the code that runs now may take long.
    leave::leave()
}

/// Sets what this worker is to set for itself, and decodes the shared value if its server has left that to it. Returns
/// the limits, which hold once it is ready.
#[expect(unsafe_code, reason = "changes the environment")]
fn settle(file: Passed, prepared: &mut Prepared) -> Result<Vec<Limit>, String> {
    let mut settings = read_settings(Some(file))?;
    // SAFETY: only a fork has variables to set: a process that executes the program has them from its start. The fork
    // has one thread, whatever its parent has: it has run only the code of this crate since, which starts none. std's
    // lock of the environment, and the C library's, are free: either no other thread of the parent could hold them at
    // the fork, or the user has asserted that none held what a worker needs.
    unsafe { settings.set_env() };
    settings.set_place()?;
    if let Some(shared) = prepared.undecoded.take() {
        prepared.context.shared = decode_within(&settings, prepared.context.codec, shared)?;
    }
    Ok(settings.into_limits())
}

/// Advances the state from which std makes this thread's random keys. A fork copies it, and it counts up by one for
/// each hash map. Call this before a fork, with the number of the new worker: its next thousand keys differ from those
/// of the workers before it.
pub(super) fn advance_random_keys(start: u64) {
    const OWN: u64 = 1024;
    /// The most steps at once, for a thread that has not started a worker for long. They take a third of a millisecond;
    /// more would take too long.
    const MOST: u64 = 256;
    thread_local! {
        static LAST: Cell<u64> = const { Cell::new(0) };
    }
    let ahead = start.saturating_sub(LAST.replace(start)).min(MOST);
    for _ in 0..ahead * OWN {
        std::hint::black_box(RandomState::new());
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

    /// The reply of this process to the message that `send` sends.
    fn answer(send: impl FnOnce(&Channel, [Lent<'_>; 2]) -> io::Result<()>) -> HandshakeReply {
        let (ours, theirs) = Channel::pair().unwrap();
        let (lifeline, tie) = lifeline().unwrap();
        send(&ours, tie.fds().unwrap().map(Lent::new)).unwrap();
        // With the lifeline cut, a process that got past the handshake would find its parent gone.
        drop(lifeline);
        assert!(meet(&theirs).unwrap().is_none(), "it is not fit");
        protocol::receive(&ours).unwrap().unwrap()
    }

    fn handshake(fingerprint: u64, tie: [Lent<'_>; 2]) -> Handshake<Lent<'_>> {
        Handshake {
            fingerprint,
            kind: ProcessKind::Worker,
            codec: Codec::default(),
            daemon: true,
            fork_with_threads: false,
            tie,
            shared: None,
            streams: [None; 2],
            inherited: None,
            settings: None,
            each_decodes: false,
        }
    }

    #[test]
    fn another_build_is_refused() {
        let own = fingerprint();
        let to = |fingerprint| answer(|channel, tie| protocol::send(channel, &handshake(fingerprint, tie)));
        assert_eq!(to(own ^ 1), Err(ANOTHER_BUILD.into()));
        assert_ne!(to(own), Err(ANOTHER_BUILD.into()));
        // A handshake with another layout.
        assert_eq!(answer(|channel, _| protocol::send(channel, &own)), Err(ANOTHER_BUILD.into()));
    }
}
