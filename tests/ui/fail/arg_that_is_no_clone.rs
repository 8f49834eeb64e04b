use pool::worker_task;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Config {
    factor: f32,
}

#[worker_task]
fn scale(#[arg] config: Config, x: f32) -> f32 {
    config.factor * x
}

fn main() {}
