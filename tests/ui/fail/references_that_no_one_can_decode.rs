use std::path::Path;

use pool::worker_task;

#[worker_task]
fn string(text: &String) -> usize {
    text.len()
}

#[worker_task]
fn vector(bytes: &Vec<u8>) -> usize {
    bytes.len()
}

#[worker_task]
fn slice(rows: &[f64]) -> usize {
    rows.len()
}

// Two that are decoded in place.
#[worker_task]
fn path(path: &Path, bytes: &[u8]) -> bool {
    path.exists() && bytes.is_empty()
}

fn main() {}
