#[worker_task]
fn scale(#[arg] config: &Config, #[worker_id] id: usize, x: f64) -> f64 {
    config.factor * x
}
