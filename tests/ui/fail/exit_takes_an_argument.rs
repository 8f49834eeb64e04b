use pool::worker_exit;

#[worker_exit]
fn count(seen: u64) -> u64 {
    seen
}

fn main() {}
