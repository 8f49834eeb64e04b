use pool::{Shares, WorkerPool, worker_task};
use serde::{Deserialize, Serialize};

#[derive(Shares, Serialize, Deserialize)]
struct Common {
    names: Vec<String>,
    limit: u32,
    titles: Vec<String>,
}

#[worker_task]
fn name(#[shared] names: &Vec<String>, x: usize) -> String {
    names[x].clone()
}

fn main() {
    let common = Common { names: vec![], limit: 1, titles: vec![] };
    let pool = WorkerPool::builder().shared(common).build().unwrap();
    let _: String = name::apply(&pool, 1).unwrap();
}
