use pool::worker_init;

#[worker_init]
fn load(#[state] seen: &mut u64) -> u64 {
    *seen
}

fn main() {}
