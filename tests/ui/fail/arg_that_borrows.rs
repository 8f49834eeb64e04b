use std::borrow::Cow;

use pool::{WorkerPool, worker_task};

#[worker_task]
fn starts(#[arg] prefix: Option<&str>, text: &str) -> bool {
    prefix.is_some_and(|prefix| text.starts_with(prefix))
}

#[worker_task]
fn ends(#[arg] suffix: Cow<str>, text: &str) -> bool {
    text.ends_with(&*suffix)
}

#[worker_task]
fn contains(#[arg] part: &'static str, text: &str) -> bool {
    text.contains(part)
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: bool = starts::job(&pool).arg(Some("a")).apply("b").unwrap();
}
