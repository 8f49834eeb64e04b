#[worker_task]
fn scale(#[shared] factor: &f32, #[chunk] rows: &mut [f32], #[worker_id] id: usize) -> usize {
    rows.iter_mut().for_each(|x| *x *= factor);
    id
}
