use pool::worker_task;

#[worker_task]
fn whoami(#[worker_id] id: usize, #[worker_id] again: usize) -> usize {
    id + again
}

fn main() {}
