//! Random numbers.

use std::hash::{BuildHasher, RandomState};
use std::io;

/// A random number: a hash with keys that std takes from the system, and changes for each number.
pub(crate) fn random() -> io::Result<u64> {
    Ok(RandomState::new().hash_one(()))
}
