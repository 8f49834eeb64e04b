use pool::{WorkerPool, worker_task};

struct Answer(u64);

#[worker_task]
fn run(question: String) -> Answer {
    Answer(question.len() as u64)
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<Answer> = run::par_map(&pool, [String::new()]).unwrap();
}
