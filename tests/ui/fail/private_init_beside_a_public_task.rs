mod library {
    use pool::{worker_exit, worker_init, worker_task};

    #[worker_init]
    fn load() -> u64 {
        7
    }

    #[worker_exit]
    pub(crate) fn count(#[state] model: u64) -> u64 {
        model
    }

    #[worker_task(init = load, exit = count)]
    pub fn predict(#[state] model: &mut u64, x: u64) -> u64 {
        *model + x
    }

    // Both are private: nothing is wrong.
    #[worker_task(init = load, exit = count)]
    fn guess(#[state] model: &mut u64, x: u64) -> u64 {
        *model - x
    }
}

fn main() {
    let pool = pool::WorkerPool::new(1).unwrap();
    library::predict::par_map(&pool, [1]).unwrap();
}
