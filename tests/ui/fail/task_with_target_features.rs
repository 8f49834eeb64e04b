use pool::worker_task;

#[worker_task]
#[target_feature(enable = "avx2")]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {}
