use pool::{WorkerPool, worker_init, worker_task};

#[worker_init]
fn connect() -> String {
    String::new()
}

#[worker_task(init = connect)]
fn query(#[state] db: &mut String, x: usize) -> String {
    db.repeat(x)
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _ = query::job(&pool).init_arg(());
}
