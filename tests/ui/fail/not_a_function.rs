use pool::worker_task;

#[worker_task]
struct Square(u64);

fn main() {}
