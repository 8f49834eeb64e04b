use pool::worker_exit;

#[worker_exit]
fn close(#[arg] url: &str) -> usize {
    url.len()
}

fn main() {}
