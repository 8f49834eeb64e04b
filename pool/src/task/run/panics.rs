//! Panics of user code: caught, and described with message, location and backtrace.
//!
//! Only the hook knows where a panic began. Only the code that catches it knows that nothing handled it on the way: no
//! `catch_unwind`, and no thread pool that carries panics to another thread. So the hook notes each panic of the
//! process, and [`catch`] looks up the note of the one that it has caught, by the payload. Hook and catcher see the
//! same value, so a formatted message has the same address for both. So does a literal, but several panics may share
//! it. If no note is certain to belong to the panic, its location is reported as unknown.
//!
//! A worker's panics are not printed: they reach the caller as errors, or were handled. The exception is a panic that
//! cannot unwind. It ends the process and nothing will catch it, so the hook prints this thread's notes, which thus
//! become part of the tail of the worker's stderr.

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
    /// The number of the first note that can belong to a panic of the user code that runs now.
    static SINCE: Cell<u64> = const { Cell::new(0) };
}

/// Whether the process is a worker.
static IS_WORKER: AtomicBool = AtomicBool::new(false);

/// The last panics of this process, oldest first.
static NOTES: Mutex<Vec<Note>> = Mutex::new(Vec::new());
/// The number of the next note.
static NEXT: AtomicU64 = AtomicU64::new(0);
/// How many notes are kept: enough for a thread pool on a large machine whose threads all panic at once.
const MOST: usize = 128;
/// How many bytes of a message are printed when the process ends: with its location and the lines that std prints, it
/// must fit into the 2 KiB of stderr that the parent keeps.
const PRINTED: usize = 900;

/// From now on, panics on this thread are noted for [`catch`] instead of being printed. Panics on other threads are
/// noted too, and still reach the previous hook.
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
                    // The whole program ends, so its own hook has its say.
                    print_notes();
                    before(info);
                }
                (true, false) => {}
                (false, is_worker) => {
                    before(info);
                    // std prints a long backtrace after the message, which would push the message out of the tail that
                    // is kept.
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

    /// Describes it. Resolving the names and locations of a backtrace can take longer than the task did.
    pub(crate) fn describe(self) -> PanicInfo {
        let (place, backtrace) = self.noted.unwrap_or_default();
        PanicInfo::new(self.message, place, backtrace.as_deref().map(show))
    }
}

/// Identifies the payload of a panic.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    /// Formatted text: its address, length and capacity, and its beginning and end.
    Formatted(usize, usize, usize, String),
    /// A literal: its address and length.
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
    /// Only its beginning and end, if it is long.
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

/// The location and backtrace of the panic with this payload, if they are known.
fn find(identity: &Identity, since: u64) -> Option<(Option<String>, Option<Arc<Backtrace>>)> {
    let notes = notes();
    let may_be = |note: &&Note| note.number >= since && note.identity == *identity;
    let newest = notes.iter().rev().find(may_be)?;
    // Formatted text is certain: a note with the same address is either this panic's, or older than it and of a message
    // that was freed. Literals and other payloads may belong to several panics, and one that was carried here from
    // another thread cannot be told from one of this thread.
    let is_known = matches!(identity, Identity::Formatted(..))
        || newest.thread == thread::current().id()
        || notes.iter().filter(may_be).all(|note| note.place == newest.place);
    is_known.then(|| (newest.place.clone(), newest.backtrace.clone()))
}

/// The backtrace of the caller, if the program wants backtraces. Names and locations are resolved when it is shown.
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

/// Whether this panic ends the process because it cannot unwind: in a function that C code calls, or in a drop while
/// another panic unwinds.
fn ends_the_process(info: &PanicHookInfo<'_>) -> bool {
    // `PanicHookInfo::can_unwind` is not stable, but `Debug` shows it on every toolchain. Should that change, the
    // worker's death is reported without the panic.
    cfg!(panic = "abort") || format!("{info:?}").contains("can_unwind: false")
}

/// Prints the last of what this thread has noted since the worker called user code. Messages come after backtraces,
/// because the parent keeps the end of what a worker prints.
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
    // If stderr is closed, there is nowhere to report that.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
