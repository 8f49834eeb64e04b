//! Panics of workers, as the parent gets them.

use std::fmt;

use super::TaskErrorKind;
use super::plain::Plain;
use crate::text;

/// The longest location of a panic, in bytes.
const LONGEST_PLACE: usize = 4 << 10;

/// A panic in a worker.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
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

    /// The length of its texts.
    pub(crate) fn len(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.message.len() + of(&self.location) + of(&self.backtrace)
    }

    /// The panic as it is sent: texts that are too long lose their middle.
    pub(crate) fn cut(self) -> Self {
        self.cut_to(text::LONGEST_MESSAGE)
    }

    /// As [`cut`](Self::cut), with texts of at most this many bytes.
    pub(crate) fn cut_to(self, most: usize) -> Self {
        let Self { message, location, backtrace } = self;
        let cut = |text| text::cut_to(text, most);
        let location = location.map(|place| text::cut_to(place, LONGEST_PLACE));
        Self { message: cut(message), location, backtrace: backtrace.map(cut) }
    }

    /// The panic's message; `non-string payload` for a payload of another type. One of more than 256 KiB has lost its
    /// middle: a note there says how many bytes were left out.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it panicked, as `file:line:column`; `unknown place` for a panic that was resumed, whose location is not
    /// known.
    #[must_use]
    pub fn location(&self) -> &str {
        self.location.as_deref().unwrap_or("unknown place")
    }

    /// The backtrace, when `RUST_BACKTRACE` is set: from where the user's code panicked to where the worker called
    /// it. All of it for `RUST_BACKTRACE=full`. Cut like a message.
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}
