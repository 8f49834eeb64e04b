//! Panics of user code: caught, and described with message, place and backtrace.
//!
//! Only the hook knows where a panic began, and only who catches one knows that it was not handled on its way: by
//! `catch_unwind`, or by a thread pool that passes it on to another thread. So the hook notes each panic of the
//! process, and [`catch`] looks for the note of the one that it has caught. What tells them apart is the payload. It
//! is the same value at both places, so a formatted message lies in the same memory; a literal does too, but may be
//! that of several panics. Where no note is known to be that of the panic, its place is not told.
//!
//! A worker's panics are not printed: they come to the caller as errors, or were handled. But those that end the
//! process, since they cannot unwind, no one will catch: the hook prints what this thread has noted, and with that it
//! is among the last words of the worker.

use std::any::{Any, TypeId};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, ThreadId};

use crate::error::PanicInfo;
use crate::error::backtrace::of_user_code;
use crate::role::WorkerKind;
use crate::text;
use crate::unwind::{self, message};

thread_local! {
    /// Whether this thread is a worker.
    static CAPTURING: Cell<bool> = const { Cell::new(false) };
    /// The number of the first note that could be that of a panic in what runs now.
    static SINCE: Cell<u64> = const { Cell::new(0) };
}

/// Whether the process is a worker.
static IS_WORKER: AtomicBool = AtomicBool::new(false);

/// The last panics of this process, oldest first.
static NOTES: Mutex<Vec<Note>> = Mutex::new(Vec::new());
/// The number of the next note.
static NEXT: AtomicU64 = AtomicU64::new(0);
/// How many notes are kept: enough for a thread pool all of whose threads panic at once.
const MOST: usize = 128;
/// How many bytes of a message are printed at the end: with its place and with what std says it is to fit into the
/// last words.
const PRINTED: usize = 900;

/// From here on, panics on this thread are noted for [`catch`] instead of being printed. Panics on other threads
/// are noted, too, and reach the hook that was there before.
pub(crate) fn capture_on_this_thread(kind: WorkerKind) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            note(info);
            let ends = ends_the_process(info);
            match (CAPTURING.get(), IS_WORKER.load(Ordering::Relaxed)) {
                (true, true) if ends => print_notes(),
                (true, true) => {}
                (true, false) if ends => {
                    // The whole program ends, with what its own hook does about that.
                    print_notes();
                    before(info);
                }
                (true, false) => {}
                (false, is_worker) => {
                    before(info);
                    // std puts a long backtrace behind the message, which would be all that is left of the last words.
                    if ends && is_worker && (!cfg!(panic = "abort") || captured().is_some()) {
                        print_notes();
                    }
                }
            }
        }));
    });
    if kind == WorkerKind::Process {
        IS_WORKER.store(true, Ordering::Relaxed);
    }
    CAPTURING.set(true);
}

/// Runs user code; a panic is caught.
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, Caught> {
    SINCE.set(NEXT.load(Ordering::Relaxed));
    unwind::catch(run).map_err(|payload| Caught::new(payload.get()))
}

/// A panic that was caught.
pub(crate) struct Caught {
    message: String,
    noted: Option<(Option<String>, Option<Arc<Backtrace>>)>,
}

impl Caught {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let noted = find(&Identity::of(payload), SINCE.get());
        Self { message: message(payload).to_owned(), noted }
    }

    /// What there is to say of it. To find the names and places of a backtrace can take longer than the task did.
    pub(crate) fn describe(self) -> PanicInfo {
        let (place, backtrace) = self.noted.unwrap_or_default();
        PanicInfo::new(self.message, place, backtrace.as_deref().map(show))
    }
}

/// What a panic's payload is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    /// Formatted text: where it lies, its length and its capacity, and what it says.
    Formatted(usize, usize, usize, String),
    /// A literal: where it lies, and its length.
    Literal(usize, usize),
    Other(TypeId),
}

impl Identity {
    fn of(payload: &(dyn Any + Send)) -> Self {
        if let Some(text) = payload.downcast_ref::<String>() {
            Self::Formatted(
                text.as_ptr() as usize,
                text.len(),
                text.capacity(),
                text::cut_to(text.clone(), PRINTED),
            )
        } else if let Some(text) = payload.downcast_ref::<&'static str>() {
            Self::Literal(text.as_ptr() as usize, text.len())
        } else {
            Self::Other(payload.type_id())
        }
    }
}

/// A panic that has begun.
struct Note {
    number: u64,
    thread: ThreadId,
    identity: Identity,
    /// Its beginning and its end, if it is long.
    message: String,
    place: Option<String>,
    backtrace: Option<Arc<Backtrace>>,
}

fn note(info: &PanicHookInfo<'_>) {
    let (payload, place) = (info.payload(), info.location().map(ToString::to_string));
    let note = Note {
        number: 0,
        thread: thread::current().id(),
        identity: Identity::of(payload),
        message: text::cut_to(message(payload).to_owned(), PRINTED),
        place,
        backtrace: captured().map(Arc::new),
    };
    let mut notes = notes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let oldest = (notes.len() == MOST).then(|| notes.remove(0));
    notes.push(Note { number, ..note });
    drop((notes, oldest));
}

fn notes() -> MutexGuard<'static, Vec<Note>> {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place and backtrace of the panic with this payload, if they are known.
fn find(identity: &Identity, since: u64) -> Option<(Option<String>, Option<Arc<Backtrace>>)> {
    let notes = notes();
    let may_be = |note: &&Note| note.number >= since && note.identity == *identity;
    let newest = notes.iter().rev().find(may_be)?;
    // Formatted text that lies where another lay was made when that was gone. Of literals and numbers there may be
    // several: then one that passed on a panic from elsewhere is not told from one of this thread.
    let is_known = matches!(identity, Identity::Formatted(..))
        || newest.thread == thread::current().id()
        || notes.iter().filter(may_be).all(|note| note.place == newest.place);
    is_known.then(|| (newest.place.clone(), newest.backtrace.clone()))
}

/// The backtrace of who calls this, if the program wants backtraces. Names and places are looked up when it is shown.
fn captured() -> Option<Backtrace> {
    let backtrace = Backtrace::capture();
    (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace)
}

fn show(backtrace: &Backtrace) -> String {
    let wanted = ["RUST_LIB_BACKTRACE", "RUST_BACKTRACE"].into_iter().find_map(std::env::var_os);
    match wanted.is_some_and(|wanted| wanted == "full") {
        true => format!("{backtrace:#}"),
        false => of_user_code(&backtrace.to_string()),
    }
}

/// Whether the process ends with this panic: it cannot unwind, as in a function that a C library calls, or in a drop
/// while another panic unwinds.
fn ends_the_process(info: &PanicHookInfo<'_>) -> bool {
    // `PanicHookInfo::can_unwind` is not stable; what `Debug` shows of it is there on every toolchain. Should that
    // change, the worker's death is told without its panic.
    cfg!(panic = "abort") || format!("{info:?}").contains("can_unwind: false")
}

/// Prints what this thread has noted since the worker called user code, or the last of it: messages behind
/// backtraces, for of what a worker prints last the end is kept.
fn print_notes() {
    let (own, since) = (thread::current(), SINCE.get());
    let since = if CAPTURING.get() { since } else { 0 };
    let mut said = Vec::new();
    let mut backtraces = Vec::new();
    for note in notes().iter().filter(|note| note.thread == own.id() && note.number >= since) {
        said.push((note.place.clone(), note.message.clone()));
        backtraces.extend(note.backtrace.clone());
    }
    let mut text = backtraces.first().map(|backtrace| show(backtrace)).unwrap_or_default();
    for (place, message) in &said[said.len().saturating_sub(4)..] {
        let (name, place) =
            (own.name().unwrap_or("<unnamed>"), place.as_deref().unwrap_or("an unknown place"));
        let written = writeln!(text, "thread '{name}' panicked at {place}:\n{message}");
        debug_assert!(written.is_ok());
    }
    // If nobody takes it, there is nobody to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
