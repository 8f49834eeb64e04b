use pool::worker_task;

mod model {
    pub fn load() -> u64 {
        0
    }
}

#[worker_task(init = model::load)]
fn count(#[state] seen: &mut u64, step: u64) -> u64 {
    *seen += step;
    *seen
}

fn main() {}
