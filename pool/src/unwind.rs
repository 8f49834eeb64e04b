//! Catches panics of user code, and drops their payloads.
//!
//! A payload may have any type (`panic_any`), so dropping it is user code too, and may panic in turn. All panics that
//! this crate catches are caught here, so that none escapes from the drop of a payload.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

/// Runs user code and catches its panic.
#[inline]
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(run)).map_err(Payload::new)
}

/// Waits for the end of a thread and catches its panic.
pub(crate) fn join<R>(thread: JoinHandle<R>) -> Result<R, Payload> {
    thread.join().map_err(Payload::new)
}

/// The payload of a caught panic. Dropping it never panics.
pub(crate) struct Payload(Option<Box<dyn Any + Send>>);

impl Payload {
    #[cold]
    fn new(payload: Box<dyn Any + Send>) -> Self {
        Self(Some(payload))
    }

    pub(crate) fn get(&self) -> &(dyn Any + Send) {
        self.0.as_deref().unwrap_or(&())
    }

    pub(crate) fn message(&self) -> &str {
        message(self.get())
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let payload = self.0.take();
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // Dropping this one may panic too, and so on forever, so it is leaked.
            std::mem::forget(second);
        }
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Payload").field(&self.message()).finish()
    }
}

/// The message of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("non-string payload")
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;
    use std::thread;

    use super::*;

    /// Panics when it is dropped, with another such payload, this many times.
    struct Bomb(u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            match self.0 {
                0 => {}
                left => panic_any(Bomb(left - 1)),
            }
        }
    }

    #[test]
    fn the_drop_of_a_payload_never_panics() {
        for bombs in [0, 1, 2, 50] {
            let caught = catch(|| panic_any(Bomb(bombs))).map_err(|payload| payload.message().to_owned());
            assert_eq!(caught, Err::<(), _>("non-string payload".to_owned()));
            let thread = thread::spawn(move || panic_any(Bomb(bombs)));
            assert!(join(thread).map(|()| unreachable!("it panics")).is_err());
        }
    }

    #[test]
    fn the_message_is_the_panics_own() {
        for (message, panic) in
            [("literal", (|| panic!("literal")) as fn()), ("number 7", || panic!("number {}", 3 + 4))]
        {
            assert_eq!(catch(panic).unwrap_err().message(), message);
        }
        assert_eq!(catch(|| 7).unwrap(), 7);
    }
}
