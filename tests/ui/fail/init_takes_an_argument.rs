use pool::worker_init;

#[worker_init]
fn load(path: String) -> u64 {
    path.len() as u64
}

fn main() {}
