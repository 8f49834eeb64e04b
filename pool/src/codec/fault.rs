//! Why a value could not be encoded or decoded, with messages that say what to do.

use std::fmt::{self, Display};

use super::{MESSAGEPACK, MOST_EMPTY};
use crate::text::displayed;

/// The error of the codecs. It is created where something is wrong, and becomes a message where the type is known.
#[derive(Debug)]
pub(super) struct Fault(Box<Kind>);

#[derive(Debug)]
pub(super) enum Kind {
    /// The message of a type's own implementation, or of the writer.
    Said(String),
    /// The bytes end within the value.
    Ends,
    /// This many bytes are left after the value.
    LeftOver(usize),
    /// More elements than the bytes at hand can hold.
    TooMany { elements: u64, bytes: usize },
    /// More elements without bytes than decoding allows.
    TooManyEmpty,
    /// The value is nested too deeply for the stack.
    Deep,
    /// The value is nested too deeply for a type that asks what comes next.
    #[cfg(feature = "messagepack")]
    DeepDescribed,
    /// A type asks what comes next, and the format does not say. Holds what the type expects, and the type's name.
    Undescribed { expected: String, made: &'static str },
    /// A type asks for names, and the format has none.
    Unnamed,
    /// A map or sequence does not announce its length.
    Unmeasured,
    /// A field was left out.
    Skipped { of: &'static str, field: &'static str },
    /// An implementation of `Serialize` did not write as many elements as it had announced.
    Miscounted { said: usize, wrote: usize },
    /// No value of this kind has these bytes.
    Invalid(&'static str),
}

pub(super) type Result<T> = std::result::Result<T, Fault>;

impl From<Kind> for Fault {
    #[cold]
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<std::io::Error> for Fault {
    #[cold]
    fn from(error: std::io::Error) -> Self {
        Kind::Said(error.to_string()).into()
    }
}

impl Fault {
    /// The message for the user, with the names of the type and the codec.
    #[cold]
    pub(super) fn message(self, codec: &str, of: &str) -> String {
        let only = format!(
            "`{of}` needs `Codec::MessagePack`, which does: `WorkerPool::builder().codec(..)`{}",
            if cfg!(feature = "messagepack") { "" } else { ", and the feature `messagepack` of pool" }
        );
        match *self.0 {
            Kind::Said(why) => why,
            Kind::Ends if codec == MESSAGEPACK => "the value ends before its last byte".into(),
            Kind::Ends => format!("the value ends before its last byte: {}", reads_other(&format!("`{of}`"))),
            Kind::LeftOver(bytes) => {
                format!("{bytes} bytes were left over: {}", reads_other(&format!("`{of}`")))
            }
            Kind::TooMany { elements, bytes } => format!(
                "{elements} elements are more than {bytes} bytes hold; of those that take no bytes there may \
                 be {MOST_EMPTY}"
            ),
            Kind::TooManyEmpty => format!(
                "elements that take no bytes are more than {MOST_EMPTY}, or fill as many bytes of memory: send their \
                 number"
            ),
            Kind::Deep => format!(
                "a value of `{of}` is nested too deeply for the stack of this thread: use a flat form (a `Vec` in \
                 place of a chain of boxes), or a thread with a larger stack"
            ),
            #[cfg(feature = "messagepack")]
            Kind::DeepDescribed => format!(
                "a value of `{of}`, whose kind is found out as it is read, is nested too deeply: it may have {} \
                 levels, and an eighth of the thread's stack; send a deeper one as text",
                super::messagepack::MOST_DESCRIBED
            ),
            Kind::Undescribed { expected, made } => {
                let why = asks(&expected, made);
                format!("{codec} does not write what kind of value comes next, for which {why} asks: {only}")
            }
            Kind::Unnamed => {
                format!("{codec} writes no names, for which `#[serde(flatten)]` and the like ask: {only}")
            }
            Kind::Unmeasured => format!(
                "{codec} writes no map or sequence whose length is not known before, such as one with \
                 `#[serde(flatten)]`: {only}"
            ),
            Kind::Skipped { of: parent, field } => format!(
                "field `{field}` of `{parent}` is left out (`#[serde(skip_serializing_if = ..)]`), and {codec} does \
                 not write which fields there are: {only}"
            ),
            Kind::Miscounted { said, wrote } => {
                format!(
                    "the `Serialize` implementation of `{of}` said {said} elements or fields, and wrote {wrote}"
                )
            }
            Kind::Invalid(what) => format!("there is no such {what}"),
        }
    }
}

/// Says what may be wrong with a type that cannot read what it writes.
pub(super) fn reads_other(of: &str) -> String {
    format!(
        "{of} reads other bytes than it writes; with `#[serde(skip_serializing)]` or `#[serde(skip_deserializing)]` \
         a type needs `Codec::MessagePack`"
    )
}

/// Names the type that asks what comes next.
fn asks(expected: &str, made: &str) -> String {
    let tagged = expected.strip_prefix("internally tagged enum ");
    if let Some(name) = tagged {
        format!("`#[serde(tag = ..)]` of the enum `{name}`")
    } else if made.contains("Content") {
        "an enum with `#[serde(untagged)]` (or a type that does the same)".into()
    } else {
        format!("`{made}` ({expected})")
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Said(why) => f.write_str(why),
            kind => write!(f, "{kind:?}"),
        }
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    #[cold]
    fn custom<T: Display>(why: T) -> Self {
        // The message may quote text from a worker, so it is cut.
        Kind::Said(displayed(why)).into()
    }
}

impl serde::de::Error for Fault {
    #[cold]
    fn custom<T: Display>(why: T) -> Self {
        // The message may quote text from a worker, so it is cut.
        Kind::Said(displayed(why)).into()
    }
}
