#[worker_task]
fn halve(#[chunk] rows: ArrayView2<'_, f32>) -> Array2<f32> {
    rows.mapv(|x| x / 2.0)
}
