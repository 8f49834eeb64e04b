use pool::{worker_exit, worker_init, worker_task};

#[worker_task]
struct Square(u64);

#[worker_task]
const CUBE: fn(u64) -> u64 = |x| x * x * x;

#[worker_init]
impl Square {}

#[worker_exit]
mod end {}

#[worker_task]
enum Shape {}

#[worker_task]
pub use std::convert::identity as same;

fn main() {}
