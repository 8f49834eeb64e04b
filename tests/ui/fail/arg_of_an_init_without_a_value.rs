use pool::{WorkerPool, worker_init, worker_task};

#[worker_init]
fn connect(#[arg] url: &str) -> String {
    url.to_owned()
}

#[worker_task(init = connect)]
fn page(#[state] db: &mut String, #[arg] rows: usize, x: usize) -> String {
    db.repeat(rows * x)
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: String = page::job(&pool).arg(2).apply(1).unwrap();
}
