use pool::{WorkerPool, worker_init, worker_task};

#[derive(Clone)]
struct Config {
    factor: f32,
}

#[worker_task]
fn scale(#[arg] config: Config, x: f32) -> f32 {
    config.factor * x
}

#[worker_task]
fn shift(#[arg] config: &Config, x: f32) -> f32 {
    config.factor + x
}

#[worker_init]
fn configure(#[arg] config: Config) -> f32 {
    config.factor
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: f32 = scale::job(&pool).arg(Config { factor: 1.0 }).apply(1.0).unwrap();
}
