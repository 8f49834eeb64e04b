mod library {
    use pool::{worker_init, worker_task};

    #[worker_init]
    fn load() -> u64 {
        7
    }

    #[worker_task(init = load)]
    pub(super) fn predict(#[state] model: &mut u64, x: u64) -> u64 {
        *model + x
    }

    #[worker_task(init = load)]
    pub(crate) fn guess(x: u64) -> u64 {
        x
    }
}

fn main() {
    library::predict(&mut 7, library::guess(3));
}
