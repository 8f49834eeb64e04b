#[worker_task(init = load_model, exit = count)]
/// Rates a text.
fn predict(#[worker_id] id: usize, #[shared] path: &PathBuf, #[state] model: &mut Model, text: &str) -> f32 {
    model.predict(text)
}
