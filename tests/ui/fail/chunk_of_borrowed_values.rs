use pool::worker_task;

#[worker_task]
fn lengths(#[chunk] rows: &[&str]) -> Vec<usize> {
    rows.iter().map(|text| text.len()).collect()
}

fn main() {}
