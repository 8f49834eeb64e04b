use pool::worker_exit;

#[worker_exit]
fn count(#[chunk] rows: &[u32]) -> usize {
    rows.len()
}

fn main() {}
