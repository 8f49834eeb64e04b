mod library {
    use pool::worker_task;

    #[derive(Default)]
    struct Model(u64);

    #[worker_task]
    #[expect(private_interfaces, reason = "the compiler says this of every function")]
    pub fn predict(#[state] model: &mut Model, x: u64) -> u64 {
        model.0 + x
    }
}

fn main() {
    let pool = pool::WorkerPool::new(1).unwrap();
    library::predict::par_map(&pool, [1]).unwrap();
}
