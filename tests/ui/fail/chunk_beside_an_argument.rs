use pool::worker_task;

#[worker_task]
fn scale(#[chunk] rows: &mut [f32], factor: f32) {
    rows.iter_mut().for_each(|x| *x *= factor);
}

fn main() {}
