use pool::{worker_init, worker_task};

mod ends {
    #[pool::worker_task]
    pub fn last(seen: u64) -> u64 {
        seen
    }
}

#[worker_init]
fn load() -> u64 {
    0
}

#[worker_task(init = load, exit = ends::last)]
fn count(#[state] seen: &mut u64, step: u64) -> u64 {
    *seen += step;
    *seen
}

fn main() {}
