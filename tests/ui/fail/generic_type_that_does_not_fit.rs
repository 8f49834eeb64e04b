use std::fmt::Display;

use pool::worker_task;

struct Local;

#[worker_task(for T in [u8, Local])]
fn show<T: Display>(value: T) -> String {
    value.to_string()
}

#[worker_task(for T in [u8, &'static str])]
fn length<T: AsRef<str>>(value: T) -> usize {
    value.as_ref().len()
}

fn main() {}
