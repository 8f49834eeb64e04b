use pool::worker_task;

#[worker_task]
fn lengths(#[chunk] rows: &[String]) -> Vec<usize> {
    rows.iter().map(String::len).collect()
}

fn main() {}
