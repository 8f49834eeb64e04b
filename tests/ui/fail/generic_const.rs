use pool::worker_task;

#[worker_task]
fn sum<const N: usize>(items: [u64; N]) -> u64 {
    items.iter().sum()
}

fn main() {}
