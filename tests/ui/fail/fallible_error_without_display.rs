use pool::{worker_exit, worker_init, worker_task};

#[derive(Debug)]
struct Broken;
type Loaded = Result<u64, Broken>;

#[worker_task(fallible)]
fn task(x: u64) -> Result<u64, Broken> {
    Err(Broken).or(Ok(x))
}

#[worker_init(fallible)]
fn init() -> Loaded {
    Err(Broken)
}

#[worker_exit]
fn exit() -> Result<(), Broken> {
    Err(Broken)
}

fn main() {}
