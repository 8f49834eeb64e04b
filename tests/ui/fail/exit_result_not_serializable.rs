use pool::worker_exit;

struct Answer(u64);

#[worker_exit]
fn answer(#[state] seen: u64) -> Answer {
    Answer(seen)
}

fn main() {}
