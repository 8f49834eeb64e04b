#[worker_exit]
fn count(#[state] model: &mut Model, #[worker_id] id: WorkerId) -> (WorkerId, u64) {
    (id, model.take_seen())
}
