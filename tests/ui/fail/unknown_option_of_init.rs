use pool::worker_init;

#[worker_init(exit = count)]
fn load() -> u64 {
    0
}

fn main() {}
