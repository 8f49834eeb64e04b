use pool::worker_init;

struct Broken;

#[worker_init]
fn load() -> Result<u64, Broken> {
    Err(Broken)
}

fn main() {}
