//! Panics of user code: caught, and described with message, place and backtrace.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::error::PanicInfo;

thread_local! {
    static CAPTURING: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<PanicInfo>> = const { RefCell::new(None) };
}

/// From here on, panics on this thread are noted for [`catch`] instead of being printed. Panics on other threads
/// reach the hook that was there before.
pub(super) fn capture_on_this_thread() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(
            move |info| {
                if CAPTURING.get() { LAST.set(Some(describe(info))) } else { before(info) }
            },
        ));
    });
    CAPTURING.set(true);
}

/// Runs user code; a panic becomes its description.
pub(super) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, PanicInfo> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        // Another hook may have replaced ours: then the payload is all there is.
        let info = LAST.take().unwrap_or_else(|| PanicInfo::new(message(&*payload), None, None));
        // A payload may panic as it is dropped; what it then leaves behind is leaked.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        info
    })
}

fn describe(info: &PanicHookInfo<'_>) -> PanicInfo {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    PanicInfo::new(message(info.payload()), info.location().map(ToString::to_string), backtrace)
}

fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "non-string payload".to_owned()
    }
}
