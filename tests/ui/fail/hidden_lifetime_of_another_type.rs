use pool::worker_task;

#[derive(serde::Serialize, serde::Deserialize)]
struct Record<'a> {
    key: &'a str,
}

#[worker_task]
fn length(record: Record) -> usize {
    record.key.len()
}

fn main() {}
