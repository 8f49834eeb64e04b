use pool::{worker_init, worker_task};

struct Model(u64);

impl Model {
    #[worker_init]
    fn load() -> Self {
        Self(7)
    }

    #[worker_task(init = load)]
    fn predict(#[state] model: &mut Self, x: u64) -> u64 {
        model.0 + x
    }
}

fn main() {
    Model::predict(&mut Model::load(), 3);
}
