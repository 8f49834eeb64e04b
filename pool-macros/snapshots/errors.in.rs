#[worker_task(inits = load_model)]
async fn predict(#[state] model: Model, text: &mut String) -> f32 {
    model.predict(text)
}
