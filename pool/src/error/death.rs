//! How workers end.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sys::{ExitStatus, signal};

/// How a worker process ended. `Debug` says what `Display` says. It can be serialized: see
/// [`TaskError`](crate::TaskError#in-a-log-or-a-report).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    pub(crate) cause: DeathCause,
    #[serde(default)]
    pub(crate) core_dumped: bool,
    #[serde(default)]
    pub(crate) out_of_memory: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeathCause {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(#[serde(with = "named")] i32),
    /// It held more than twice the memory limit in a task, and was killed for that.
    MemoryLimit {
        #[serde(rename = "limit_bytes")]
        limit: u64,
        #[serde(rename = "held_bytes")]
        held: u64,
    },
    /// It wrote something to its lane that a sound worker never writes, and was killed for that.
    Corrupt,
    /// It was killed, but has not ended.
    Stuck,
    /// It is gone, and other code of the program reaped it, so its exit status is lost.
    Unknown,
}

impl Death {
    pub(crate) const fn new(cause: DeathCause) -> Self {
        let out_of_memory = matches!(cause, DeathCause::MemoryLimit { .. });
        Self { cause, core_dumped: false, out_of_memory }
    }

    /// The signal that killed the worker.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.cause {
            DeathCause::Signaled(signal) => Some(signal),
            _ => None,
        }
    }

    /// The code that the worker exited with.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.cause {
            DeathCause::Exited(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the kernel wrote a core file.
    #[must_use]
    pub fn core_dumped(&self) -> bool {
        self.core_dumped
    }

    /// The bytes that the worker held and its limit, if it was killed for them.
    pub(crate) fn over_limit(&self) -> Option<(u64, u64)> {
        match self.cause {
            DeathCause::MemoryLimit { limit, held } => Some((held, limit)),
            _ => None,
        }
    }

    /// Whether memory was the reason: the kernel killed the worker because no memory was left, or this crate did
    /// because the worker held more than twice the pool's `memory_limit`.
    #[must_use]
    pub fn out_of_memory(&self) -> bool {
        self.out_of_memory || matches!(self.cause, DeathCause::MemoryLimit { .. })
    }
}

/// A signal, serialized with its name beside its number. When it is read, the number counts.
mod named {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Named {
        number: i32,
        #[serde(default)]
        name: Option<Cow<'static, str>>,
    }

    pub(super) fn serialize<S: Serializer>(signal: &i32, out: S) -> Result<S::Ok, S::Error> {
        Named { number: *signal, name: signal::name_of(*signal).map(Cow::Borrowed) }.serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
        Ok(Named::deserialize(from)?.number)
    }
}

impl From<ExitStatus> for Death {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Exited(code) => Self::new(DeathCause::Exited(code)),
            ExitStatus::Signaled { signal, core_dumped } => {
                Self { core_dumped, ..Self::new(DeathCause::Signaled(signal)) }
            }
            ExitStatus::Stuck => Self::new(DeathCause::Stuck),
            ExitStatus::Unknown => Self::new(DeathCause::Unknown),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            DeathCause::Exited(code) => write!(f, "exited with code {code}")?,
            DeathCause::Signaled(number) => match signal::name_of(number) {
                Some(name) => write!(f, "was killed by {name} (signal {number})")?,
                None => write!(f, "was killed by signal {number}")?,
            },
            DeathCause::MemoryLimit { limit, held } => {
                write!(
                    f,
                    "was killed: it held {held} bytes more than before, over twice its limit of {limit}"
                )?;
            }
            DeathCause::Corrupt => write!(f, "wrote over its lane and was killed")?,
            DeathCause::Stuck => write!(
                f,
                "was killed and does not end (it hangs inside the kernel, or may not be signalled); it was left to \
                 itself"
            )?,
            DeathCause::Unknown => write!(
                f,
                "is gone (its exit status was taken by another waiter, or the program ignores SIGCHLD)"
            )?,
        }
        if self.core_dumped {
            write!(f, ", core dumped")?;
        }
        if self.out_of_memory && self.over_limit().is_none() {
            write!(f, ", out of memory")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
