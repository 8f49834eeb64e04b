use pool::{worker_exit, worker_init, worker_task};

#[worker_task]
fn pair<T, const N: usize>(items: [T; N]) -> usize {
    items.len()
}

#[worker_task]
fn show(value: impl std::fmt::Display) -> String {
    value.to_string()
}

#[worker_init]
fn init<T: Default>() -> T {
    T::default()
}

#[worker_exit]
fn exit<T>(#[state] _state: T) {}

fn main() {}
