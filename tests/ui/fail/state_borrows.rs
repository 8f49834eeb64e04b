use pool::worker_task;

#[worker_task]
fn last(#[state] seen: &mut &str, text: String) -> bool {
    *seen == text
}

fn main() {}
