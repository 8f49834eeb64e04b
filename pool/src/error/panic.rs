//! Panics of workers, as the parent receives them.

use std::fmt;

use super::TaskErrorKind;
use super::plain::Plain;
use crate::text;

/// The longest location of a panic, in bytes: as long as a path may be.
const LONGEST_PLACE: usize = 4 << 10;

/// A panic in a worker.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PanicInfo {
    message: String,
    location: Option<String>,
    backtrace: Option<String>,
}

impl fmt::Display for PanicInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, location, .. } = self;
        write!(
            f,
            "panicked at {}: {}",
            Plain(location.as_deref().unwrap_or("an unknown place")),
            Plain(message)
        )
    }
}

impl fmt::Debug for PanicInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&TaskErrorKind::Panicked(self.clone()), f)
    }
}

impl PanicInfo {
    pub(crate) fn new(message: String, location: Option<String>, backtrace: Option<String>) -> Self {
        Self { message, location, backtrace }
    }

    /// The total length of its texts, in bytes.
    pub(crate) fn len(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.message.len() + of(&self.location) + of(&self.backtrace)
    }

    /// Cuts the panic to what is sent: texts that are too long lose their middle.
    pub(crate) fn cut(self) -> Self {
        self.cut_to(text::LONGEST_MESSAGE)
    }

    /// Like [`cut`](Self::cut), with texts of at most `most` bytes.
    pub(crate) fn cut_to(self, most: usize) -> Self {
        let Self { message, location, backtrace } = self;
        let cut = |text| text::cut_to(text, most);
        let location = location.map(|place| text::cut_to(place, LONGEST_PLACE));
        Self { message: cut(message), location, backtrace: backtrace.map(cut) }
    }

    /// The panic's message; `non-string payload` if the payload is no string. A message of more than 256 KiB has lost
    /// its middle, where a note says how many bytes are missing.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it panicked, as `file:line:column`; `unknown place` for a resumed panic, whose location is not known.
    #[must_use]
    pub fn location(&self) -> &str {
        self.location.as_deref().unwrap_or("unknown place")
    }

    /// The backtrace, if `RUST_BACKTRACE` is set: from where user code panicked to where the worker called it, or all
    /// of it with `RUST_BACKTRACE=full`. Cut like a message.
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}
