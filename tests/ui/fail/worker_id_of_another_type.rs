use pool::worker_task;

#[worker_task]
fn whoami(#[worker_id] id: String) -> String {
    id
}

fn main() {}
