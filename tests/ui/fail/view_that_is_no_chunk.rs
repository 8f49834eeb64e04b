use ndarray::{ArrayView2, ArrayViewMut2};
use pool::worker_task;

#[worker_task]
fn sum(rows: ArrayView2<f64>) -> f64 {
    rows.sum()
}

#[worker_task]
fn mean(rows: ArrayView2<'_, f64>, start: f64) -> f64 {
    rows.mean().unwrap_or(start)
}

#[worker_task]
fn clear(#[chunk] mut rows: ArrayViewMut2<f64>) {
    rows.fill(0.0);
}

fn main() {}
