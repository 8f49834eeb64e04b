use pool::worker_task;

#[worker_task]
fn scale(#[arg] factor: f32, #[arg] offset: f32, x: f32) -> f32 {
    factor * x + offset
}

fn main() {}
