/// Adds it up.
#[worker_task(for (T, N) in [(f32, 2), (Vec<u8>, 3)], init = empty::<T>)]
pub fn total<'a, T: Sum<T>, const N: usize>(#[state] before: &mut Vec<T>, rows: &'a [[T; N]], by: Grid<T, N>) -> T {
    rows.iter().flatten().chain(&*before).copied().sum()
}
