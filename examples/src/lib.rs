//! The examples of `pool`, one idea each: run one with `cargo run --release --example NAME`. They share only
//! the place of their input.

use std::path::PathBuf;

/// The path of an input file; where it comes from stands in `data/README.md`.
#[must_use]
pub fn data(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "data", name].iter().collect()
}
