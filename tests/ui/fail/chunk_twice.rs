use pool::worker_task;

#[worker_task]
fn dot(#[chunk] a: &[f32], #[chunk] b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn main() {}
