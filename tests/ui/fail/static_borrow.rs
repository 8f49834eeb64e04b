use pool::{WorkerPool, worker_task};

#[worker_task]
fn length(text: &'static str) -> usize {
    text.len()
}

#[worker_task]
fn lengths(texts: &Vec<&'static str>, more: Option<&'static [u8]>) -> usize {
    texts.len() + more.map_or(0, <[u8]>::len)
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<usize> = length::par_map(&pool, ["text"]).unwrap();
}
