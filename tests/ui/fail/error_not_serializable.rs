use std::error::Error;
use std::io;

use pool::worker_task;

mod anyhow {
    pub struct Error;
    pub type Result<T> = std::result::Result<T, Error>;
}

#[worker_task]
fn read(path: &str) -> Result<String, io::Error> {
    std::fs::read_to_string(path)
}

#[worker_task]
fn parse(text: &str) -> anyhow::Result<u64> {
    text.parse().map_err(|_| anyhow::Error)
}

#[worker_task]
fn check(text: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    Err(text.into())
}

fn main() {}
