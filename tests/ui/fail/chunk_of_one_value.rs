use pool::worker_task;

#[worker_task]
fn halve(#[chunk] row: &f32) -> f32 {
    row / 2.0
}

fn main() {}
