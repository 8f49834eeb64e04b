use pool::worker_task;

#[worker_task]
#[test]
fn square() {}

fn main() {}
