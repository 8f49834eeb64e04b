use pool::{WorkerPool, worker_task};

struct Answer(u64);

#[worker_task(fallible)]
fn run(question: &str) -> Result<Answer, std::num::ParseIntError> {
    question.parse().map(Answer)
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<Answer> = run::par_map(&pool, ["1"]).unwrap();
}
