use pool::{WorkerPool, worker_task};

#[derive(serde::Serialize)]
struct Job(u64);

#[worker_task]
fn run(job: Job) -> u64 {
    job.0
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = run::par_map(&pool, [Job(1)]).unwrap();
}
